"""``write_csv``: rows of cells (RFC 4180, with line ends of LF)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from functools import partial
from io import StringIO
from typing import Any, Final, cast

from .. import _options as options
from .._spec import Chunk, Sink
from .encoded import encode_each, encoded_file_sink
from .foreign import scalar
from .rows import Row, RowReader

_PLAIN: Final = frozenset((str, int, float, type(None)))
"""What the csv module writes as it should be."""


def write_csv(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, *, delimiter: str = ","
) -> Sink[Any, int]:
    """Write each item as a row of a CSV file in UTF-8; the result is their number.

    An item is a mapping, a dataclass, a msgspec Struct, a namedtuple or a `DeadLetter`, whose names
    are the header, or a sequence of cells.

    Args:
        path: the file; compressed where the name ends in ``.gz`` or ``.zst`` (which takes the extra
            ``zstd``).
        columns: the header: of items with names, these are written, and no others. Without it, the
            names of the first item, and there is no header where that is a sequence.
        delimiter: what stands between the cells, one character.

    A name that an item lacks and None are empty cells; dates, enums and UUIDs are written as
    msgspec does, lists and dicts as JSON, exceptions as ``ValueError: text``. A cell is quoted
    where it must be. Nothing is done about cells that a spreadsheet would take for formulas.

    The file appears, whole, when the run has ended well; a run that fails or is cancelled leaves
    the old file, or none. A link is followed; a FIFO or a character device is written into as the
    items come. Memory holds two pieces of 1 MiB. Raises `StageError` for an item that is no row,
    has a name that the first had not, or is of another length, and for what the operating system
    refuses; `PipelineError` where two sinks of the pipeline write the same file.
    """
    names = None if columns is None else options.names("write_csv", "columns", columns)
    options.delimiter("write_csv", delimiter)
    return encoded_file_sink("write_csv", path, partial(_Table, names, delimiter))


class _Table:
    """One file. What the first item is says what the others must be."""

    def __init__(self, columns: tuple[str, ...] | None, delimiter: str) -> None:
        self._columns = columns
        self._are_chosen = columns is not None
        self._names = frozenset(columns or ())
        self._width = 0 if columns is None else len(columns)
        self._begun = False
        self._read = RowReader()
        self._text = StringIO()
        write = partial(csv.writer, self._text, delimiter=delimiter, lineterminator="\n")
        self._writer = write()
        self._quoting = write(quoting=csv.QUOTE_ALL)

    def encode(self, items: Chunk) -> bytes:
        header = b"" if self._begun else encode_each(self._begin, items[:1])
        try:
            return header + self._written(list(map(self._cells, items)))
        except Exception:  # noqa: BLE001 - whatever it is, it is raised again, with its item
            return header + encode_each(lambda item: self._written([self._cells(item)]), items)

    def end(self) -> bytes:
        """The header, where no item came."""
        return b"" if self._begun else self._header()

    def _begin(self, first: Any) -> bytes:
        row = self._read(first)
        if self._columns is None and row is not None:
            self._columns = tuple(row)
            self._names = frozenset(self._columns)
            self._width = len(self._columns)
        elif self._columns is None:
            self._width = len(_sequence(first))
        if not self._width:
            raise ValueError("the first item has no cells")
        self._begun = True
        return self._header()

    def _header(self) -> bytes:
        return b"" if self._columns is None else self._written([self._columns])

    def _cells(self, item: Any) -> Sequence[Any]:
        row = self._read(item)
        values = _sequence(item) if row is None else self._of_columns(row)
        if len(values) != self._width:
            raise ValueError(f"{len(values)} cells, where the table has {self._width}")
        return [each if type(each) in _PLAIN else scalar(each) for each in values]

    def _of_columns(self, row: Row) -> Sequence[Any]:
        if self._columns is None:
            raise TypeError("an item with names, where the first had none; give columns=")
        if not (self._are_chosen or row.keys() <= self._names):
            new = next(name for name in row if name not in self._names)
            raise ValueError(f"{new!r} is no name that the first item had; give columns=")
        return [row.get(name) for name in self._columns]

    def _written(self, rows: Iterable[Sequence[Any]]) -> bytes:
        self._text.seek(0)
        self._text.truncate()
        self._writer.writerows(rows)
        text = self._text.getvalue()
        if "\r" not in text:
            return text.encode()
        self._text.seek(0)  # not every version of the csv module quotes a cell for that
        self._text.truncate()
        for row in rows:
            odd = any(isinstance(cell, str) and "\r" in cell for cell in row)
            (self._quoting if odd else self._writer).writerow(row)
        return self._text.getvalue().encode()


def _sequence(item: Any) -> Sequence[object]:
    if isinstance(item, str | bytes | bytearray) or not isinstance(item, Sequence):
        raise TypeError(
            "write_csv takes mappings, dataclasses, msgspec Structs and sequences of cells, not"
            f" {type(item).__name__}"
        )
    return cast("Sequence[object]", item)
