"""The events of one log in one framing, framed once and joined once for equal ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from penstock.wire import Gap, ServerMessage, cursor_text

from ..log import Log, StoredEvent, Trimmed
from .piece import Piece

K = TypeVar("K")
V = TypeVar("V")

PIECE_EVENTS = 1000
PIECE_BYTES = 256 * 1024
_KEPT_PIECES = 16
_KEPT_BYTES = 4 * PIECE_BYTES


class Framing(Protocol):
    """How a transport says events and messages. Pure; one value for all connections."""

    @property
    def transport(self) -> str:
        """Which transport's it is."""
        ...

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002
        """One event, with the cursor that names it."""
        ...

    def message(self, message: ServerMessage) -> bytes:
        """Any other message."""
        ...

    def join(self, framed: Sequence[bytes]) -> bytes:
        """Several of them as one write."""
        ...


class _Latest(Generic[K, V]):
    """The values put in last, bounded in number and bytes; the newest is always there."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._values: dict[K, tuple[V, int]] = {}

    def get(self, key: K) -> V | None:
        kept = self._values.get(key)
        return None if kept is None else kept[0]

    def clear(self) -> None:
        """Let go of all of them."""
        self._values.clear()
        self._size = 0

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of `size` bytes, in place of another under that key."""
        replaced = self._values.pop(key, None)
        if replaced is not None:
            self._size -= replaced[1]
        self._values[key] = value, size
        self._size += size
        while len(self._values) > self._most or (
            self._size > _KEPT_BYTES and len(self._values) > 1
        ):
            _, oldest_size = self._values.pop(next(iter(self._values)))
            self._size -= oldest_size


class Feed:
    """The events of one log in one framing.

    What is kept is bounded: the latest frames, as many as a piece could hold, and pieces.

    Args:
        topic: its name, as the messages say it.
        log: where the events are.
        framing: how they are said.
        batch: the most events in one piece.
        conflate: give only the newest event of each key, of all that a reader has not had.

    Attributes:
        readers: how many there are; `Delivery` counts them, and lets go of a feed without any.
    """

    def __init__(
        self,
        topic: str,
        log: Log,
        framing: Framing,
        *,
        batch: int = PIECE_EVENTS,
        conflate: bool = False,
    ) -> None:
        self.topic = topic
        self.log = log
        self.framing = framing
        self.conflate = conflate
        self.readers = 0
        self._batch = min(batch, PIECE_EVENTS)
        self._frames = _Latest[int, bytes](PIECE_EVENTS)
        self._pieces = _Latest[int, Piece](_KEPT_PIECES)

    def piece(self, after: int) -> Piece | Trimmed | None:
        """What follows `after`, as much as one write should hold; None where nothing does yet."""
        last = self.log.bounds().last
        if after >= last:
            return None
        piece = self._pieces.get(after)
        if piece is not None and (piece.upto == last or piece.full):
            return piece
        read = self.log.newest if self.conflate else self.log.read
        events = read(after, self._batch)
        if isinstance(events, Trimmed):
            return events
        if not events:  # trimmed away by its age, to the last one
            return Trimmed(last + 1)
        piece = self._frame(after, events)
        self._pieces.put(after, piece, len(piece.joined))
        return piece

    def forget(self) -> None:
        """Let go of what is kept. Who has read it may wait long for the garbage collection."""
        self._frames.clear()
        self._pieces.clear()

    def said(self, message: ServerMessage, upto: int) -> Piece:
        """A message as a piece."""
        frame = self.framing.message(message)
        gap = message if isinstance(message, Gap) else None
        return Piece((frame,), self.framing.join((frame,)), upto, gap=gap)

    def _frame(self, after: int, events: list[StoredEvent]) -> Piece:
        framed: list[bytes] = []
        size = 0
        upto = after
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
        full = not self.conflate and (len(framed) < len(events) or len(events) == self._batch)
        return Piece(
            tuple(framed),
            self.framing.join(framed),
            upto,
            events=len(framed),
            replaced=upto - after - len(framed),
            full=full,
        )
