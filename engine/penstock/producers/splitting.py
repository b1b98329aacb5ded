"""Bytes in pieces to lines. Pure."""

from __future__ import annotations

from io import BytesIO
from typing import Final

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""What some programs begin a text in UTF-8 with: no part of it (RFC 3629, section 6)."""


class LineTooLong(ValueError):
    """A line of more bytes than are let through: perhaps the file has no lines."""


class LineSplitter:
    """Lines with their ends (LF), from pieces of any size; holds the one line that has no end yet.

    A byte order mark before the first line is left out.

    Args:
        place: where the lines are from, for errors.
        max_line_bytes: a line of more raises `LineTooLong`, before it is whole.
        numbered: whether the number of a line means something to a reader, as the first one is
            the first of all.
    """

    def __init__(self, place: str, max_line_bytes: int, *, numbered: bool = True) -> None:
        self._place = place
        self._numbered = numbered
        self._most = max_line_bytes
        self._parts: list[bytes] = []
        self._held = 0
        self._lines = 0

    def split(self, piece: bytes) -> list[bytes]:
        """The lines that end in the next piece."""
        lines = BytesIO(piece).readlines()
        unended = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if lines:
            self._hold(lines[0][:-1])
            self._parts.append(b"\n")
            lines[:1] = self.end()
            if len(piece) > self._most:
                self._check(lines[1:])
            self._lines += len(lines) - 1
        self._hold(unended)
        return lines

    def end(self) -> list[bytes]:
        """The line that is held, as the last one; none where nothing is held."""
        line = b"".join(self._parts)
        if self._numbered and not self._lines:
            line = line.removeprefix(BYTE_ORDER_MARK)
        self.forget()
        self._lines += bool(line)
        return [line] if line else []

    def forget(self) -> None:
        """Hold nothing any more."""
        self._parts.clear()
        self._held = 0

    def _hold(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._held += len(part)
            if self._held > self._most:
                raise self._too_long(self._lines + 1)

    def _check(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, self._lines + 1):
            if len(line) - 1 > self._most:
                raise self._too_long(number)

    def _too_long(self, number: int) -> LineTooLong:
        place = f"{self._place}:{number}" if self._numbered else self._place
        return LineTooLong(
            f"{place}: a line of over {self._most:,} bytes; are these lines of text?"
            " max_line_bytes lets longer ones through"
        )
