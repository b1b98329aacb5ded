"""One log to many connections: each event is framed once, the same bytes go to all of them.

A `Reader` is a cursor: a connection that falls behind costs no memory, it reads on from where it
is. A `Feed` is what the readers of one topic in one framing share. The `Waker` is the one task that
wakes readers, once for all that was appended since, however many appends it were; a lane that
writes to sockets itself would do so there, and wake only those whose socket would block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from penstock.wire import End, ServerMessage, cursor_text

from .log import Log, Start, StoredEvent, Trimmed, gap_to_oldest
from .wake import Wake

K = TypeVar("K")
V = TypeVar("V")

PIECE_EVENTS = 1000
PIECE_BYTES = 256 * 1024
_KEPT_PIECES = 16
_KEPT_BYTES = 4 * PIECE_BYTES


class Framing(Protocol):
    """How a transport says events and messages. Pure; one value for all connections."""

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002
        """One event, with the cursor that names it."""
        ...

    def message(self, message: ServerMessage) -> bytes:
        """Any other message."""
        ...

    def join(self, framed: Sequence[bytes]) -> bytes:
        """Several of them as one write."""
        ...


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The framed events after one offset, up to `upto`."""

    framed: tuple[bytes, ...]
    joined: bytes
    upto: int


class _Latest(Generic[K, V]):
    """The values put in last, bounded in number and bytes; the newest is always there."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._values: dict[K, tuple[V, int]] = {}

    def get(self, key: K) -> V | None:
        kept = self._values.get(key)
        return None if kept is None else kept[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of `size` bytes under a key that is not there yet."""
        self._values[key] = value, size
        self._size += size
        while len(self._values) > self._most or (
            self._size > _KEPT_BYTES and len(self._values) > 1
        ):
            _, oldest_size = self._values.pop(next(iter(self._values)))
            self._size -= oldest_size


class Feed:
    """The events of one log in one framing, framed once and joined once for equal ranges.

    What is kept is bounded: the latest frames, as many as a piece could hold, and pieces.
    """

    def __init__(self, topic: str, log: Log, framing: Framing) -> None:
        self.topic = topic
        self.log = log
        self.framing = framing
        self._frames = _Latest[int, bytes](PIECE_EVENTS)
        self._pieces = _Latest[tuple[int, int], Piece](_KEPT_PIECES)

    def piece(self, after: int) -> Piece | Trimmed | None:
        """What follows `after`, as much as one write should hold; None where nothing does yet."""
        last = self.log.bounds().last
        if after >= last:
            return None
        key = (after, last)
        piece = self._pieces.get(key)
        if piece is not None:
            return piece
        events = self.log.read(after, PIECE_EVENTS)
        if isinstance(events, Trimmed):
            return events
        piece = self._frame(events)
        self._pieces.put(key, piece, len(piece.joined))
        return piece

    def _frame(self, events: list[StoredEvent]) -> Piece:
        framed: list[bytes] = []
        size = 0
        upto = events[0].offset
        for event in events:
            frame = self._frames.get(event.offset)
            if frame is None:
                frame = self.framing.event(
                    self.topic, cursor_text(self.log.epoch, event.offset), event
                )
                self._frames.put(event.offset, frame, len(frame))
            size += len(frame)
            if framed and size > PIECE_BYTES:
                break
            framed.append(frame)
            upto = event.offset
        return Piece(tuple(framed), self.framing.join(framed), upto)


class Reader:
    """One connection's position in one log."""

    __slots__ = ("_gap", "end_told", "feed", "position")

    def __init__(self, feed: Feed, start: Start) -> None:
        self.feed = feed
        self.position = start.after
        self._gap = start.gap
        self.end_told = False

    @property
    def cursor(self) -> str:
        """The position as a client knows it."""
        return cursor_text(self.feed.log.epoch, self.position)

    @property
    def lag(self) -> int:
        """How many events it is behind."""
        return max(0, self.feed.log.bounds().last - self.position)

    def next(self) -> Piece | None:
        """What the connection should be sent now; None where it is up to date.

        Moves the position: what is given counts as read. A gap and the end come as pieces, too;
        after the end, `end_told` is true.
        """
        if self._gap is not None:
            gap, self._gap = self._gap, None
            return self._said(self.feed.framing.message(gap))
        piece = self.feed.piece(self.position)
        if isinstance(piece, Trimmed):
            log = self.feed.log
            start = gap_to_oldest(self.position, self.feed.topic, log.epoch, log.bounds())
            self.position = start.after
            assert start.gap is not None
            return self._said(self.feed.framing.message(start.gap))
        if piece is not None:
            self.position = piece.upto
            return piece
        if self.feed.log.bounds().ended and not self.end_told:
            self.end_told = True
            return self._said(self.feed.framing.message(End(self.feed.topic, self.cursor)))
        return None

    def _said(self, frame: bytes) -> Piece:
        return Piece((frame,), self.feed.framing.join((frame,)), self.position)


class Waker:
    """Wakes the readers of logs that were appended to, all due events in one wake."""

    def __init__(self) -> None:
        self._wake = Wake()
        self._due: dict[int, Readers] = {}

    def due(self, readers: Readers) -> None:
        """Let these readers be woken soon; cheap to call for every append."""
        self._due[id(readers)] = readers
        self._wake.set()

    async def run(self) -> None:
        """Wake readers until cancelled."""
        while True:
            await self._wake.wait()
            due, self._due = self._due, {}
            for readers in due.values():
                readers.wake_all()


class Readers:
    """The wake-ups of all connections that read one log."""

    def __init__(self) -> None:
        self._wakes: dict[int, Callable[[], None]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._wakes)

    def add(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` when there is something to read; gives the function that stops it."""
        number = self._next
        self._next += 1
        self._wakes[number] = wake

        def remove() -> None:
            self._wakes.pop(number, None)

        return remove

    def wake_all(self) -> None:
        """Wake every one of them."""
        for wake in list(self._wakes.values()):
            wake()
