"""A log in memory: a list with a moving start, bounded by events, bytes and age."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.wire import new_epoch

from ..settings import Retention
from .interface import Bounds, EncodedEvent, StoredEvent, Trimmed
from .newest import NewestByKey

_GONE = StoredEvent(0, b"", b"", None)


class MemoryLog:
    """See `Log`. Reading costs what is read, appending is amortised constant time.

    Args:
        retention: how much is kept.
        clock: seconds from any fixed point, not going back; asked only where `retention` is by age.
        keyed: whether events have keys, whose newest events are kept for conflating readers.
    """

    def __init__(
        self, retention: Retention, clock: Callable[[], float], *, keyed: bool = False
    ) -> None:
        self.epoch = new_epoch()
        self._retention = retention
        self._clock = clock
        self._events: list[StoredEvent] = []
        self._times: list[float] = []
        self._start = 0  # the first retained event's place in the lists; those before are let go
        self._last = 0
        self._size = 0
        self._ended = False
        self._newest = NewestByKey(retention) if keyed else None
        self._watchers: dict[int, Callable[[], None]] = {}
        self._next_watcher = 0

    def append(self, events: Sequence[EncodedEvent]) -> int:
        """See `Log.append`."""
        if self._ended:
            raise ValueError("the log has ended; nothing can follow")
        if not events:
            return self._last
        kept = events[-self._retention.events :]
        offset = self._last
        if self._newest is not None:
            kept = events  # even one that is trimmed at once may be the newest of its key
        elif len(kept) < len(events):  # everything before these would be trimmed at once
            self._forget_all()
            offset += len(events) - len(kept)
        for event in kept:
            offset += 1
            stored = StoredEvent(offset, event.json, event.packed, event.name, event.key)
            self._events.append(stored)
            self._size += event.size
            if self._newest is not None:
                self._newest.appended(stored)
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

    def newest(self, after: int, limit: int) -> list[StoredEvent] | Trimmed:
        """See `Log.newest`."""
        self._trim_old()
        if self._newest is None:
            retained = len(self._events) > self._start
            return self._events[-1:] if after < self._last and retained else []
        return self._newest.read(after, limit)

    def first_after(self, events: Sequence[EncodedEvent]) -> int:
        """See `Log.first_after`. Age is left out: that lets events go in any case."""
        room = self._retention.events - len(events)
        size = self._retention.bytes - sum(event.size for event in events)
        first = max(self._first, self._last - room + 1)
        held = self._size - sum(
            event.size for event in self._events[self._start : self._start + first - self._first]
        )
        while held > size and first <= self._last:
            held -= self._events[self._start + first - self._first].size
            first += 1
        if room < 0 or size < 0:
            first = self._last + 2
        return first

    def bounds(self) -> Bounds:
        """See `Log.bounds`."""
        self._trim_old()
        return Bounds(self._first, self._last, self._size, self._ended)

    def finish(self) -> None:
        """See `Log.finish`."""
        self._ended = True
        self._wake_all()

    def retain(self, retention: Retention) -> None:
        """See `Log.retain`. The age of what is there counts from now where none was kept before."""
        if retention.seconds is None:
            self._times.clear()
        elif self._retention.seconds is None:
            self._times = [self._clock()] * len(self._events)
        self._retention = retention
        if self._newest is not None:
            self._newest.retain(retention)
        self._trim()

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
        if self._newest is not None:
            for event in self._events[self._start :]:
                self._newest.trimmed(event)
        self._events.clear()
        self._times.clear()
        self._start = self._size = 0

    def _drop_oldest(self) -> None:
        event = self._events[self._start]
        if self._newest is not None:
            self._newest.trimmed(event)
        self._events[self._start] = _GONE  # its bytes go now, its place when there are many
        self._size -= event.size
        self._start += 1
        if self._start > 64 and self._start * 2 > len(self._events):
            del self._events[: self._start]
            del self._times[: self._start]
            self._start = 0
