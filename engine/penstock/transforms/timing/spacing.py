"""All items, but later: ``delay`` and ``rate_limit``."""

from __future__ import annotations

from collections import deque
from typing import Any

import trio

from ..._spec import Chunk, CountingSender, Receiver


class _Window:
    """At most ``n`` items in any ``per`` seconds: which went when, those of the last ``per``.

    The same as a token bucket whose every token comes back ``per`` seconds after it was taken.
    """

    def __init__(self, n: int, per: float) -> None:
        self._per = per
        self._gone: deque[tuple[float, int]] = deque()
        self._room = n

    @property
    def next_room(self) -> float:
        """When there will be room for another item; only where there is none."""
        return self._gone[0][0] + self._per

    def room(self, now: float) -> int:
        """How many items may go."""
        while self._gone and now >= self.next_room:
            self._room += self._gone.popleft()[1]
        return self._room

    def note(self, now: float, count: int) -> None:
        """So many have gone."""
        self._room -= count
        self._gone.append((now, count))


async def rate_limit(n: int, per: float, receive: Receiver[Any], send: CountingSender[Any]) -> None:
    """All items, at most ``n`` in any ``per`` seconds."""
    window = _Window(n, per)
    async for items in receive.chunks():
        start = 0
        while start < len(items):
            room = window.room(trio.current_time())
            if not room:
                await trio.sleep_until(window.next_room)
                continue
            part = items[start : start + room]
            start += len(part)
            count = len(part)
            await send.chunk(part)
            # Where the stages behind were busy, some have gone in only now.
            window.note(trio.current_time(), count)


class _Delay:
    """One run of ``delay``: what has come, with the time at which it goes on."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._waiting: deque[tuple[float, Chunk]] = deque()
        self._held = 0
        self._ended = False
        self._changed = trio.lowlevel.ParkingLot()

    async def take(self, receive: Receiver[Any]) -> None:
        """Note when items come, without a look at how the stages behind get on."""
        async for items in receive.chunks():
            self._waiting.append((trio.current_time() + self._seconds, items))
            self._held += len(items)
            self._changed.unpark_all()
            while self._held >= self._most:
                await self._changed.park()
        self._ended = True
        self._changed.unpark_all()

    async def give(self, send: CountingSender[Any]) -> None:
        """Send on what is due, until the stream has ended."""
        while True:
            if self._waiting:
                await trio.sleep_until(self._waiting[0][0])
                due = self._take_due()
                count = len(due)
                await send.chunk(due)
                self._held -= count
                self._changed.unpark_all()
            elif self._ended:
                return
            else:
                await self._changed.park()

    def _take_due(self) -> Chunk:
        now = trio.current_time()
        due: Chunk = []
        while self._waiting and self._waiting[0][0] <= now:
            due += self._waiting.popleft()[1]
        return due


async def delay(
    seconds: float, most: int, receive: Receiver[Any], send: CountingSender[Any]
) -> None:
    """Each item ``seconds`` after it came."""
    delayed = _Delay(seconds, most)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(delayed.give, send)
        await delayed.take(receive)
