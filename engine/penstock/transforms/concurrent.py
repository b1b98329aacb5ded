"""``map_async``: calls of an async function, many at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from .._call_pool import CallPool
from .._failing import Errors
from .._spec import CountingSender, Receiver


async def map_async(
    f: Callable[[Any], Awaitable[Any]],
    concurrency: int,
    ordered: bool,
    key: Callable[[Any], Hashable] | None,
    errors: Errors,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """``await f(item)`` for up to ``concurrency`` items at a time."""
    pool = CallPool(f, concurrency, errors, send, ordered=ordered, key=key)
    await pool.run(receive, send.chunk)
