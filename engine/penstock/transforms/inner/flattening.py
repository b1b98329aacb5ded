"""``flat_map_async``: the items of many inner streams, several of them at a time."""

from __future__ import annotations

from math import inf
from typing import Any

import trio

from ..._channel import Channel
from ..._spec import DEFAULT_CAPACITY, Chunk, CountingSender, Inlet, Receiver
from .driving import InnerStreams, Outward

_LEAST_ROOM = 16


async def flat_map_as_they_come(
    streams: InnerStreams, concurrency: int, receive: Receiver[Any], send: CountingSender[Any]
) -> None:
    """The items of up to ``concurrency`` inner streams, as they come."""
    running = trio.Semaphore(concurrency)
    held = 0
    send.holds(lambda: held)

    async def run(item: Any, outward: Outward) -> None:
        nonlocal held
        await streams.run(item, outward, send)
        held -= 1
        running.release()

    async def work(outward: Outward) -> None:
        nonlocal held
        items = aiter(receive)
        async with trio.open_nursery() as nursery:
            await running.acquire()
            async for item in items:
                held += 1
                nursery.start_soon(run, item, outward)
                await running.acquire()

    await Outward(send).run(work)


async def flat_map_in_order(
    streams: InnerStreams, concurrency: int, receive: Receiver[Any], send: CountingSender[Any]
) -> None:
    """The items of up to ``concurrency`` inner streams, all of one before any of the next.

    Each has room in front of it for what it gives before its turn. It counts as held until all of
    that is passed on; there are at most twice ``concurrency`` of them.
    """
    room = max(_LEAST_ROOM, DEFAULT_CAPACITY // (2 * concurrency))
    running = trio.Semaphore(concurrency)
    may_take = trio.Semaphore(2 * concurrency)
    into_line, line = trio.open_memory_channel[Channel](inf)
    held = 0
    send.holds(lambda: held)

    async def fill(item: Any, lane: Channel) -> None:
        await streams.run(item, _IntoLane(lane), send)
        lane.close_sender()
        running.release()

    async def empty() -> None:
        nonlocal held
        async for lane in line:
            while True:
                try:
                    items = await lane.receive()
                except trio.EndOfChannel:
                    break
                await send.chunk(items)
            held -= 1
            may_take.release()

    async def room_for_another() -> None:
        await may_take.acquire()
        await running.acquire()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(empty)
        with into_line:
            await room_for_another()
            async for item in receive:
                held += 1
                lane = Channel(Inlet(room))
                into_line.send_nowait(lane)
                nursery.start_soon(fill, item, lane)
                await room_for_another()


class _IntoLane:
    def __init__(self, lane: Channel) -> None:
        self._lane = lane

    async def __call__(self, item: Any) -> None:
        await self._lane.send([item])

    async def chunk(self, items: Chunk) -> None:
        await self._lane.send(items)
