"""Lines to rows of cells, in the reading thread; the csv module of Python parses them.

That parser asks for the next line where a cell goes on in it, which may not have been read yet. So
a line of its own is put behind those that are there: where as many rows come out as lines went in,
each line is a row. Else the rows are taken one by one, to know where each begins, and the last,
if it swallowed that line, is kept until more lines have been read.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from operator import length_hint
from pathlib import Path
from typing import Final, TypeAlias

from .._spec import Chunk
from .reading import LinePuller

_AT_ONCE: Final = 256
"""Lines that are parsed at a time: the parser lets no other thread work meanwhile."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """Stands for a row that has no cells: its lines, and why."""

    text: str
    error: Exception


NumberedRow: TypeAlias = tuple[int, list[str] | BadRow]
"""A row and the number of the line where it begins, from 1; no cells where that is blank."""


class RowTooLong(ValueError):
    """A row of more bytes than are let through: perhaps a quote that is never closed."""


class RowPuller:
    """The rows of a file, as `NumberedRow`."""

    def __init__(self, path: Path, delimiter: str, max_row_bytes: int) -> None:
        self._path = path
        self._delimiter = delimiter
        self._end = "b" if delimiter == "a" else "a"
        self._most = max_row_bytes
        self._lines = LinePuller(path, max_row_bytes)
        self._unfinished: list[bytes] = []
        self._number = 1
        self.close = self._lines.close

    def pull(self, at_most: int) -> Chunk:
        """See `Puller.pull`. By bytes, whatever is asked for."""
        rows: list[NumberedRow] = []
        while not rows:
            lines = self._lines.pull(at_most)
            if not lines:
                return self._last()
            for start in range(0, len(lines), _AT_ONCE):
                rows += self._rows(self._unfinished + lines[start : start + _AT_ONCE])
        return rows

    def _last(self) -> Chunk:
        lines, self._unfinished = self._unfinished, []
        if not lines:
            return []
        error = ValueError("the file ends inside a quoted cell")
        return [(self._number, BadRow(_text(lines), error))]

    def _rows(self, lines: list[bytes]) -> list[NumberedRow]:
        """The rows that end in these lines."""
        self._unfinished = []
        try:
            texts = [*map(bytes.decode, lines), self._end]
            rows = list(csv.reader(texts, delimiter=self._delimiter))
        except (UnicodeDecodeError, csv.Error):
            return self._one_by_one(lines)
        if len(rows) < len(texts):
            return self._one_by_one(lines)
        rows.pop()
        numbered: list[NumberedRow] = list(zip(count(self._number), rows, strict=False))
        self._number += len(lines)
        return numbered

    def _one_by_one(self, lines: list[bytes]) -> list[NumberedRow]:
        texts, errors = _decoded(lines)
        waiting = iter([*texts, self._end])
        reader = csv.reader(waiting, delimiter=self._delimiter)
        rows: list[NumberedRow] = []
        end = 0
        while end < len(lines):
            start = end
            cells: list[str] = []
            fault: Exception | None = None
            try:
                cells = next(reader)
            except csv.Error as error:
                fault = error
            end = len(lines) + 1 - length_hint(waiting)
            if end > len(lines) and fault is None:
                self._keep(lines[start:])
                end = start
                break
            fault = next((errors[at] for at in range(start, end) if at in errors), fault)
            row = cells if fault is None else BadRow(_text(lines[start:end]), fault)
            rows.append((self._number + start, row))
        self._number += min(end, len(lines))
        return rows

    def _keep(self, lines: list[bytes]) -> None:
        if sum(map(len, lines)) > self._most:
            raise RowTooLong(
                f"{self._path}:{self._number}: a row of over {self._most:,} bytes; is a quote"
                " not closed? max_row_bytes lets longer ones through"
            )
        self._unfinished = lines


def _decoded(lines: Sequence[bytes]) -> tuple[list[str], dict[int, UnicodeDecodeError]]:
    """The lines as text, whatever they are, and the errors of those that aren't, by position."""
    texts: list[str] = []
    errors: dict[int, UnicodeDecodeError] = {}
    for at, line in enumerate(lines):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError as error:
            texts.append(line.decode(errors="replace"))
            errors[at] = error
    return texts, errors


def _text(lines: Sequence[bytes]) -> str:
    text = b"".join(lines).decode(errors="backslashreplace")
    return text.removesuffix("\n").removesuffix("\r")
