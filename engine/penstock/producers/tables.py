"""``read_csv``: rows of cells."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast, overload

import msgspec
from msgspec.inspect import AnyType, NoneType, StrType

from .. import _options as options
from .._errors import ItemFailed
from .._failing import Errors
from .._spec import Step, StepControl
from ..stream import Stream
from ..transforms.element import AtOnce
from .csv_rows import BadRow, NumberedRow, RowPuller
from .decoding import BadLine, check_reading_errors, decoded, resuming
from .reading import MOST_BYTES, check_path, source

T = TypeVar("T")

PathLike: TypeAlias = str | os.PathLike[str]


@overload
def read_csv(
    path: PathLike,
    *,
    type: type[T],
    delimiter: str = ",",
    header: bool | Sequence[str] = True,
    errors: Errors = "raise",
    max_row_bytes: int = MOST_BYTES,
) -> Stream[T]: ...


@overload
def read_csv(
    path: PathLike,
    *,
    type: None = None,
    delimiter: str = ",",
    header: Literal[False],
    errors: Errors = "raise",
    max_row_bytes: int = MOST_BYTES,
) -> Stream[list[str]]: ...


@overload
def read_csv(
    path: PathLike,
    *,
    type: None = None,
    delimiter: str = ",",
    header: Literal[True] | Sequence[str] = True,
    errors: Errors = "raise",
    max_row_bytes: int = MOST_BYTES,
) -> Stream[dict[str, str]]: ...


def read_csv(
    path: PathLike,
    *,
    type: Any = None,  # noqa: A002
    delimiter: str = ",",
    header: bool | Sequence[str] = True,
    errors: Errors = "raise",
    max_row_bytes: int = MOST_BYTES,
) -> Stream[Any]:
    """The rows of a CSV file in UTF-8, as dicts of text by the header; blank lines and a byte order
    mark that it begins with are passed over.

    Args:
        path: the file; uncompressed while it is read where it ends in ``.gz`` or ``.zst`` (which
            takes the extra ``zstd``).
        type: what each row is converted to and checked against: a dataclass, TypedDict or msgspec
            Struct with fields of numbers, dates, …; an empty cell is None for a field that may be
            None and not text. Without a header, a tuple or list type.
        delimiter: what stands between the cells, one character.
        header: whether the first row is the names of the columns; or their names, where the file
            has none. With False, rows are lists.
        errors: what becomes of a row that is no CSV, has another number of cells than the header,
            is not UTF-8 or not of that type. The item is the row by its names, its cells where
            their number is wrong, or its text where it has no cells.
        max_row_bytes: a row of more fails the run. ``csv.field_size_limit`` holds for cells.

    Memory holds two pieces of 256 KiB, or a row where it is longer. Raises `StageError` naming file
    and line where a row is bad, always for the header, and where the file can't be read or is
    damaged. Cancelled, it waits for the read that is going on, and the file is closed.
    """
    check_path("read_csv", path)
    check_reading_errors("read_csv", errors)
    options.whole_number("read_csv", "max_row_bytes", max_row_bytes, at_least=1)
    options.delimiter("read_csv", delimiter)
    names = None if isinstance(header, bool) else options.names("read_csv", "header", header)
    rows = source("read_csv", path, partial(RowPuller, Path(path), delimiter, max_row_bytes))
    start = partial(_start_decode, str(path), type, header is True, names)
    return decoded(rows, errors, start)


class BadHeader(BadLine):
    """A header that the rows can't be named by."""


def _start_decode(
    path: str,
    type_: Any,
    has_header: bool,
    names: tuple[str, ...] | None,
    errors: AtOnce,
    control: StepControl,
) -> Step:
    return resuming(_Rows(path, type_, names, has_header=has_header), errors, control)


class _Rows:
    """The `Decoding` of rows."""

    def __init__(
        self, path: str, type_: Any, names: tuple[str, ...] | None, *, has_header: bool
    ) -> None:
        self._path = path
        self._type = type_
        self._names = names
        self._wants_header = has_header
        self._may_be_none = () if type_ is None else _fields_for_none(type_)

    def decode(self, waiting: Iterator[NumberedRow]) -> Iterable[Any]:
        """See `Decoding.decode`."""
        if self._wants_header:
            self._read_header(waiting)
        if self._names is None:
            return self._lists(waiting)
        return self._named(waiting, self._names)

    def explain(self, item: NumberedRow, at: int, error: Exception) -> tuple[Any, Exception] | None:
        """See `Decoding.explain`."""
        number, cells = item
        if isinstance(error, BadHeader):
            raise ItemFailed(cells.text if isinstance(cells, BadRow) else cells) from error
        if isinstance(cells, BadRow):
            return cells.text, BadLine(f"{self._path}:{number}: {cells.error}")
        if not cells:
            return None
        if self._names is None:
            return cells, BadLine(f"{self._path}:{number}: {error}")
        if len(cells) != len(self._names):
            problem = f"{len(cells)} cells, where the header has {len(self._names)}"
            return cells, BadLine(f"{self._path}:{number}: {problem}")
        row = dict(zip(self._names, cells, strict=True))
        return row, BadLine(f"{self._path}:{number}: {error}")

    def passed(self, count: int) -> None:
        """See `Decoding.passed`. Rows have their numbers with them."""

    def _read_header(self, waiting: Iterator[NumberedRow]) -> None:
        for number, cells in waiting:
            if not cells:
                continue
            if isinstance(cells, BadRow):
                raise BadHeader(f"{self._path}:{number}: {cells.error}")
            if len(set(cells)) < len(cells):
                twice = next(name for name in cells if cells.count(name) > 1)
                raise BadHeader(f"{self._path}:{number}: the header has {twice!r} twice")
            self._names = tuple(cells)
            self._wants_header = False
            self._may_be_none = tuple(set(self._names) & set(self._may_be_none))
            return

    def _lists(self, waiting: Iterator[NumberedRow]) -> Iterator[Any]:
        for _, cells in waiting:
            if isinstance(cells, BadRow):
                raise cells.error
            if cells:
                yield self._converted(cells)

    def _named(
        self, waiting: Iterator[NumberedRow], names: tuple[str, ...]
    ) -> Iterable[dict[str, Any]]:
        # What has another number of cells fails here, a BadRow too.
        rows: Iterable[dict[str, Any]] = (
            dict(zip(names, cast("list[str]", cells), strict=True)) for _, cells in waiting
        )
        return rows if self._type is None else map(self._converted, rows)

    def _converted(self, row: Any) -> Any:
        if self._type is None:
            return row
        for name in self._may_be_none:
            row[name] = row[name] or None
        return msgspec.convert(row, self._type, strict=False)


def _fields_for_none(type_: Any) -> tuple[str, ...]:
    """The fields for which an empty cell is None: those that may be that, and not text."""
    known = msgspec.inspect.type_info(type_)
    names: list[str] = []
    for field in getattr(known, "fields", ()):
        types = getattr(field.type, "types", (field.type,))
        may_be_none = any(isinstance(each, NoneType) for each in types)
        if may_be_none and not any(isinstance(each, StrType | AnyType) for each in types):
            names.append(field.encode_name)
    return tuple(names)
