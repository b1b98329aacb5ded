"""The task of a window stage: reads items, moves the watermark, and does what comes of both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any

import trio

from ..._failing import LEFT_OUT, Errors, settle
from ..._pace import BUDGET, MOST, Pace
from ..._spec import Chunk, CountingSender, Receiver, Sink
from ..._waiting_clock import WaitingClock
from ..calling import KEY, Calls, without
from ..key_bounds import KeyBounds
from ..timing.waiting import take_until
from .aggregates import Aggregate
from .clocks import ArrivalClock, SilenceClock, WatermarkClock
from .counts import CountWindows
from .open_windows import Closed, Event, Events, Failed, Late, OpenWindows
from .panes import PaneWindows
from .sessions import SessionWindows
from .times import seconds_for
from .window import ByCount, Panes, Window, WindowKind


@dataclass(frozen=True, slots=True)
class Windowing:
    """What ``keyed.window(…)`` was told. Without ``time``, it is that of Trio's clock."""

    key: Callable[[Any], Any]
    bounds: KeyBounds
    kind: WindowKind
    time: Callable[[Any], Any] | None
    lateness: float
    late: Sink[Any, Any] | None
    silence: float | None
    errors: Errors

    def open(self, aggregate: Aggregate, evicted: Callable[[int], None]) -> OpenWindows:
        """Where the windows of one run are kept."""
        kind, bounds = self.kind, self.bounds
        if isinstance(kind, ByCount):
            return CountWindows(kind.n, aggregate, bounds, evicted)
        if isinstance(kind, Panes):
            return PaneWindows(kind.grid, aggregate, self.lateness, bounds, evicted)
        return SessionWindows(kind.gap, aggregate, self.lateness, bounds, evicted)

    def clock(self) -> WatermarkClock:
        """What moves the watermark of one run on besides the items."""
        return ArrivalClock() if self.time is None else SilenceClock(self.silence)


async def window(
    windowing: Windowing,
    aggregate: Aggregate,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """Windows of the items of each key, as they end."""
    await _WindowTask(windowing, aggregate, send).run(receive)


class _WindowTask:
    """One run of the stage.

    ``_held`` are all items that it took and that have not gone: those not looked at, those in
    ``_open``, and the ``_in_ended`` items of the windows in ``_ended``, which are to be sent.
    """

    def __init__(
        self, windowing: Windowing, aggregate: Aggregate, send: CountingSender[Any]
    ) -> None:
        self._windowing = windowing
        self._send = send
        self._calls = Calls(windowing.errors, send)
        self._open = windowing.open(aggregate, send.evicted)
        self._clock = windowing.clock()
        self._seconds = seconds_for(windowing.kind)
        self._waiting = WaitingClock()
        self._ended: list[Window[Any, Any]] = []
        self._in_ended = 0
        self._held = 0
        self._pace = Pace()
        self._finishing = Pace()
        self._yielded = perf_counter()
        self._waited = 0.0

    async def run(self, receive: Receiver[Any]) -> None:
        """Until the stream ends; then all windows do."""
        self._send.holds(lambda: self._held)
        if self._windowing.time is None:
            self._seconds.check(trio.current_time())
        items: Chunk | None = []
        while items is not None:
            items = await take_until(self._wake(), receive)
            now = trio.current_time()
            self._waiting.stop()
            self._held += len(items or ())
            await self._do(self._open.let_go(self._idle_until(now)))
            await self._do(self._open.advance(self._watermark(now)))
            if items:
                await self._take(items, now)
                self._clock.heard(trio.current_time(), self._open.watermark)
            else:
                await self._send_ended()
                self._clock.paused(trio.current_time() - now)
            self._waiting.go_on()
        await self._do(self._open.end())
        await self._send_ended()

    def _wake(self) -> float:
        """When there is something to do even if nothing comes."""
        end = self._open.next_end
        idle = self._waiting.due(self._open.next_idle)
        return min(inf if end is None else self._clock.due(end), idle)

    def _idle_until(self, now: float) -> float:
        """The time by which keys are idle, however that is rounded."""
        waited, idle = self._waiting.now, self._open.next_idle
        return max(waited, idle) if self._waiting.due(idle) <= now else waited

    def _watermark(self, now: float) -> float:
        """Where the clock has moved it by now, however that is rounded."""
        watermark, end = self._clock.watermark(now), self._open.next_end
        if end is not None and self._clock.due(end) <= now:
            return max(watermark, end)
        return watermark

    async def _take(self, items: Chunk, now: float) -> None:
        start = 0
        while start < len(items):
            piece = items[start : start + self._pace.size]
            start += len(piece)
            began, waited = perf_counter(), self._waited
            keys, times, read = await self._read(piece, now)
            await self._do(self._open.admit(keys, times, read, self._waiting.now))
            await self._send_ended()
            self._pace.record(len(piece), perf_counter() - began - (self._waited - waited))
            await self._give_turn()

    async def _read(self, items: Chunk, now: float) -> tuple[Chunk, list[float], Chunk]:
        """Keys, times, and the items that have both."""
        windowing = self._windowing
        keys, failed = await self._calls.each(windowing.key, items, KEY, self._one_less)
        items = without(failed, items)
        if windowing.time is None:
            return keys, [now] * len(items), items
        times, failed = await self._calls.each(windowing.time, items, self._seconds, self._one_less)
        return without(failed, keys), times, without(failed, items)

    async def _do(self, events: Events) -> None:
        for event in events:
            await self._do_one(event)
            await self._give_turn()

    async def _do_one(self, event: Event) -> None:
        if isinstance(event, Closed):
            self._in_ended += event.items
            self._ended += await self._completed(event.windows)
            if len(self._ended) >= MOST:
                await self._send_ended()
        elif isinstance(event, Late):
            self._held -= len(event.items)
            if self._windowing.late is None:
                self._send.dropped(len(event.items))
            else:
                await self._away(self._send.aside(self._windowing.late, event.items))
        else:
            await self._away(self._settle(event))

    async def _completed(self, windows: list[Window[Any, Any]]) -> list[Window[Any, Any]]:
        complete = self._open.complete
        if complete is None:
            return windows
        completed: list[Window[Any, Any]] = []
        start = 0
        while start < len(windows):
            piece = windows[start : start + self._finishing.size]
            start += len(piece)
            began = perf_counter()
            values, failed = await self._calls.each(lambda each: complete(each.value), piece)
            completed += [
                Window(each.key, each.start, each.end, value)
                for each, value in zip(without(failed, piece), values, strict=True)
            ]
            self._finishing.record(len(piece), perf_counter() - began)
            await self._give_turn()
        return completed

    async def _settle(self, failed: Failed) -> None:
        async def again(_: Any) -> None:
            failed.again()

        errors = self._windowing.errors
        given = await settle(errors, failed.item, failed.error, again, self._send)
        if given is LEFT_OUT:
            self._one_less()

    def _one_less(self) -> None:
        self._held -= 1

    async def _send_ended(self) -> None:
        self._held -= self._in_ended
        self._in_ended = 0
        if self._ended:
            ended, self._ended = self._ended, []
            await self._away(self._send.chunk(ended))

    async def _give_turn(self) -> None:
        began = perf_counter()
        if began - self._yielded >= BUDGET:
            await trio.lowlevel.checkpoint()
            self._yielded = perf_counter()
            self._waited += self._yielded - began

    async def _away(self, wait: Awaitable[None]) -> None:
        """Wait for others: the pace is of one's own work."""
        began = perf_counter()
        await wait
        self._waited += perf_counter() - began
