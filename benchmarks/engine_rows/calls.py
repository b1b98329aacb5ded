"""`map_async` against a pool of Trio tasks that is written by hand.

The function only checkpoints, so what is measured is the machinery around it: 100,000 items, 100
calls at a time. The pool is what one writes without an engine: 100 workers that read from a memory
channel and append to a list. Targets: at least as fast where the order is free, at least 0.8 of the
pool's speed where the results keep the order of the items, which the pool's don't.
"""

from __future__ import annotations

from functools import partial

import trio

import penstock as ps

from ..figures import Figure, in_turn, ratio, summary
from ..rows import Effort, Row
from .measuring import rate

ITEMS = 100_000
CONCURRENCY = 100
UNORDERED = 1.0
ORDERED = 0.8


async def double_later(n: int) -> int:
    await trio.lowlevel.checkpoint()
    return n * 2


async def pool(number: int) -> list[int]:
    results: list[int] = []

    async def worker(receive: trio.MemoryReceiveChannel[int]) -> None:
        async with receive:
            async for n in receive:
                results.append(await double_later(n))  # noqa: PERF401 - as they are done

    send, receive = trio.open_memory_channel[int](CONCURRENCY)
    async with trio.open_nursery() as nursery, send, receive:
        for _ in range(CONCURRENCY):
            nursery.start_soon(worker, receive.clone())
        for n in range(number):
            await send.send(n)
    return results


async def mapped(number: int, *, ordered: bool) -> list[int]:
    stream = ps.from_iterable(range(number)).map_async(double_later, CONCURRENCY, ordered=ordered)
    return await stream.to(ps.collect()).run()


def measure(effort: Effort) -> list[Figure]:
    """All in turn."""
    number = int(ITEMS * effort.scale)
    expected = [n * 2 for n in range(number)]
    works = {
        "pool": lambda: sorted(trio.run(pool, number)),
        "unordered": lambda: sorted(trio.run(partial(mapped, number, ordered=False))),
        "ordered": lambda: trio.run(partial(mapped, number, ordered=True)),
    }
    rates = in_turn(
        {name: partial(rate, work, number, expected) for name, work in works.items()},
        effort.rounds,
    )
    return [
        *(summary(f"{name}, k items/s", rates[name]) for name in rates),
        ratio("unordered / pool", rates["unordered"], rates["pool"], UNORDERED),
        ratio("ordered / pool", rates["ordered"], rates["pool"], ORDERED),
    ]


ROW = Row("map_async of a checkpoint, concurrency 100, against a hand-written pool", measure)
