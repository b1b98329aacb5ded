"""``batch`` with a limit of time."""

from __future__ import annotations

from math import inf
from typing import Any

import trio

from ..._spec import Chunk, CountingSender, Receiver
from .waiting import take_until


async def batch_within(
    size: int, within: float, receive: Receiver[Any], send: CountingSender[Any]
) -> None:
    """Lists of ``size`` items, or of what has come ``within`` seconds of a list's first item."""
    held: Chunk = []
    deadline = inf
    items: Chunk | None = []
    send.holds(lambda: len(held))
    while items is not None:
        items = await take_until(deadline if held else inf, receive)
        now = trio.current_time()
        if items:
            if not held:
                deadline = now + within
            held += items
        full = len(held) - len(held) % size
        batches = [held[start : start + size] for start in range(0, full, size)]
        if batches:
            held = held[full:]
            deadline = now + within
        if held and (items is None or now >= deadline):
            batches.append(held)
            held = []
        if batches:
            await send.chunk(batches)
