"""Where in a log a reader is, and what that makes of all that the server says. Pure.

- an event moves the position, and one at or before it was had already: it is dropped;
- events that are missing without a gap of the server's own are asked for once more; where they are
  missing again, the reader gets a `Gap`. So it sees every event, in order and once, or a `Gap`;
- a server of another kind has ids that mean nothing here: its events pass as they come;
- each loss waits a random time below a bound that doubles, and the time that the server asks for
  besides; an event, a gap or a keepalive resets the bound. ``subscribed`` alone doesn't, so a
  server that falls over each time it has accepted isn't hammered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from penstock._backoff import Backoff
from penstock.wire import (
    BadCursor,
    Cursor,
    End,
    Gap,
    GapReason,
    Keepalive,
    Reconnect,
    Subscribed,
    to_base36,
)

from ..losses import ConnectionLost, Loss, Refused
from ..received import Event
from ..waiting import wait_for


class Moved(msgspec.Struct, frozen=True):
    """Reading goes on after `id`, which means something to that server only."""

    id: str


class Retry(msgspec.Struct, frozen=True):
    """The server asks for this wait before each new connection, from now on."""

    seconds: float


Note: TypeAlias = (
    End | Subscribed | Keepalive | Reconnect | Moved | Retry | ConnectionLost | Refused
)
Signal: TypeAlias = Event | Gap | Note
"""What a transport gives. A connection on which cursors count begins with `Subscribed`; one that
gives an error is over."""

Item: TypeAlias = Event | Gap
"""What a reader gets."""


class Position:
    """Where in a log a reader is, what it has had, and how often in a row it failed. Pure.

    Args:
        after: where it starts: a cursor, ``earliest``, ``latest``, or None.
        conflated: whether the server may leave out events of an epoch, as is agreed.

    Attributes:
        cursor: behind what was had last; None where that isn't known yet.
        end: the log's end, once it was said.
        fault: why this connection is no good any more; what `take` gave before it is sound.
    """

    __slots__ = (
        "_asked_again",
        "_conflated",
        "_exact",
        "_failures",
        "_leaves_out",
        "_offset",
        "_prefix",
        "_retry",
        "_start",
        "cursor",
        "end",
        "fault",
    )

    def __init__(self, after: str | None, *, conflated: bool = False) -> None:
        self._start = after
        self._conflated = conflated
        self._exact = False  # whether ids are cursors, on this connection
        self._prefix = ""  # the epoch and the dash, where they are
        self._offset: int = 0
        self._asked_again: str | None = None  # where a hole was that the server didn't tell
        self._leaves_out = False  # asking again was in vain
        self._retry = 0.0
        self._failures = 0
        self.cursor: str | None = None
        self.end: End | None = None
        self.fault: ConnectionLost | Refused | None = None

    @property
    def after(self) -> str | None:
        """What to ask the next connection for."""
        return self._start if self.cursor is None else self.cursor

    def lost(self, loss: ConnectionLost, backoff: Backoff, chance: float) -> Loss:
        """Count a failure; says how long to wait. `chance` is from 0 to 1, for the jitter."""
        delay = wait_for(max(loss.retry_after, self._retry), backoff, self._failures, chance)
        self._failures += 1
        return Loss(loss.problem, self._failures, delay, self.cursor)

    def connecting(self) -> None:
        """A new connection begins."""
        self._exact, self.fault = False, None

    def take(self, signals: Sequence[Signal]) -> list[Item]:
        """What they mean to the reader. May set `fault` or `end`, and looks at nothing behind."""
        items: list[Item] = []
        try:
            for signal in signals:
                if isinstance(signal, Event):
                    self._take_event(signal, items)
                elif isinstance(signal, Gap):
                    self._take_gap(signal, items)
                else:
                    self._take_note(signal, items)
                if self.end is not None:
                    break
        except (ConnectionLost, Refused) as fault:
            self.fault = fault
        return items

    def _take_event(self, event: Event, items: list[Item]) -> None:
        self._failures = 0
        if self._exact:
            prefix, offset = _split(event.id)
            if prefix == self._prefix and offset <= self._offset:
                return  # it was had already
            if prefix != self._prefix or offset != self._offset + 1:
                self._jump(event.topic, prefix, offset - 1, items)
            self._prefix, self._offset = prefix, offset
        self.cursor = event.id or None
        items.append(event)

    def _take_gap(self, gap: Gap, items: list[Item]) -> None:
        self._failures = 0
        prefix, offset = _split(gap.resumed)
        if prefix == self._prefix and offset <= self._offset:
            return  # nothing of it is missing here
        self._prefix, self._offset, self.cursor = prefix, offset, gap.resumed
        items.append(gap)

    def _take_note(self, note: Note, items: list[Item]) -> None:
        match note:
            case Subscribed():
                self._begin(note.id)
            case End():
                self._take_end(note, items)
            case Keepalive():
                self._failures = 0
            case Reconnect():
                wait = note.after if note.after > 0 else 0.0  # which NaN isn't
                raise ConnectionLost("the server asks to reconnect", wait)
            case Moved():
                self.cursor = note.id or None
            case Retry():
                self._retry = note.seconds
            case ConnectionLost() | Refused():
                raise note

    def _take_end(self, end: End, items: list[Item]) -> None:
        if self._exact:
            prefix, offset = _split(end.id)
            if prefix != self._prefix or offset > self._offset:
                self._jump(end.topic, prefix, offset, items)
        self.end = end

    def _begin(self, subscribed: str) -> None:
        """From here on ids are cursors."""
        self._exact = True
        for known in (self.after, subscribed):
            try:
                cursor = Cursor.parse(known or "")
            except BadCursor:
                continue
            self._prefix, self._offset, self.cursor = f"{cursor.epoch}-", cursor.offset, known
            return
        raise ConnectionLost(f"the server sent what is no cursor: {subscribed[:80]!r}")

    def _jump(self, topic: str, prefix: str, offset: int, items: list[Item]) -> None:
        """Events up to `offset` are missing, and the server didn't say so."""
        assert self.cursor is not None, "a connection with cursors begins with one"
        same = prefix == self._prefix
        if same and self._conflated:
            return
        if self._asked_again != self.cursor and not (same and self._leaves_out):
            self._asked_again = self.cursor
            raise ConnectionLost("the server left out events")
        self._leaves_out = self._leaves_out or same
        missed = offset - self._offset if same else None
        reason: GapReason = "slow" if same else "epoch"
        items.append(Gap(topic, self.cursor, f"{prefix}{to_base36(offset)}", missed, reason))


def _split(id: str) -> tuple[str, int]:  # noqa: A002
    """Epoch with its dash, and offset, of a cursor. Raises `ConnectionLost` where it is none."""
    epoch, dash, digits = id.partition("-")
    try:
        # The hot path: `Cursor.parse`, which is exact, takes three times as long.
        if dash and digits.isalnum():
            return epoch + dash, int(digits, 36)
    except ValueError:
        pass
    raise ConnectionLost(f"the server sent what is no cursor: {id[:80]!r}")
