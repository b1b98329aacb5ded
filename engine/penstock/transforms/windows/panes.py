"""Open windows at fixed times, tumbling and sliding, of all keys.

Each pane of time that has items has a bucket: the state of each key. An item goes into its pane,
whatever the number of windows that this is part of. A tumbling window is a pane, so ending it is
taking one dict out of another; a sliding one is merged from its panes.

The watermark counts in panes here: those below ``_reached`` lie behind it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate, islice
from math import inf
from operator import length_hint
from typing import Any

from ..key_bounds import KeyBounds, Recency
from .aggregates import Aggregate, Bucket
from .grid import Grid
from .open_windows import Closed, Events, Failed, Late
from .window import Window

_AT_ONCE = 1024


class PaneWindows:
    """See `OpenWindows`."""

    def __init__(
        self,
        grid: Grid,
        aggregate: Aggregate,
        lateness: float,
        bounds: KeyBounds,
        evicted: Callable[[int], None],
    ) -> None:
        self._grid = grid
        self._aggregate = aggregate
        self._lateness = lateness
        self._keys = _KeysOfPanes(bounds) if bounds.are_set else None
        self._evicted = evicted
        self._buckets: dict[float, Bucket] = {}
        self._order: list[float] = []
        self._reached = -inf
        self.watermark = -inf
        self.complete = aggregate.finish if grid.span == 1 else aggregate.of_panes

    @property
    def next_end(self) -> float | None:
        """See `OpenWindows.next_end`."""
        return self._grid.times(self._next_window())[1] if self._order else None

    @property
    def next_idle(self) -> float:
        """See `OpenWindows.next_idle`."""
        return inf if self._keys is None else self._keys.recency.next_idle

    # Items

    def admit(self, keys: list[Any], times: list[float], items: list[Any], now: float) -> Events:
        """See `OpenWindows.admit`."""
        if not items:
            return
        if self._pane_reached(max(times)) <= self._reached:
            yield from self._admit_level(keys, times, items, now)
            return
        latest = list(accumulate(times, max))
        start = 0
        while start < len(items):
            end = bisect_right(latest, self._reached, lo=start, key=self._pane_reached)
            if end > start:
                piece = slice(start, end)
                yield from self._admit_level(keys[piece], times[piece], items[piece], now)
            if end < len(items):
                yield from self.advance(latest[end] - self._lateness)
            start = end

    def _pane_reached(self, time: float) -> float:
        """How far an item of that time takes the watermark."""
        return self._grid.pane(time - self._lateness)

    def _admit_level(
        self, keys: list[Any], times: list[float], items: list[Any], now: float
    ) -> Events:
        """Items that end no window."""
        first, last = self._grid.pane(min(times)), self._grid.pane(max(times))
        self.watermark = max(self.watermark, max(times) - self._lateness)
        if self._is_late(first):
            late = [item for item, time in zip(items, times, strict=True) if self._is_past(time)]
            yield Late(late)
            in_time = [
                row for row in zip(keys, times, items, strict=True) if not self._is_past(row[1])
            ]
            if in_time:
                keys, times, items = map(list, zip(*in_time, strict=True))
                yield from self._place(keys, self._grid.panes(times), items, now)
        elif first == last:
            yield from self._place(keys, first, items, now)
        else:
            yield from self._place(keys, self._grid.panes(times), items, now)

    def _is_past(self, time: float) -> bool:
        return self._is_late(self._grid.pane(time))

    def _is_late(self, pane: float) -> bool:
        """Whether the pane's last window has ended."""
        return self._grid.end_pane(self._grid.last_window(pane)) <= self._reached

    def _place(
        self, keys: list[Any], panes: float | list[float], items: list[Any], now: float
    ) -> Events:
        """Put items into their panes; into the one where all have the same."""
        if self._keys is None:
            yield from self._add_to(panes, keys, items)
        elif not self._keys.recency.is_full_for_any(keys):
            self._keys.recency.touch_all(keys, now)
            yield from self._add_to(panes, keys, items)
        else:
            of: list[float] = panes if isinstance(panes, list) else [panes] * len(items)
            yield from self._place_singly(self._keys, keys, of, items, now)

    def _place_singly(
        self, of: _KeysOfPanes, keys: list[Any], panes: list[float], items: list[Any], now: float
    ) -> Events:
        """Put items into their panes; keys must go to make room for those of others."""
        evicted: list[Window[Any, Any]] = []
        count = 0
        for key, pane, item in zip(keys, panes, items, strict=True):
            if of.recency.is_full_for(key):
                closed = self._evict(of, of.recency.oldest)
                evicted += closed.windows
                count += closed.items
            of.recency.touch(key, now)
            yield from self._add(pane, [key], [item])
        yield Closed(evicted, count)

    def _add_to(self, panes: float | list[float], keys: list[Any], items: list[Any]) -> Events:
        if not isinstance(panes, list):
            yield from self._add(panes, keys, items)
            return
        groups: dict[float, tuple[list[Any], list[Any]]] = {}
        for pane, key, item in zip(panes, keys, items, strict=True):
            group = groups.get(pane)
            if group is None:
                groups[pane] = ([key], [item])
            else:
                group[0].append(key)
                group[1].append(item)
        for pane, (of, some) in groups.items():
            yield from self._add(pane, of, some)

    def _add(self, pane: float, keys: list[Any], items: list[Any]) -> Events:
        bucket = self._buckets.get(pane)
        if bucket is None:
            bucket = self._buckets[pane] = self._aggregate.new_bucket()
            insort(self._order, pane)
        before = len(bucket)
        failed: list[Any] = []
        waiting_keys, waiting = iter(keys), iter(items)
        while True:
            try:
                self._aggregate.add_all(bucket, waiting_keys, waiting)
                break
            except Exception as error:  # noqa: BLE001 - what becomes of it is not decided here
                at = len(items) - length_hint(waiting) - 1
                failed.append(keys[at])
                again = partial(self._add_again, bucket, keys[at], items[at])
                yield Failed(items[at], error, again)
        if self._keys is not None:
            self._keys.opened(islice(reversed(bucket), len(bucket) - before), failed)
        if not bucket:
            self._drop(pane)

    def _add_again(self, bucket: Bucket, key: Any, item: Any) -> None:
        self._aggregate.add_all(bucket, iter((key,)), iter((item,)))

    def _drop(self, pane: float) -> Bucket:
        del self._order[bisect_left(self._order, pane)]
        return self._buckets.pop(pane)

    # Ends

    def advance(self, time: float) -> Events:
        """See `OpenWindows.advance`."""
        if time > self.watermark:
            self.watermark = time
            yield from self._close_until(self._grid.pane(time))

    def end(self) -> Events:
        """See `OpenWindows.end`."""
        yield from self._close_until(inf)

    def _close_until(self, reached: float) -> Events:
        while self._order:
            window = self._next_window()
            end = self._grid.end_pane(window)
            if end > reached:
                break
            self._reached = end
            yield from self._close(window)
        self._reached = max(self._reached, reached)

    def _next_window(self) -> float:
        """The next window to end, of those that have items; only where there is one."""
        return self._first_open_window(self._order[0])

    def _first_open_window(self, pane: float) -> float:
        """The first window that the pane is part of and that has not ended."""
        first = self._grid.first_window(pane)
        return (
            first if self._reached == -inf else max(first, self._grid.first_window(self._reached))
        )

    def _close(self, window: float) -> Events:
        start, end = self._grid.times(window)
        if self._grid.span == 1:
            for part, count in self._release(window):
                yield Closed(self._aggregate.windows(part, start, end), count)
            return
        yield from self._merge(window, start, end)
        # The next window begins a stride later: what lies before that is done with.
        while self._order and self._order[0] < (window + 1) * self._grid.stride:
            for _, count in self._release(self._order[0]):
                yield Closed([], count)

    def _release(self, pane: float) -> Iterator[tuple[list[tuple[Any, Any]], int]]:
        """Let go of a pane that is part of no open window: some keys and entries at a time, and
        the number of their items.
        """
        entries = iter(self._drop(pane).items())
        while part := list(islice(entries, _AT_ONCE)):
            count = self._aggregate.size(entry for _, entry in part)
            if self._keys is not None:
                self._keys.closed(part)
            yield part, count

    def _merge(self, window: float, start: float, end: float) -> Events:
        """A sliding window, with what is gathered from its panes for values."""
        first = bisect_left(self._order, window * self._grid.stride)
        last = bisect_left(self._order, self._grid.end_pane(window))
        gathered: dict[Any, Any] = {}
        for pane in self._order[first:last]:
            entries = iter(self._buckets[pane].items())
            while part := list(islice(entries, _AT_ONCE)):
                self._aggregate.gather(part, gathered)
                yield Closed([], 0)  # a moment to look at the clock
        left = iter(gathered.items())
        while part := list(islice(left, _AT_ONCE)):
            yield Closed([Window(key, start, end, value) for key, value in part], 0)

    # Bounds

    def let_go(self, now: float) -> Events:
        """See `OpenWindows.let_go`."""
        while self._keys is not None and self._keys.recency.next_idle <= now:
            yield self._evict(self._keys, self._keys.recency.oldest)

    def _evict(self, keys: _KeysOfPanes, key: Any) -> Closed:
        """Close the windows of one key."""
        keys.forget(key)
        entries: dict[float, Any] = {}
        for pane in [pane for pane in self._order if key in self._buckets[pane]]:
            entries[pane] = self._buckets[pane].pop(key)
            if not self._buckets[pane]:
                self._drop(pane)
        count = self._aggregate.size(entries.values())
        self._evicted(1)
        return Closed(list(self._windows_of(key, entries)), count)

    def _windows_of(self, key: Any, entries: dict[float, Any]) -> Iterator[Window[Any, Any]]:
        """The open windows that the panes of one key are part of."""
        grid = self._grid
        if grid.span == 1:
            for pane, entry in entries.items():
                yield from self._aggregate.windows([(key, entry)], *grid.times(pane))
            return
        window = self._first_open_window(min(entries))
        while window <= grid.last_window(max(entries)):
            gathered: dict[Any, Any] = {}
            for pane, entry in entries.items():
                if window * grid.stride <= pane < grid.end_pane(window):
                    self._aggregate.gather([(key, entry)], gathered)
            if gathered:
                yield Window(key, *grid.times(window), gathered[key])
            window += 1


class _KeysOfPanes:
    """In how many panes each key has state, and which was touched longest ago."""

    def __init__(self, bounds: KeyBounds) -> None:
        self.recency = Recency(bounds)
        self._panes: dict[Any, int] = {}

    def opened(self, keys: Iterable[Any], failed: list[Any]) -> None:
        """Keys that have state in one more pane; some that were touched may have none at all."""
        panes = self._panes
        for key in keys:
            panes[key] = panes.get(key, 0) + 1
        for key in failed:
            if key not in panes:
                self.recency.forget(key)

    def closed(self, entries: list[tuple[Any, Any]]) -> None:
        """Keys, with their entries, that have state in one pane less."""
        panes = self._panes
        for key, _ in entries:
            left = panes[key] - 1
            if left:
                panes[key] = left
            else:
                del panes[key]
                self.recency.forget(key)

    def forget(self, key: Any) -> None:
        """A key has no state in any pane."""
        self._panes.pop(key)
        self.recency.forget(key)
