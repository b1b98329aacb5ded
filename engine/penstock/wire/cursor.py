"""Cursors: positions in a log, as text that is the same on every transport.

A cursor is ``<epoch>-<offset>``, both in lower-case base 36, at most 64 bytes. It names the
position *after* the event with that offset; offset 0 is the position before a log's first event.

The rule this module lives by: a text either parses to the one cursor that prints as that text, or
it raises `BadCursor`.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
MAX_CURSOR_BYTES = 64
MAX_OFFSET = 2**63 - 1
"""The largest offset, so that every log, an SQL one too, can store it."""

_EPOCH_DIGITS = 10  # 51 bits of chance: two logs of one topic never share an epoch
_EPOCH = re.compile(r"[0-9a-z]+")
_OFFSET = re.compile(r"0|[1-9a-z][0-9a-z]{0,12}")


class BadCursor(ValueError):
    """The text is no cursor."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the log of one `epoch`, after the event with this `offset`.

    Raises `BadCursor` where the epoch is not lower-case base 36, the offset is negative or over
    `MAX_OFFSET`, or the text would be longer than `MAX_CURSOR_BYTES`.
    """

    epoch: str
    offset: int

    def __post_init__(self) -> None:
        if _EPOCH.fullmatch(self.epoch) is None:
            raise BadCursor("a cursor's epoch is lower-case base 36")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise BadCursor(f"a cursor's offset is between 0 and {MAX_OFFSET}")
        if len(self.epoch) + 1 + len(to_base36(self.offset)) > MAX_CURSOR_BYTES:
            raise BadCursor(f"a cursor is at most {MAX_CURSOR_BYTES} bytes long")

    def __str__(self) -> str:
        return cursor_text(self.epoch, self.offset)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `text` says. Raises `BadCursor` for anything but ``<epoch>-<offset>``."""
        if len(text) > MAX_CURSOR_BYTES:
            raise BadCursor(f"a cursor is at most {MAX_CURSOR_BYTES} bytes long")
        epoch, dash, offset = text.partition("-")
        if not dash:
            raise BadCursor("a cursor is written <epoch>-<offset>")
        return cls(epoch, from_base36(offset))


def cursor_text(epoch: str, offset: int) -> str:
    """The text of the cursor at `offset`, without making or checking a `Cursor`: the hot path."""
    return f"{epoch}-{to_base36(offset)}"


def new_epoch() -> str:
    """A random epoch for a new log."""
    return "".join(secrets.choice(DIGITS) for _ in range(_EPOCH_DIGITS))


def to_base36(number: int) -> str:
    """`number` in lower-case base 36. Raises `ValueError` if it is negative."""
    if number < 0:
        raise ValueError("a negative number has no base 36 here")
    text = DIGITS[number % 36]
    while number := number // 36:
        text = DIGITS[number % 36] + text
    return text


def from_base36(text: str) -> int:
    """The number that `to_base36` writes as `text`.

    Raises `BadCursor` for any other text: empty, upper-case, signed, with leading zeros, or longer
    than `MAX_OFFSET` is.
    """
    if _OFFSET.fullmatch(text) is None:
        raise BadCursor("a cursor's offset is lower-case base 36 without leading zeros")
    return int(text, 36)
