"""What a full buffer does: one small class a policy, all with the same four methods. No waiting.

``put(items)`` stores what the policy allows and returns the items that must wait (empty where none
must). ``take()`` gives everything, oldest first, and empties the buffer. ``len()`` is never above
``capacity``. ``dropped`` counts items that were thrown away. Lists are given away on both sides.
"""

from __future__ import annotations

from typing import Any, Protocol

from ._errors import BufferOverflow
from ._spec import Chunk, Inlet


class Buffer(Protocol):
    """The bounded store of a channel."""

    capacity: int
    dropped: int

    def __len__(self) -> int: ...

    def put(self, items: Chunk) -> Chunk:
        """Store what fits; return what must wait."""
        ...

    def take(self) -> Chunk:
        """Give everything, oldest first."""
        ...


class BlockingBuffer:
    """Whatever doesn't fit waits, whole: only a list of more than ``capacity`` items is split.

    Filling the last gap with a part of a list would cost a switch of tasks for a few items.
    """

    __slots__ = ("_items", "capacity", "dropped")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._items: Chunk = []

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Chunk) -> Chunk:
        held = self._items
        if len(held) + len(items) <= self.capacity:
            if held:
                held += items
            else:
                self._items = items
            return []
        if held:
            return items
        self._items = items[: self.capacity]
        return items[self.capacity :]

    def take(self) -> Chunk:
        items, self._items = self._items, []
        return items


class DropOldestBuffer(BlockingBuffer):
    """A new item pushes out the oldest one."""

    __slots__ = ()

    def put(self, items: Chunk) -> Chunk:
        held = self._items
        held += items
        excess = len(held) - self.capacity
        if excess > 0:
            del held[:excess]
            self.dropped += excess
        return []


class DropNewestBuffer(BlockingBuffer):
    """What doesn't fit is thrown away."""

    __slots__ = ()

    def put(self, items: Chunk) -> Chunk:
        held = self._items
        room = self.capacity - len(held)
        held += items[:room]
        self.dropped += max(0, len(items) - room)
        return []


class FailingBuffer(BlockingBuffer):
    """What doesn't fit is an error: ``BufferOverflow``."""

    __slots__ = ()

    def put(self, items: Chunk) -> Chunk:
        if len(self._items) + len(items) > self.capacity:
            raise BufferOverflow(self.capacity)
        self._items += items
        return []


class ConflatingBuffer:
    """Only the newest item per key, in the order in which the keys came.

    A newer item takes the place of the one it replaces, so that a busy key can't starve a quiet
    one. Items of more than ``capacity`` different keys wait: no key loses its last item. They come
    with their keys where they are ``keyed``; else all have the same.
    """

    __slots__ = ("_items", "_keyed", "capacity", "dropped")

    def __init__(self, capacity: int, *, keyed: bool) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._keyed = keyed
        self._items: dict[object, Any] = {}

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Chunk) -> Chunk:
        held = self._items
        for position, item in enumerate(items):
            key, value = item if self._keyed else (None, item)
            if key in held:
                self.dropped += 1
            elif len(held) >= self.capacity:
                return items[position:]
            held[key] = value
        return []

    def take(self) -> Chunk:
        items = list(self._items.values())
        self._items = {}
        return items


def make_buffer(inlet: Inlet) -> Buffer:
    """The buffer for an inlet's policy."""
    match inlet.overflow:
        case "block":
            return BlockingBuffer(inlet.capacity)
        case "drop_oldest":
            return DropOldestBuffer(inlet.capacity)
        case "drop_newest":
            return DropNewestBuffer(inlet.capacity)
        case "conflate":
            return ConflatingBuffer(inlet.capacity, keyed=inlet.keyed)
        case "fail":
            return FailingBuffer(inlet.capacity)
