"""What every log offers, wherever it keeps its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from ..settings import Retention


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event on its way into a log: its data in both codecs, its name where it has one, and the
    key that it is a newer value of, where the topic has keys.
    """

    json: bytes
    packed: bytes
    name: str | None = None
    key: str | None = None

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
    key: str | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes in a log."""
        return len(self.json) + len(self.packed)


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

    def newest(self, after: int, limit: int) -> list[StoredEvent] | Trimmed:
        """The newest event of each key with an offset above `after`, up to `limit`, oldest first.

        Events without a key are one key's. The newest event of a key outlives the retention while
        there is room for it; `Trimmed` says that one which `after` has not seen is gone.
        """
        ...

    def first_after(self, events: Sequence[EncodedEvent]) -> int:
        """The oldest offset that would be retained after these were appended.

        Past the offset of the first of them, they would not even retain themselves.
        """
        ...

    def bounds(self) -> Bounds:
        """Which offsets there are."""
        ...

    def finish(self) -> None:
        """Nothing will follow. Wakes the watchers."""
        ...

    def retain(self, retention: Retention) -> None:
        """Keep more, or less, from now on; what is over that is let go at once."""
        ...

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` after each `append`, and at the end; gives the function that stops it.

        Watch first, then read, then wait: what comes in between is not lost. `wake` must not block.
        """
        ...
