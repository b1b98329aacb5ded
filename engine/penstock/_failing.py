"""What becomes of an item that a user's function failed on: the choices of ``errors=``.

``"raise"`` fails the run, ``"skip"`` leaves the item out, `Retry` calls again after a pause,
`DeadLetters` sends it aside to a sink. Whatever the choice, it is counted in the report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from inspect import isasyncgen, iscoroutine
from random import random
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import trio

from . import _options as options
from ._backoff import Backoff
from ._errors import AsyncMismatch, ItemFailed, describe, root
from ._spec import Sink, Tally, function_name

T = TypeVar("T")

LEFT_OUT: Final = object()
"""Stands for the result of a call that failed and whose item was left out."""


@dataclass(frozen=True, slots=True)
class DeadLetter(Generic[T]):
    """An item that a stage failed on, as the sink of ``errors=dead_letter(sink)`` gets it.

    Attributes:
        item: the item itself.
        error: what the stage's function raised; the file sinks write it as ``ValueError: no``.
        stage: the stage's name (``map(parse)``).
        attempts: how often the function was called with the item.
    """

    item: T
    error: Exception
    stage: str
    attempts: int

    def __str__(self) -> str:
        tries = "" if self.attempts == 1 else f" after {self.attempts} attempts"
        return f"{self.stage} failed on {self.item!r}{tries}: {describe(self.error)}"


@dataclass(frozen=True, slots=True, eq=False)
class DeadLetters:
    """``errors=dead_letter(sink)``. Operators that share one share its sink."""

    sink: Sink[DeadLetter[Any], Any]

    def __repr__(self) -> str:
        return f"dead_letter({self.sink!r})"


@dataclass(frozen=True, slots=True)
class Retry:
    """``errors=retry(…)``."""

    attempts: int
    backoff: Backoff = field(default_factory=Backoff)
    then: Literal["raise", "skip"] | DeadLetters = "raise"


Errors: TypeAlias = Literal["raise", "skip"] | Retry | DeadLetters


def retry(
    attempts: int,
    backoff: Backoff | None = None,
    then: Literal["raise", "skip"] | DeadLetters = "raise",
) -> Retry:
    """For ``errors=``: call the function again with an item that it failed on.

    Args:
        attempts: the most calls for one item, the first included; at least 2.
        backoff: the waits between them, by Trio's clock; from half a second up to 30 by default.
        then: what becomes of an item that failed every time.

    Items behind it wait where the operator keeps the order. Cancelled while it waits, the item is
    abandoned.
    """
    options.whole_number("retry", "attempts", attempts, at_least=2)
    if backoff is not None and not isinstance(backoff, Backoff):
        raise options.refuse("retry", f"backoff must be a Backoff, got {backoff!r}")
    if not (isinstance(then, DeadLetters) or then in ("raise", "skip")):
        raise options.refuse(
            "retry", f"then must be 'raise', 'skip' or dead_letter(sink), got {then!r}"
        )
    return Retry(attempts, backoff or Backoff(), then)


def dead_letter(sink: Sink[DeadLetter[Any], Any]) -> DeadLetters:
    """For ``errors=``: send an item that the function failed on to ``sink``, as a `DeadLetter`.

    Kept in a variable and given to several operators of a pipeline, they all write to the one sink.
    A sink that is slow holds the operators up; one that fails fails the run. A file sink is atomic
    here, too: the file appears when the run has ended well, and a run that fails or is cancelled
    leaves the old one, or none. Streams that run inside of another (`Stream.flat_map_async`) leave
    that to the outer run; each of them writes the file anew.
    """
    if not isinstance(sink, Sink):
        called = callable(sink) and isinstance(sink(), Sink)
        hint = f"; call it: {function_name(sink)}()" if called else ""
        raise options.refuse("dead_letter", f"takes a sink, got {sink!r}{hint}")
    return DeadLetters(sink)


def check_errors(stage: str, errors: object) -> None:
    """Demand one of the choices of ``errors=``."""
    if not (isinstance(errors, Retry | DeadLetters) or errors in ("raise", "skip")):
        raise options.refuse(
            stage,
            f"errors must be 'raise', 'skip', retry(attempts) or dead_letter(sink), got {errors!r}",
        )


def sides_of(errors: Errors) -> tuple[Sink[Any, Any], ...]:
    """The sinks beside the stream that the choice sends items to."""
    last = errors.then if isinstance(errors, Retry) else errors
    return (last.sink,) if isinstance(last, DeadLetters) else ()


def can_fail(errors: Errors) -> bool:
    """Whether an error of the function can end the run."""
    return errors == "raise" or (isinstance(errors, Retry) and errors.then == "raise")


def first_checked(
    f: Callable[..., Any], go_on_with: Callable[[Callable[..., Any]], object], instead: str
) -> Callable[..., Any]:
    """``f`` for its first call of a run: that must not give a coroutine, as a lambda may.

    It then calls ``go_on_with(f)``, which puts ``f`` in its own place: later calls cost nothing.
    """

    def first(*args: Any) -> Any:
        go_on_with(f)
        return plain_answer(f(*args), instead)

    return first


def plain_answer(given: Any, instead: str) -> Any:
    """The answer of a function that is not to be async; ``instead`` says what takes one that is."""
    if not (iscoroutine(given) or isasyncgen(given)):
        return given
    if iscoroutine(given):
        given.close()  # else Python warns that it was never awaited
    kind = "a coroutine" if iscoroutine(given) else "an async generator"
    raise AsyncMismatch(f"the function gave {kind}; use {instead}")


async def settle(
    errors: Errors,
    item: Any,
    error: Exception,
    again: Callable[[Any], Awaitable[Any]],
    tally: Tally,
) -> Any:
    """Deal with the first failure of a call: the result of a later attempt, or `LEFT_OUT`.

    Raises `ItemFailed` from the last error where the choice is to raise.
    """
    attempts = 1
    error = root(error)
    last: object = "raise" if isinstance(error, AsyncMismatch) else errors
    if isinstance(last, Retry):
        errors = last
        while attempts < errors.attempts:
            await trio.sleep(errors.backoff.delay(attempts - 1, random()))  # noqa: S311 - jitter
            attempts += 1
            tally.retried(1)
            try:
                return await again(item)
            except ItemFailed:
                raise
            except Exception as new:  # noqa: BLE001 - the user's function may raise anything
                error = root(new)
        last = errors.then
    if isinstance(last, DeadLetters):
        await tally.dead_letter(last, item, error, attempts)
    elif last == "skip":
        tally.skipped(1)
    else:
        if attempts > 1:
            error.add_note(f"this was attempt {attempts} of {attempts}")
        raise ItemFailed(item) from error
    return LEFT_OUT
