"""A bounded pool of calls in flight: the work of ``map_async`` and ``map_blocking``.

At most ``concurrency`` calls run at any time, and at most twice that many items have been taken
and not yet been passed on, so a slow first call holds back the source rather than filling memory.
Workers start when there is work for them and take the next item without a switch of tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Protocol

import trio
from trio.lowlevel import ParkingLot

from .._errors import ItemFailed
from .._spec import CountingSender, Receiver
from .element import Errors

_PENDING, _DONE, _SKIPPED = range(3)


class _Slot:
    __slots__ = ("state", "value")

    def __init__(self, item: Any) -> None:
        self.value = item
        self.state = _PENDING


class Results(Protocol):
    """What the pool needs of a sender."""

    async def chunk(self, items: list[Any], /) -> None:
        """Send results on."""
        ...

    def skipped(self, count: int, /) -> None:
        """Count items left out."""
        ...


class CallPool:
    """One run of a pool.

    Args:
        call: what is done with each item.
        concurrency: the most calls at a time.
        ordered: whether the results keep the order of the items.
        errors: what a failing call does: ``"raise"`` or ``"skip"``. A call that knows better
            which item is to blame raises `ItemFailed` itself.
    """

    def __init__(
        self,
        call: Callable[[Any], Awaitable[Any]],
        concurrency: int,
        *,
        ordered: bool,
        errors: Errors = "raise",
    ) -> None:
        self._call = call
        self._concurrency = concurrency
        self._ordered = ordered
        self._errors = errors
        self._work: deque[_Slot] = deque()
        self._slots: deque[_Slot] = deque()
        self._ready: list[_Slot] = []
        self._outstanding = 0
        self._workers = 0
        self._ended = False
        self._idle = ParkingLot()
        self._room = ParkingLot()
        self._emitting = ParkingLot()

    async def run(self, receive: AsyncIterable[Any], send: Results) -> None:
        """Take items until the stream ends, call, and send the results on.

        Raises `ItemFailed` (in a group) where a call fails. Cancelled, the calls in flight are
        cancelled and their items are lost.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._emit, send)
            async for item in receive:
                self._admit(item, nursery)
                while self._outstanding >= 2 * self._concurrency:
                    await self._room.park()
            self._ended = True
            self._idle.unpark_all()
            self._emitting.unpark_all()

    def _admit(self, item: Any, nursery: trio.Nursery) -> None:
        self._outstanding += 1
        slot = _Slot(item)
        self._work.append(slot)
        if self._ordered:
            self._slots.append(slot)
        if self._idle:
            self._idle.unpark()
        elif self._workers < self._concurrency:
            self._workers += 1
            nursery.start_soon(self._worker)

    async def _worker(self) -> None:
        while True:
            while not self._work:
                if self._ended:
                    return
                await self._idle.park()
            slot = self._work.popleft()
            try:
                slot.value = await self._call(slot.value)
                slot.state = _DONE
            except ItemFailed:
                raise
            except Exception as error:
                if self._errors == "raise":
                    raise ItemFailed(slot.value) from error
                slot.state = _SKIPPED
            self._finish(slot)

    def _finish(self, slot: _Slot) -> None:
        if not self._ordered:
            self._ready.append(slot)
        elif slot is not self._slots[0]:
            return
        if self._emitting:
            self._emitting.unpark()

    async def _emit(self, send: Results) -> None:
        while True:
            slots = self._take_ready()
            if slots:
                items = [slot.value for slot in slots if slot.state == _DONE]
                if len(items) < len(slots):
                    send.skipped(len(slots) - len(items))
                if items:
                    await send.chunk(items)
                self._outstanding -= len(slots)
                self._room.unpark()
            elif self._ended and not self._outstanding:
                return
            else:
                await self._emitting.park()

    def _take_ready(self) -> list[_Slot]:
        ready: list[_Slot] = []
        if not self._ordered:
            ready, self._ready = self._ready, ready
            return ready
        while self._slots and self._slots[0].state != _PENDING:
            ready.append(self._slots.popleft())
        return ready


async def map_async(
    f: Callable[[Any], Awaitable[Any]],
    concurrency: int,
    ordered: bool,
    errors: Errors,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """``await f(item)`` for up to ``concurrency`` items at a time."""
    await CallPool(f, concurrency, ordered=ordered, errors=errors).run(receive, send)
