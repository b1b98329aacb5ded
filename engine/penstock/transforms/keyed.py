"""Operators with a state for each key: ``scan``, ``reduce``, ``dedupe``, ``debounce``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import trio

from .._failing import Errors, first_checked
from .._spec import Chunk, CountingSender, Receiver, Step, StepControl
from .calling import KEY, Calls, without
from .element import AtOnce, start_filter, start_map
from .key_bounds import BoundedStates, KeyBounds
from .timing.waiting import take_until

_NOTHING: Any = object()
_INSTEAD = "an async @transform of your own"
_INSTEAD_FOR_KEY = "map_async before it, and a key of its answers"


def start_scan(
    key: Callable[[Any], Any],
    bounds: KeyBounds,
    initial: Any,
    f: Callable[[Any, Any], Any],
    errors: AtOnce,
    control: StepControl,
) -> Step:
    """``(key, state)`` after each item, where ``state = f(state, item)`` is that of the key."""
    states = BoundedStates(bounds, control)

    def use_key(checked: Callable[[Any], Any]) -> None:
        nonlocal key
        key = checked

    def use(checked: Callable[[Any, Any], Any]) -> None:
        nonlocal f
        f = checked

    key = first_checked(key, use_key, _INSTEAD_FOR_KEY)
    f = first_checked(f, use, _INSTEAD)

    def advance(item: Any) -> tuple[Any, Any]:
        of = key(item)
        state = f(states.get(of, initial), item)
        states.put(of, state)
        return of, state

    return partial(_tidied, states, start_map(advance, errors, control))


def start_reduce(
    key: Callable[[Any], Any],
    bounds: KeyBounds,
    f: Callable[[Any, Any], Any],
    errors: AtOnce,
    control: StepControl,
) -> Step:
    """As `start_scan`; the first item of a key is its first state."""

    def use(checked: Callable[[Any, Any], Any]) -> None:
        nonlocal f
        f = checked

    f = first_checked(f, use, _INSTEAD)

    def advance(state: Any, item: Any) -> Any:
        return item if state is _NOTHING else f(state, item)

    return start_scan(key, bounds, _NOTHING, advance, errors, control)


def start_dedupe(
    key: Callable[[Any], Any],
    bounds: KeyBounds,
    value: Callable[[Any], object] | None,
    errors: AtOnce,
    control: StepControl,
) -> Step:
    """The items that aren't what the item before of the same key was."""
    states = BoundedStates(bounds, control)

    def use_key(checked: Callable[[Any], Any]) -> None:
        nonlocal key
        key = checked

    def use_value(checked: Callable[[Any], object]) -> None:
        nonlocal value
        value = checked

    key = first_checked(key, use_key, _INSTEAD_FOR_KEY)
    if value is not None:
        value = first_checked(value, use_value, _INSTEAD_FOR_KEY)

    def is_new(item: Any) -> bool:
        of = key(item)
        given = item if value is None else value(item)
        before = states.get(of, _NOTHING)
        is_repeat = before is not _NOTHING and given == before
        states.put(of, given)
        return not is_repeat

    return partial(_tidied, states, start_filter(is_new, errors, control))


def _tidied(states: BoundedStates, step: Step, items: Chunk) -> Chunk:
    states.tidy()
    return step(items)


async def debounce(
    key: Callable[[Any], Any],
    max_keys: int | None,
    seconds: float,
    errors: Errors,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """An item once no other of its key has come for ``seconds``; what is held, at the end.

    The held items are in the order in which they came, which is that in which they are due.
    """
    held: OrderedDict[Any, tuple[float, Any]] = OrderedDict()
    calls = Calls(errors, send)
    items: Chunk | None = []
    while items is not None:
        items = await take_until(next(iter(held.values()))[0] if held else inf, receive)
        now = trio.current_time()
        due: Chunk = []
        while held and (items is None or next(iter(held.values()))[0] <= now):
            due.append(held.popitem(last=False)[1][1])
        if items:
            keys, failed = await calls.each(key, items, KEY)
            for of, item in zip(keys, without(failed, items), strict=True):
                if held.pop(of, None) is not None:
                    send.dropped(1)
                elif max_keys is not None and len(held) >= max_keys:
                    due.append(held.popitem(last=False)[1][1])
                    send.evicted(1)
                held[of] = (now + seconds, item)
        if due:
            await send.chunk(due)
