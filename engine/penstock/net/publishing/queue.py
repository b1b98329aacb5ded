"""Publications that wait: bounded in number and bytes, kept in order, cut into batches. Pure.

A batch that was taken is no longer part of the queue: whoever took it sends it until it is
acknowledged, and puts back, in parts, what turned out to be too much at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec


class Publication(msgspec.Struct, frozen=True, gc=False):
    """One item to be published.

    Attributes:
        index: its number among all that were handed in, from 0.
        body: the item as MessagePack.
        event: the event's name, None where it has none.
        key: its own idempotency key, None where one is drawn for the batch.
    """

    index: int
    body: bytes
    event: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Publications that are sent in one request, under one idempotency key.

    All have the same event name, and one with a key of its own is alone.

    Attributes:
        key: the idempotency key.
        publications: at least one, in order.
    """

    key: str
    publications: Sequence[Publication]

    @property
    def body(self) -> bytes:
        """The request's body."""
        return b"".join(each.body for each in self.publications)

    @property
    def event(self) -> str | None:
        """The name of all its events."""
        return self.publications[0].event


class OfflineQueue:
    """Publications that wait to be sent.

    Args:
        most: the most publications.
        most_bytes: the most bytes of them together; a single one is always taken.

    Attributes:
        dropped: how many the oldest of which had to make room.
        size: bytes that wait.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.dropped = 0
        self.size = 0
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[Publication] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def oldest(self, otherwise: int) -> int:
        """The number of the oldest publication; `otherwise` where none waits."""
        return self._waiting[0].index if self._waiting else otherwise

    def has_room(self, size: int) -> bool:
        """Whether a publication of `size` bytes fits in beside those that wait."""
        waiting = len(self._waiting)
        return not waiting or (waiting < self._most and self.size + size <= self._most_bytes)

    def put(self, publication: Publication) -> None:
        """Add a publication at the end; the oldest are dropped, counted, to make room for it."""
        while not self.has_room(len(publication.body)):
            self.size -= len(self._waiting.popleft().body)
            self.dropped += 1
        self._waiting.append(publication)
        self.size += len(publication.body)

    def put_back(self, publications: Sequence[Publication]) -> None:
        """Put what was taken back to the front, in order, whatever the bounds say."""
        self._waiting.extendleft(reversed(publications))
        self.size += sum(len(each.body) for each in publications)

    def take(self, most: int, most_bytes: int) -> list[Publication]:
        """Take the oldest publications that may go together; empty where none waits.

        At most `most` of them, and `most_bytes` bytes but for the first, all of one event name.
        """
        waiting = self._waiting
        taken: list[Publication] = []
        size = 0
        while waiting and len(taken) < most:
            first, size = waiting[0], size + len(waiting[0].body)
            if taken and (size > most_bytes or first.key or first.event != taken[0].event):
                break
            taken.append(waiting.popleft())
            if first.key is not None:
                break
        self.size -= sum(len(each.body) for each in taken)
        return taken

    def clear(self) -> int:
        """Drop all that wait, not counted as `dropped`; how many they were."""
        abandoned = len(self._waiting)
        self._waiting.clear()
        self.size = 0
        return abandoned
