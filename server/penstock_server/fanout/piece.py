"""Framed events as one write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.wire import Gap


@dataclass(frozen=True, slots=True)
class Form:
    """How a joined piece is put on a wire: a content coding, a chunk, a WebSocket frame.

    Attributes:
        name: unlike any other form's.
        make: from a piece to its bytes; pure.
        checked: whether a lane keeps a checksum of the plain bytes for its readers.
        framed: whether it is a WebSocket frame, whose connection has a heartbeat of its own.
    """

    name: str
    make: Callable[[Piece], bytes]
    checked: bool = False
    framed: bool = False


class Piece:
    """The framed events after one offset, or a message; made once for all who read the same.

    Attributes:
        framed: each event or message by itself.
        joined: all of them as one write.
        upto: the offset that has been read up to with this piece.
        events: how many events it holds; 0 for a message.
        replaced: events left out because a newer one of their key is there.
        full: it holds as much as a piece may, so that it stays as it is when more is appended.
        gap: what it tells, where it tells a gap.
    """

    __slots__ = ("_forms", "events", "framed", "full", "gap", "joined", "replaced", "upto")

    def __init__(
        self,
        framed: tuple[bytes, ...],
        joined: bytes,
        upto: int,
        *,
        events: int = 0,
        replaced: int = 0,
        full: bool = False,
        gap: Gap | None = None,
    ) -> None:
        self.framed = framed
        self.joined = joined
        self.upto = upto
        self.events = events
        self.replaced = replaced
        self.full = full
        self.gap = gap
        self._forms: dict[str, bytes] | None = None

    def __repr__(self) -> str:
        return f"<Piece up to {self.upto}: {len(self.framed)} frames, {len(self.joined)} bytes>"

    def form(self, form: Form) -> bytes:
        """Its bytes in a form, made once."""
        forms = self._forms
        if forms is None:
            forms = self._forms = {}
        made = forms.get(form.name)
        if made is None:
            made = forms[form.name] = form.make(self)
        return made
