"""``for_each``: a function, plain or async, called for each item."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from time import perf_counter
from typing import Any, TypeVar

import trio

from .. import _options as options
from .._call_pool import CallPool
from .._failing import Errors, can_fail, check_errors, settle, sides_of
from .._pace import BUDGET
from .._spec import Receiver, Sink, Tally, TaskSink, Traits, stage_name

T = TypeVar("T")


def for_each(
    f: Callable[[T], Awaitable[object]] | Callable[[T], object],
    concurrency: int = 1,
    *,
    errors: Errors = "raise",
) -> Sink[T, None]:
    """Call ``f(item)`` for each item; where it gives an awaitable, await it.

    With ``concurrency`` above 1, up to that many awaitables are in flight and the order of their
    effects is open; at most twice that many items are taken in. Where ``errors`` has a failed call
    made again, the next item waits for that, or, with ``concurrency``, one call less is in flight.
    Cancelled, the calls in flight are cancelled and their items abandoned.
    """
    options.function("for_each", "f", f)
    options.whole_number("for_each", "concurrency", concurrency, at_least=1)
    check_errors("for_each", errors)
    work = _one_by_one if concurrency == 1 else partial(_at_once, concurrency)
    return Sink(
        stage_name("for_each", f),
        TaskSink(partial(work, f, errors)),
        Traits(fails=can_fail(errors)),
        sides_of(errors),
    )


async def _one_by_one(
    f: Callable[[Any], Any], errors: Errors, receive: Receiver[Any], tally: Tally
) -> None:
    held = 0
    tally.holds(lambda: held)
    yielded = perf_counter()  # seconds of work, whatever Trio's clock says
    async for item in receive:
        held = 1
        try:
            answer = f(item)
            if isawaitable(answer):
                await answer
        except Exception as error:  # noqa: BLE001 - the user's function may raise anything
            await settle(errors, item, error, partial(_call, f), tally)
        held = 0
        if perf_counter() - yielded >= BUDGET:
            await trio.lowlevel.checkpoint()
            yielded = perf_counter()


async def _at_once(
    concurrency: int,
    f: Callable[[Any], Any],
    errors: Errors,
    receive: Receiver[Any],
    tally: Tally,
) -> None:
    pool = CallPool(partial(_call, f), concurrency, errors, tally)
    tally.holds(lambda: pool.held)
    await pool.run(receive)


async def _call(f: Callable[[Any], Any], item: Any) -> None:
    answer = f(item)
    if isawaitable(answer):
        await answer
