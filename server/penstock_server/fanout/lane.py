"""Connections at the same position of one feed, written to without waking a task.

The rules that it lives by:

- Whoever rides is up to date as far as the lane is, and owes its socket nothing: the lane's bytes
  are the next ones of each of its connections, in full.
- A socket that doesn't take all of a write leaves the lane with the rest, which its own task sends
  before anything else. So nobody waits for it, and nothing is queued for it.
- A step writes one piece to all; between two steps other tasks have their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..compression import Checksum
from ..log import Trimmed
from .feed import Feed
from .piece import Form, Piece
from .reader import Reader

LANE_READERS = 1000
"""Readers of one lane: the most that are written to before other tasks have their turn."""


class Sink(Protocol):
    """A connection that can be written to straight away."""

    @property
    def send(self) -> Callable[[bytes], int]:
        """Write without waiting: how many bytes were taken.

        Raises ``BlockingIOError`` for none, and another ``OSError`` where the connection is broken.
        """
        ...

    def owe(self, rest: bytes) -> None:
        """Take note of what the connection must get before anything else, and leave all lanes."""
        ...

    def boarded(self, lane: Lane) -> None:
        """A lane writes to it from now on."""
        ...

    def alighted(self, lane: Lane) -> None:
        """The lane doesn't any more."""
        ...


class Lane:
    """Readers of one feed at one position, in one form.

    Attributes:
        feed: what they read.
        form: the form that all of them need.
        position: the offset that all of them have read up to.
        last_write: when they were last written to, on Trio's clock.
        check: of the plain bytes written since the lane was opened, where the form asks for it.
    """

    __slots__ = ("_readers", "_sinks", "check", "feed", "form", "last_write", "position")

    def __init__(self, feed: Feed, form: Form, position: int, now: float) -> None:
        self.feed = feed
        self.form = form
        self.position = position
        self.last_write = now
        self.check = Checksum()
        self._readers: dict[Reader, Callable[[bytes], int]] = {}
        self._sinks: dict[Reader, Sink] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def riders(self) -> list[tuple[Reader, Sink]]:
        """Who rides."""
        return list(self._sinks.items())

    def add(self, reader: Reader, sink: Sink) -> None:
        """Let a reader ride that is at the lane's position."""
        assert reader.position == self.position, "who boards is where the lane is"
        reader.lane = self
        self._readers[reader] = sink.send
        self._sinks[reader] = sink
        sink.boarded(self)

    def remove(self, reader: Reader) -> None:
        """Let a reader go; `Reader.alight` calls it."""
        del self._readers[reader]
        self._sinks.pop(reader).alighted(self)

    def step(self) -> Piece | Trimmed | None:
        """Write the next piece to all of them; None where they have had everything.

        `Trimmed` says that what they need is gone: they must alight and be told.
        """
        piece = self.feed.piece(self.position)
        if isinstance(piece, Piece):
            self.write(piece)
        return piece

    def write(self, piece: Piece) -> int:
        """Write a piece to all of them; gives the bytes that each one gets."""
        data = piece.form(self.form)
        size = len(data)
        if self.form.checked:
            self.check.add(piece.joined)
        behind: list[tuple[Reader, int]] = []
        for reader, send in self._readers.items():
            try:
                taken = send(data)
            except BlockingIOError:
                behind.append((reader, 0))
            except OSError:
                continue  # it is broken, of which its own task is told
            else:
                if taken != size:
                    behind.append((reader, taken))
        self.position = piece.upto
        for reader, taken in behind:
            self._sinks[reader].owe(data[taken:])
        return size
