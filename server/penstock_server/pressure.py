"""``slow="block"``: who appends waits for the slowest reader, so the producer does, too.

A reader is behind by what the log retains at most: an append waits while it would push out what a
blocking reader has not read. Those who append wait in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import trio

from .fanout import Delivery
from .log import EncodedEvent, Log
from .wake import Wake


class NoRoom(Exception):
    """There was no room in time; nothing was appended."""


class TooMany(ValueError):
    """The log can't hold so many events at once, however fast its readers are."""


class Pressure:
    """Appends to a topic's log at the pace of its slowest reader."""

    def __init__(self, log: Log, delivery: Delivery) -> None:
        self._log = log
        self._delivery = delivery
        self._turn = trio.Lock()
        self._moved = Wake()
        self.waiting = 0
        delivery.on_moved = self._moved.set

    async def append(self, events: Sequence[EncodedEvent], timeout: float = inf) -> int:  # noqa: ASYNC109 - becomes NoRoom
        """Append events together as soon as there is room; gives the last one's offset.

        Raises `NoRoom` after `timeout` seconds (with 0 it takes the room that there is), `TooMany`
        where there never will be room, and ``ValueError`` on a log that has ended. A checkpoint
        before anything is appended: cancelled, nothing was.
        """
        self.waiting += 1
        try:
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(timeout):
                await self._take_turn()
                try:
                    return await self._append_in_turn(events)
                finally:
                    self._turn.release()
        finally:
            self.waiting -= 1
        raise NoRoom

    async def _take_turn(self) -> None:
        try:
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            await self._turn.acquire()

    async def _append_in_turn(self, events: Sequence[EncodedEvent]) -> int:
        while True:
            first = self._log.first_after(events)
            if first > self._log.bounds().last + 1:
                raise TooMany("more at once than the log may hold; raise retain or retain_bytes")
            slowest = self._delivery.slowest()
            if slowest is None or slowest >= first - 1:
                return self._log.append(events)
            await self._moved.wait()
