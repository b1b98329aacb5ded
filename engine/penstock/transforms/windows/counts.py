"""Open windows of so many items, of all keys: no time ends them, only an item or the last one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from operator import length_hint
from typing import Any

from ..key_bounds import KeyBounds, Recency
from .aggregates import Aggregate
from .open_windows import Closed, Events, Failed
from .window import Window

_AT_ONCE = 1024


class _Open:
    __slots__ = ("accumulator", "end", "items", "key", "start")

    def __init__(self, key: Any, time: float, accumulator: Any) -> None:
        self.key = key
        self.start = time
        self.end = time
        self.accumulator = accumulator
        self.items = 1


class CountWindows:
    """See `OpenWindows`."""

    def __init__(
        self,
        n: int,
        aggregate: Aggregate,
        bounds: KeyBounds,
        evicted: Callable[[int], None],
    ) -> None:
        self._n = n
        self._aggregate = aggregate
        self._recency = Recency(bounds) if bounds.are_set else None
        self._evicted = evicted
        self._open: dict[Any, _Open] = {}
        self._full: list[_Open] = []
        self.watermark = -inf
        self.complete = aggregate.finish

    @property
    def next_end(self) -> float | None:
        """See `OpenWindows.next_end`."""
        return None

    @property
    def next_idle(self) -> float:
        """See `OpenWindows.next_idle`."""
        return inf if self._recency is None else self._recency.next_idle

    def admit(self, keys: list[Any], times: list[float], items: list[Any], now: float) -> Events:
        """See `OpenWindows.admit`."""
        waiting = iter(items)
        rows = zip(keys, times, waiting, strict=True)
        while True:
            try:
                for key, time, item in rows:
                    if self._recency is not None:
                        yield from self._touch(self._recency, key, now)
                    self._add(key, time, item)
                break
            except Exception as error:  # noqa: BLE001 - what becomes of it is not decided here
                at = len(items) - length_hint(waiting) - 1
                yield Failed(items[at], error, partial(self._add, keys[at], times[at], items[at]))
                if self._recency is not None and keys[at] not in self._open:
                    self._recency.forget(keys[at])
        yield from self._take_full()

    def _touch(self, recency: Recency, key: Any, now: float) -> Events:
        if recency.is_full_for(key):
            yield from self._take_full()
            yield self._evict(recency, recency.oldest)
        recency.touch(key, now)

    def _add(self, key: Any, time: float, item: Any) -> None:
        aggregate = self._aggregate
        window = self._open.get(key)
        if window is None:
            window = _Open(key, time, aggregate.add(aggregate.zero(), item))
            self._open[key] = window
        else:
            window.accumulator = aggregate.add(window.accumulator, item)
            window.items += 1
            if time < window.start:
                window.start = time
            elif time > window.end:
                window.end = time
        if window.items == self._n:
            self._full.append(self._open.pop(key))
            if self._recency is not None:
                self._recency.forget(key)

    def advance(self, time: float) -> Events:
        """See `OpenWindows.advance`."""
        return iter(())

    def let_go(self, now: float) -> Events:
        """See `OpenWindows.let_go`."""
        while self._recency is not None and self._recency.next_idle <= now:
            yield self._evict(self._recency, self._recency.oldest)

    def end(self) -> Events:
        """See `OpenWindows.end`."""
        left = list(self._open.values())
        self._open.clear()
        for start in range(0, len(left), _AT_ONCE):
            yield self._closed(left[start : start + _AT_ONCE])

    def _take_full(self) -> Events:
        if self._full:
            full, self._full = self._full, []
            yield self._closed(full)

    def _evict(self, recency: Recency, key: Any) -> Closed:
        recency.forget(key)
        self._evicted(1)
        return self._closed([self._open.pop(key)])

    def _closed(self, windows: list[_Open]) -> Closed:
        items = sum(window.items for window in windows)
        return Closed(
            [Window(each.key, each.start, each.end, each.accumulator) for each in windows], items
        )
