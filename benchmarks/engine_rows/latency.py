"""How long a lone item takes through an idle pipeline of five tasks.

From sending it into a channel until it is received behind four buffers with an operator between
each two. It answers whether chunks buy speed with delay. Target: under 1 ms at the median.
"""

from __future__ import annotations

from time import perf_counter

import trio

import penstock as ps

from ..figures import Figure, at_most
from ..rows import Effort, Row

ITEMS = 2_000
MOST_MS = 1.0
_IDLE = 0.002


def same(sent: float) -> float:
    return sent


async def lone_items(number: int) -> list[float]:
    """Milliseconds of each."""
    send, receive = trio.open_memory_channel[float](0)
    delays: list[float] = []
    stream = ps.from_channel(receive)
    for _ in range(3):
        stream = stream.buffer(1024).map(same)
    async with stream.buffer(1024).open() as items:
        for _ in range(number):
            await trio.sleep(_IDLE)  # everything waits again
            await send.send(perf_counter())
            (sent,) = await items.chunk()
            delays.append((perf_counter() - sent) * 1_000)
    return delays


def measure(effort: Effort) -> list[Figure]:
    """One run."""
    delays = trio.run(lone_items, int(ITEMS * effort.scale))
    return [at_most("one item, ms", delays, MOST_MS)]


ROW = Row("One item through an idle pipeline of five tasks", measure)
