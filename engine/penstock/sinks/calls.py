"""``for_each``: a function, plain or async, called for each item."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from time import perf_counter
from typing import Any, TypeVar

import trio

from .. import _options as options
from .._errors import ItemFailed
from .._pace import BUDGET
from .._spec import Receiver, Sink, TaskSink, stage_name

T = TypeVar("T")


def for_each(
    f: Callable[[T], Awaitable[object]] | Callable[[T], object], concurrency: int = 1
) -> Sink[T, None]:
    """Call ``f(item)`` for each item; where it gives an awaitable, await it.

    With ``concurrency`` above 1, up to that many awaitables are in flight and the order of their
    effects is open. Cancelled, the calls in flight are cancelled.
    """
    options.function("for_each", "f", f)
    options.whole_number("for_each", "concurrency", concurrency, at_least=1)
    work = partial(_one_by_one, f) if concurrency == 1 else partial(_at_once, f, concurrency)
    return Sink(stage_name("for_each", f), TaskSink(work))


async def _one_by_one(f: Callable[[Any], Any], receive: Receiver[Any]) -> None:
    yielded = perf_counter()  # seconds of work, whatever Trio's clock says
    async for item in receive:
        try:
            answer = f(item)
            if isawaitable(answer):
                await answer
        except Exception as error:
            raise ItemFailed(item) from error
        if perf_counter() - yielded >= BUDGET:
            await trio.lowlevel.checkpoint()
            yielded = perf_counter()


async def _at_once(f: Callable[[Any], Any], concurrency: int, receive: Receiver[Any]) -> None:
    limit = trio.Semaphore(concurrency)

    async def call(item: Any) -> None:
        try:
            answer = f(item)
            if isawaitable(answer):
                await answer
        except Exception as error:
            raise ItemFailed(item) from error
        finally:
            limit.release()

    async with trio.open_nursery() as nursery:
        async for item in receive:
            await limit.acquire()
            nursery.start_soon(call, item)
