"""Open session windows of all keys.

A session lasts from its first item to ``gap`` after its last, the end excluded; an item whose own
span of ``gap`` overlaps a session's joins it, and two that an item brings together become one. So
the open sessions of a key never overlap.

An item behind the watermark is late, unless an open session covers its time: a session that ended
already might have been its own, and nothing is kept of those.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count, islice
from math import inf
from operator import attrgetter, length_hint
from typing import Any

from ..key_bounds import KeyBounds, Recency
from .aggregates import Aggregate
from .open_windows import Closed, Events, Failed, Late
from .window import Window

_AT_ONCE = 1024
_START = attrgetter("start")
_NUMBER = attrgetter("number")


class _Session:
    __slots__ = ("accumulator", "end", "is_open", "items", "key", "number", "start")

    def __init__(self, key: Any, start: float, end: float, accumulator: Any, number: int) -> None:
        self.key = key
        self.start = start
        self.end = end
        self.accumulator = accumulator
        self.number = number
        self.items = 1
        self.is_open = True


class SessionWindows:
    """See `OpenWindows`."""

    def __init__(
        self,
        gap: float,
        aggregate: Aggregate,
        lateness: float,
        bounds: KeyBounds,
        evicted: Callable[[int], None],
    ) -> None:
        self._gap = gap
        self._aggregate = aggregate
        self._lateness = lateness
        self._recency = Recency(bounds) if bounds.are_set else None
        self._evicted = evicted
        self._open: dict[Any, list[_Session]] = {}
        self._ends = _Ends()
        self._numbers = count()
        self.watermark = -inf
        self.complete = aggregate.finish

    @property
    def next_end(self) -> float | None:
        """See `OpenWindows.next_end`."""
        return self._ends.next

    @property
    def next_idle(self) -> float:
        """See `OpenWindows.next_idle`."""
        return inf if self._recency is None else self._recency.next_idle

    # Items

    def admit(self, keys: list[Any], times: list[float], items: list[Any], now: float) -> Events:
        """See `OpenWindows.admit`."""
        late: list[Any] = []
        waiting = iter(items)
        rows = zip(keys, times, waiting, strict=True)
        lateness, recency = self._lateness, self._recency
        while True:
            try:
                for key, time, item in rows:
                    if recency is not None and (key in self._open or time >= self.watermark):
                        if recency.is_full_for(key):
                            yield self._evict(recency, recency.oldest)
                        recency.touch(key, now)
                    if not self._add(key, time, item):
                        late.append(item)
                    if time - lateness > self.watermark:
                        self.watermark = time - lateness
                        if self._ends.first <= self.watermark:
                            yield from self._close_until(self.watermark)
                break
            except Exception as error:  # noqa: BLE001 - what becomes of it is not decided here
                at = len(items) - length_hint(waiting) - 1
                key, time, item = keys[at], times[at], items[at]
                yield Failed(item, error, partial(self._add, key, time, item))
                if recency is not None and key not in self._open:
                    recency.forget(key)
                yield from self.advance(time - lateness)
        if late:
            yield Late(late)

    def _add(self, key: Any, time: float, item: Any) -> bool:
        """Take an item into a session; False where it is late. Where it raises, nothing changed."""
        sessions = self._open.get(key)
        if sessions is None:
            return self._open_one(key, time, item, [], 0)
        place = bisect_right(sessions, time, key=_START) if len(sessions) > 1 else 1
        before = sessions[place - 1]
        if before.start <= time < before.end:
            self._extend(sessions, place, time, item)
            return True
        if time < before.start:
            place = 0
        return self._open_one(key, time, item, sessions, place)

    def _extend(self, sessions: list[_Session], place: int, time: float, item: Any) -> None:
        """Take an item into the session before ``place``, and that into the next, if it grows so
        far.
        """
        session = sessions[place - 1]
        end = time + self._gap
        aggregate = self._aggregate
        if place < len(sessions) and end > sessions[place].start:
            behind = sessions[place]
            own = aggregate.add(aggregate.zero(), item)
            joined = aggregate.merge(session.accumulator, own)
            accumulator = aggregate.merge(joined, behind.accumulator)
            older, other = sorted((session, behind), key=_NUMBER)
            older.start, older.end = session.start, behind.end
            older.accumulator = accumulator
            older.items += other.items + 1
            sessions[place - 1 : place + 1] = [older]
            self._ends.close(other)
        else:
            session.accumulator = aggregate.add(session.accumulator, item)
            session.items += 1
            if end > session.end:
                session.end = end

    def _open_one(
        self, key: Any, time: float, item: Any, sessions: list[_Session], place: int
    ) -> bool:
        """A new session before ``place``, or the one there begins earlier."""
        if time < self.watermark:
            return False
        aggregate = self._aggregate
        end = time + self._gap
        if place < len(sessions) and end > sessions[place].start:
            session = sessions[place]
            session.accumulator = aggregate.add(session.accumulator, item)
            session.start = time
            session.items += 1
        else:
            accumulator = aggregate.add(aggregate.zero(), item)
            session = _Session(key, time, end, accumulator, next(self._numbers))
            sessions.insert(place, session)
            self._open[key] = sessions
            self._ends.open(session)
        return True

    # Ends

    def advance(self, time: float) -> Events:
        """See `OpenWindows.advance`."""
        if time > self.watermark:
            self.watermark = time
            yield from self._close_until(time)

    def end(self) -> Events:
        """See `OpenWindows.end`."""
        yield from self._close_until(inf)

    def _close_until(self, time: float) -> Events:
        ended = self._ends.take_until(time)
        while sessions := list(islice(ended, _AT_ONCE)):
            for session in sessions:
                of_key = self._open[session.key]
                of_key.remove(session)
                if not of_key:
                    del self._open[session.key]
                    if self._recency is not None:
                        self._recency.forget(session.key)
            yield self._closed(sessions)

    def _closed(self, sessions: list[_Session]) -> Closed:
        count = sum(session.items for session in sessions)
        return Closed(
            [Window(each.key, each.start, each.end, each.accumulator) for each in sessions], count
        )

    # Bounds

    def let_go(self, now: float) -> Events:
        """See `OpenWindows.let_go`."""
        while self._recency is not None and self._recency.next_idle <= now:
            yield self._evict(self._recency, self._recency.oldest)

    def _evict(self, recency: Recency, key: Any) -> Closed:
        """Close the sessions of one key."""
        recency.forget(key)
        sessions = self._open.pop(key)
        for session in sessions:
            self._ends.close(session)
        self._evicted(1)
        return self._closed(sessions)


class _Ends:
    """The open sessions in the order in which they end.

    A session that has grown stays where it was until that time has come, so growing costs nothing;
    one that was closed otherwise stays, too, until such are more than the others.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Session]] = []
        self._closed = 0

    @property
    def first(self) -> float:
        """No session ends before this."""
        return self._heap[0][0] if self._heap else inf

    @property
    def next(self) -> float | None:
        """The end of the first session to end; None where none is open."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def open(self, session: _Session) -> None:
        """A session is new."""
        heappush(self._heap, (session.end, session.number, session))

    def close(self, session: _Session) -> None:
        """A session is over before its end."""
        session.is_open = False
        self._closed += 1
        if self._closed > 1000 and self._closed * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].is_open]
            heapify(self._heap)
            self._closed = 0

    def take_until(self, time: float) -> Iterator[_Session]:
        """The sessions that end until then, in order; no others are to be opened meanwhile."""
        while True:
            self._settle()
            if not self._heap or self._heap[0][0] > time:
                return
            session = heappop(self._heap)[2]
            session.is_open = False
            yield session

    def _settle(self) -> None:
        """Put the first session to end first."""
        heap = self._heap
        while heap:
            end, number, session = heap[0]
            if not session.is_open:
                heappop(heap)
                self._closed -= 1
            elif session.end > end:
                heapreplace(heap, (session.end, number, session))
            else:
                return
