"""A log in memory: a list with a moving start, bounded by events, bytes and age."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.wire import new_epoch

from ..settings import Retention
from .interface import Bounds, EncodedEvent, StoredEvent, Trimmed

_GONE = StoredEvent(0, b"", b"", None)


class MemoryLog:
    """See `Log`. Reading costs what is read, appending is amortised constant time.

    Args:
        retention: how much is kept.
        clock: seconds from any fixed point, not going back; asked only where `retention` is by age.
    """

    def __init__(self, retention: Retention, clock: Callable[[], float]) -> None:
        self.epoch = new_epoch()
        self._retention = retention
        self._clock = clock
        self._events: list[StoredEvent] = []
        self._times: list[float] = []
        self._start = 0  # the first retained event's place in the lists; those before are let go
        self._last = 0
        self._size = 0
        self._ended = False
        self._watchers: dict[int, Callable[[], None]] = {}
        self._next_watcher = 0

    def append(self, events: Sequence[EncodedEvent]) -> int:
        """See `Log.append`."""
        if self._ended:
            raise ValueError("the log has ended; nothing can follow")
        if not events:
            return self._last
        kept = events[-self._retention.events :]
        if len(kept) < len(events):  # everything before these would be trimmed at once
            self._forget_all()
        offset = self._last + len(events) - len(kept)
        for event in kept:
            offset += 1
            self._events.append(StoredEvent(offset, event.json, event.packed, event.name))
            self._size += event.size
        self._last = offset
        if self._retention.seconds is not None:
            self._times += [self._clock()] * len(kept)
        self._trim()
        self._wake_all()
        return offset

    def read(self, after: int, limit: int) -> list[StoredEvent] | Trimmed:
        """See `Log.read`."""
        self._trim_old()
        first = self._first
        if after < first - 1:
            return Trimmed(first)
        begin = self._start + after - first + 1
        return self._events[begin : begin + limit]

    def bounds(self) -> Bounds:
        """See `Log.bounds`."""
        self._trim_old()
        return Bounds(self._first, self._last, self._size, self._ended)

    def finish(self) -> None:
        """See `Log.finish`."""
        self._ended = True
        self._wake_all()

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Log.watch`."""
        number = self._next_watcher
        self._next_watcher += 1
        self._watchers[number] = wake

        def unwatch() -> None:
            self._watchers.pop(number, None)

        return unwatch

    @property
    def _first(self) -> int:
        return self._last - (len(self._events) - self._start) + 1

    def _wake_all(self) -> None:
        for wake in list(self._watchers.values()):
            wake()

    def _trim(self) -> None:
        """Let go of what is over the bounds, but never of the newest event."""
        retained = len(self._events) - self._start
        while retained > self._retention.events or (
            self._size > self._retention.bytes and retained > 1
        ):
            self._drop_oldest()
            retained -= 1
        self._trim_old()

    def _trim_old(self) -> None:
        seconds = self._retention.seconds
        if seconds is None or self._start == len(self._events):
            return
        oldest = self._clock() - seconds
        while self._start < len(self._events) and self._times[self._start] < oldest:
            self._drop_oldest()

    def _forget_all(self) -> None:
        self._events.clear()
        self._times.clear()
        self._start = self._size = 0

    def _drop_oldest(self) -> None:
        event = self._events[self._start]
        self._events[self._start] = _GONE  # its bytes go now, its place when there are many
        self._size -= len(event.json) + len(event.packed)
        self._start += 1
        if self._start > 64 and self._start * 2 > len(self._events):
            del self._events[: self._start]
            del self._times[: self._start]
            self._start = 0
