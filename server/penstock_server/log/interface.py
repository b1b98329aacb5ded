"""What every log offers, wherever it keeps its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event on its way into a log: its data in both codecs, and its name where it has one."""

    json: bytes
    packed: bytes
    name: str | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes in a log."""
        return len(self.json) + len(self.packed)


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event in a log. `offset` is 1 for the first event of a log, then one more each."""

    offset: int
    json: bytes
    packed: bytes
    name: str | None


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What a log holds right now.

    `first` is the offset of the oldest retained event and `last` that of the newest; an empty log
    has ``first == last + 1``. `size` is in bytes. `ended` says that nothing will follow.
    """

    first: int
    last: int
    size: int
    ended: bool


class Trimmed(msgspec.Struct, frozen=True, gc=False):
    """What `Log.read` gives where the next event is no longer there: `first` is the oldest."""

    first: int


class Log(Protocol):
    """An append-only log with offsets without holes."""

    @property
    def epoch(self) -> str:
        """The random id of this log; a log that lost its past has a new one."""
        ...

    def append(self, events: Sequence[EncodedEvent]) -> int:
        """Store events, all of them; gives the last one's offset. Wakes the watchers.

        Raises ``ValueError`` on a log that has ended.
        """
        ...

    def read(self, after: int, limit: int) -> list[StoredEvent] | Trimmed:
        """Up to `limit` events with offsets above `after`, oldest first; an empty list for none."""
        ...

    def bounds(self) -> Bounds:
        """Which offsets there are."""
        ...

    def finish(self) -> None:
        """Nothing will follow. Wakes the watchers."""
        ...

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` after each `append`, and at the end; gives the function that stops it.

        Watch first, then read, then wait: what comes in between is not lost. `wake` must not block.
        """
        ...
