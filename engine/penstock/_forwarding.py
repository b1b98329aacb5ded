"""Driving an async iterable of the user's, in the task that it gets to itself."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, cast

import trio


async def forward_async_iterable(
    items: AsyncIterable[Any], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Send what an async iterable gives, item by item.

    A cancel scope that an async generator holds open across its ``yield`` is part of this task
    (PEP 789). When it expires while the item is being sent, the `trio.Cancelled` is thrown in at
    the ``yield``, which is where the generator would expect it; a cancellation from outside
    passes through the generator the same way, and runs its ``finally`` blocks.
    """
    iterator = aiter(items)
    if not inspect.isasyncgen(iterator):
        async for item in iterator:
            await send(item)
        return
    generator = cast("AsyncGenerator[Any, None]", iterator)
    try:
        item = await anext(generator)
        while True:
            try:
                await send(item)
            except trio.Cancelled as cancelled:
                item = await generator.athrow(cancelled)
            else:
                item = await anext(generator)
    except StopAsyncIteration:
        return
    finally:
        await generator.aclose()
