"""Element operators: plain functions from a list of items to a list of items.

Each ``start_*`` makes the function of one run. The happy path is one comprehension over an
iterator: Python calls the user's function from a comprehension faster than ``map`` does. When the
function raises, the iterator stands just behind the failing item, so the item is known, and with
``errors="skip"`` or a dead letter the rest goes on from there. ``errors=retry(…)`` waits between
calls, which no plain function may do: see `retrying`.

That the function is no async one is seen from its first answer, by a check that then puts the
function in its own place: it is no part of the happy path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import length_hint
from typing import Any, Literal, TypeAlias

from .._errors import AsyncMismatch, ItemFailed
from .._failing import DeadLetters, first_checked
from .._spec import Chunk, Step, StepControl

AtOnce: TypeAlias = Literal["raise", "skip"] | DeadLetters
"""What can be done about a failure without waiting."""

Strict: TypeAlias = Callable[[Iterator[Any]], Chunk]
Lazy: TypeAlias = Callable[[Iterator[Any]], Iterable[Any]]


def make_step(errors: AtOnce, control: StepControl, strict: Strict, lazy: Lazy) -> Step:
    """The step that applies an operator to each chunk.

    Both forms do the same: ``strict`` gives a list, ``lazy`` an iterable that keeps what it has
    given when it fails. It must be a generator: in `map` a function that raises ``StopIteration``
    would end the chunk.
    """
    return _raising(strict) if errors == "raise" else _going_on(lazy, errors, control)


def _raising(strict: Strict) -> Step:
    def step(items: Chunk) -> Chunk:
        waiting = iter(items)
        try:
            return strict(waiting)
        except Exception as error:
            raise ItemFailed(items[len(items) - length_hint(waiting) - 1]) from error

    return step


def _going_on(lazy: Lazy, errors: AtOnce, control: StepControl) -> Step:
    def step(items: Chunk) -> Chunk:
        done: Chunk = []
        waiting = iter(items)
        while True:
            try:
                done.extend(lazy(waiting))
            except AsyncMismatch as error:
                raise ItemFailed(items[len(items) - length_hint(waiting) - 1]) from error
            except Exception as error:  # noqa: BLE001 - what the user asked for; counted
                if isinstance(errors, DeadLetters):
                    failed = items[len(items) - length_hint(waiting) - 1]
                    control.dead_letter(errors, failed, error)
                else:
                    control.skipped(1)
            else:
                return done

    return step


def start_map(
    f: Callable[[Any], Any], errors: AtOnce, control: StepControl, *, instead: str = ""
) -> Step:
    """``f`` of each item. Where it is the user's own, ``instead`` says what takes an async one."""

    def use(function: Callable[[Any], Any]) -> None:
        nonlocal f
        f = function

    if instead:
        f = first_checked(f, use, instead)
    return make_step(
        errors,
        control,
        lambda waiting: [f(item) for item in waiting],
        lambda waiting: (f(item) for item in waiting),
    )


def start_filter(keep: Callable[[Any], object], errors: AtOnce, control: StepControl) -> Step:
    """The items that ``keep`` says yes to."""

    def use(function: Callable[[Any], object]) -> None:
        nonlocal keep
        keep = function

    keep = first_checked(keep, use, "map_async and filter its answers")
    return make_step(
        errors,
        control,
        lambda waiting: [item for item in waiting if keep(item)],
        lambda waiting: (item for item in waiting if keep(item)),
    )


def start_flat_map(f: Callable[[Any], Iterable[Any]], errors: AtOnce, control: StepControl) -> Step:
    """All items of ``f`` of each item."""

    def use(function: Callable[[Any], Iterable[Any]]) -> None:
        nonlocal f
        f = function

    f = first_checked(f, use, "flat_map_async, or map_async and flat_map its answers")
    return make_step(
        errors,
        control,
        lambda waiting: [inner for item in waiting for inner in f(item)],
        lambda waiting: (inner for item in waiting for inner in f(item)),
    )


def start_tap(f: Callable[[Any], object], errors: AtOnce, control: StepControl) -> Step:
    """The items themselves, once ``f`` has seen them."""

    def use(function: Callable[[Any], object]) -> None:
        nonlocal f
        f = function

    def look(item: Any) -> Any:
        f(item)
        return item

    f = first_checked(f, use, "map_async")
    return start_map(look, errors, control)


def start_scan(
    initial: Any, f: Callable[[Any, Any], Any], errors: AtOnce, control: StepControl
) -> Step:
    """The running result of ``f(state, item)``, after each item."""
    state = initial

    def use(function: Callable[[Any, Any], Any]) -> None:
        nonlocal f
        f = function

    def advance(item: Any) -> Any:
        nonlocal state
        state = f(state, item)
        return state

    f = first_checked(f, use, "an async @transform of your own")
    return start_map(advance, errors, control)


def start_take(count: int, control: StepControl) -> Step:
    """The first ``count`` items; the stages before it end then."""
    left = count
    if not left:
        control.finish()

    def step(items: Chunk) -> Chunk:
        nonlocal left
        taken = items[:left]
        left -= len(taken)
        if not left:
            control.finish()
        return taken

    return step


def start_skip(count: int, control: StepControl) -> Step:
    """All but the first ``count`` items."""
    left = count

    def step(items: Chunk) -> Chunk:
        nonlocal left
        if not left:
            return items
        kept = items[left:]
        left = max(0, left - len(items))
        return kept

    return step


def start_take_while(
    keep: Callable[[Any], object], inclusive: bool, errors: AtOnce, control: StepControl
) -> Step:
    """The items before the first one that ``keep`` says no to; the stages before it end then."""

    def use(function: Callable[[Any], object]) -> None:
        nonlocal keep
        keep = function

    keep = first_checked(keep, use, "an async @transform of your own")

    def kept(waiting: Iterator[Any]) -> Iterator[Any]:
        for item in waiting:
            if keep(item):
                yield item
                continue
            control.finish()
            if inclusive:
                yield item
            return

    return make_step(errors, control, lambda waiting: list(kept(waiting)), kept)


def start_skip_while(drop: Callable[[Any], object], errors: AtOnce, control: StepControl) -> Step:
    """All items from the first one on that ``drop`` says no to."""
    skipping = True

    def use(function: Callable[[Any], object]) -> None:
        nonlocal drop
        drop = function

    drop = first_checked(drop, use, "an async @transform of your own")

    def kept(waiting: Iterator[Any]) -> Chunk:
        nonlocal skipping
        for item in waiting:
            if not drop(item):
                skipping = False
                return [item, *waiting]
        return []

    step = make_step(errors, control, kept, kept)
    return lambda items: step(items) if skipping else items


def start_batch(size: int, control: StepControl) -> Step:
    """Lists of ``size`` items; the last may be shorter."""
    held: Chunk = []

    def step(items: Chunk) -> Chunk:
        nonlocal held
        held += items
        source = iter(held)
        full = [list(islice(source, size)) for _ in range(len(held) // size)]
        held = list(source)
        return full

    def flush() -> Chunk:
        return [held] if held else []

    control.at_end(flush, lambda: len(held))
    return step
