"""``fold``: a whole stream as one value, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from operator import length_hint
from time import perf_counter
from typing import Any, TypeVar

import trio

from .. import _options as options
from .._errors import AsyncMismatch, ItemFailed
from .._failing import (
    LEFT_OUT,
    DeadLetters,
    Errors,
    Retry,
    can_fail,
    check_errors,
    first_checked,
    settle,
    sides_of,
)
from .._pace import BUDGET
from .._spec import (
    Chunk,
    Receiver,
    Sink,
    SinkOp,
    StepControl,
    StepSink,
    Tally,
    TaskSink,
    Traits,
    stage_name,
)

T = TypeVar("T")
R = TypeVar("R")

_INSTEAD = "for_each or a @sink of your own"


def fold(initial: R, f: Callable[[R, T], R], *, errors: Errors = "raise") -> Sink[T, R]:
    """``f(f(f(initial, a), b), c)``: the result of the whole stream, in constant memory.

    ``initial`` is shared by all runs of the pipeline: give a value that ``f`` doesn't change in
    place (a tuple or a number rather than a list). An item that ``f`` fails on and that ``errors``
    lets pass leaves the result as it was.
    """
    options.function("fold", "f", f, instead=_INSTEAD)
    check_errors("fold", errors)
    op: SinkOp
    if isinstance(errors, Retry):
        op = TaskSink(partial(_fold_with_retries, initial, f, errors))
    else:
        op = StepSink(partial(_start_fold, initial, f, errors))
    traits = Traits(fails=can_fail(errors))
    return Sink(stage_name("fold", f), op, traits, sides_of(errors))


def _start_fold(
    initial: Any, f: Callable[[Any, Any], Any], errors: Errors, control: StepControl
) -> tuple[Callable[[Chunk], None], Callable[[], Any]]:
    state = initial

    def use(checked: Callable[[Any, Any], Any]) -> None:
        nonlocal f
        f = checked

    f = first_checked(f, use, _INSTEAD)

    def advance(waiting: Iterator[Any]) -> None:
        nonlocal state
        result = state
        try:
            for item in waiting:
                result = f(result, item)
        finally:
            state = result

    def consume(items: Chunk) -> None:
        waiting = iter(items)
        while True:
            try:
                advance(waiting)
            except Exception as error:
                failed = items[len(items) - length_hint(waiting) - 1]
                if isinstance(error, AsyncMismatch):
                    raise ItemFailed(failed) from error
                if errors == "skip":
                    control.skipped(1)
                elif isinstance(errors, DeadLetters):
                    control.dead_letter(errors, failed, error)
                else:
                    raise ItemFailed(failed) from error
            else:
                return

    return consume, lambda: state


async def _fold_with_retries(
    initial: Any, f: Callable[[Any, Any], Any], errors: Retry, receive: Receiver[Any], tally: Tally
) -> Any:
    state = initial
    yielded = perf_counter()

    def use(checked: Callable[[Any, Any], Any]) -> None:
        nonlocal f
        f = checked

    f = first_checked(f, use, _INSTEAD)

    async def again(item: Any) -> Any:
        return f(state, item)

    async for item in receive:
        try:
            state = f(state, item)
        except Exception as error:  # noqa: BLE001 - the user's function may raise anything
            result = await settle(errors, item, error, again, tally)
            if result is not LEFT_OUT:
                state = result
        if perf_counter() - yielded >= BUDGET:
            await trio.lowlevel.checkpoint()
            yielded = perf_counter()
    return state
