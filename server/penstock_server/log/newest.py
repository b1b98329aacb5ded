"""The newest event of each key, for readers that conflate.

A conflating reader wants the newest value of every key, not history. The newest event of a key that
changes seldom is often older than what a log retains, so it is kept here beyond that, within bounds
of its own: as many events and bytes again as the log's. What even those bounds push out is noted,
so that a reader which should have had it is told.
"""

from __future__ import annotations

from ..settings import Retention
from .interface import StoredEvent, Trimmed


class NewestByKey:
    """The newest events by key, oldest first; the log tells of each append and each trim."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._by_key: dict[str | None, StoredEvent] = {}
        self._outlived: dict[str | None, StoredEvent] = {}  # those that the log has let go of
        self._size = 0
        self._lost = 0

    def retain(self, retention: Retention) -> None:
        """Have room for more, or less; what is over that goes when the log next lets go of one."""
        self._retention = retention

    def appended(self, event: StoredEvent) -> None:
        """An event has come, which is the newest of its key now."""
        self._by_key.pop(event.key, None)
        self._by_key[event.key] = event  # a dictionary keeps the order in which keys were put in
        older = self._outlived.pop(event.key, None)
        if older is not None:
            self._size -= older.size

    def trimmed(self, event: StoredEvent) -> None:
        """The log has let go of an event; it is kept here where it is the newest of its key."""
        if self._by_key.get(event.key) is not event:
            return
        self._outlived[event.key] = event
        self._size += event.size
        while len(self._outlived) > self._retention.events or self._size > self._retention.bytes:
            oldest = self._outlived.pop(next(iter(self._outlived)))
            del self._by_key[oldest.key]
            self._size -= oldest.size
            self._lost = oldest.offset

    def read(self, after: int, limit: int) -> list[StoredEvent] | Trimmed:
        """See `Log.newest`. Costs what is read, from the newest backwards."""
        if after < self._lost:
            return Trimmed(self._lost + 1)
        found: list[StoredEvent] = []
        for event in reversed(self._by_key.values()):
            if event.offset <= after:
                break
            found.append(event)
        found.reverse()
        return found[:limit]
