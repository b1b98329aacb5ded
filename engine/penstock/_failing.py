"""What becomes of an item that a user's function failed on: the choices of ``errors=``.

``"raise"`` fails the run, ``"skip"`` leaves the item out, `Retry` calls again after a pause,
`DeadLetters` sends it aside to a sink. Whatever the choice, it is counted in the report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import random
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import trio

from . import _options as options
from ._backoff import Backoff
from ._errors import ItemFailed, describe
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
    here, too: a run that fails leaves no file.
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
    last: object = errors
    if isinstance(errors, Retry):
        while attempts < errors.attempts:
            await trio.sleep(errors.backoff.delay(attempts - 1, random()))  # noqa: S311 - jitter
            attempts += 1
            tally.retried(1)
            try:
                return await again(item)
            except ItemFailed:
                raise
            except Exception as new:  # noqa: BLE001 - the user's function may raise anything
                error = new
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
