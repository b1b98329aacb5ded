"""``write_parquet``: rows of typed columns. pyarrow writes them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import IO, Any, Final

import msgspec
import trio

from .. import _options as options
from .._compression import is_compressed
from .._errors import ItemFailed
from .._extras import required
from .._failing import DeadLetter
from .._spec import Chunk, Receiver, Sink
from .atomic import check_target, file_sink
from .foreign import encode_hook
from .rows import Row, RowReader
from .targets import Target

_AT_ONCE: Final = 1024
"""Rows that are made columns at a time: pyarrow lets no other thread work meanwhile."""
_KNOWN_TO_ARROW: Final = (
    bytes,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    Decimal,
)


def write_parquet(
    path: str | os.PathLike[str], schema: Any = None, *, batch_rows: int = 65_536
) -> Sink[Any, int]:
    """Write each item as a row of a Parquet file; the result is their number. Takes the extra
    ``parquet``.

    An item is a mapping, a dataclass, a msgspec Struct, a namedtuple or a `DeadLetter` (whose item
    is a text then: JSON where it isn't one, or its ``repr``). A name that it lacks is null.

    Args:
        path: the file.
        schema: a ``pyarrow.Schema``: these columns are written, and no others. Without it, the
            columns and types are those of the first 1,024 rows.
        batch_rows: rows in a row group.

    The file appears, whole, when the run has ended well; a run that fails or is cancelled leaves
    the old file, or none. A link is followed; a FIFO or a device is refused. Memory holds the
    columns of a row group and 1,024 rows. Raises `StageError` for an item that is no row, has a
    name that is no column, or a value that doesn't fit its column's type, and for what the
    operating system refuses; `PipelineError` where two sinks of the pipeline write the same file.
    """
    check_target("write_parquet", path)
    if is_compressed(path):
        raise options.refuse("write_parquet", f"{path}: Parquet files are compressed inside")
    options.whole_number("write_parquet", "batch_rows", batch_rows, at_least=1)
    arrow: Any = required("write_parquet", "pyarrow")
    if schema is not None and not isinstance(schema, arrow.Schema):
        raise options.refuse("write_parquet", f"schema must be a pyarrow.Schema, got {schema!r}")
    return file_sink("write_parquet", path, partial(_fill, schema, batch_rows))


async def _fill(schema: Any, batch_rows: int, target: Target, receive: Receiver[Any]) -> int:
    if not target.replaces:
        raise ValueError("a Parquet file can't be written into a FIFO or a device")
    table = _Table(target.file, schema, batch_rows)
    rows: Chunk = []
    written = 0
    try:
        async for items in receive.chunks():
            rows += items
            written += len(items)
            while len(rows) >= _AT_ONCE:
                await trio.to_thread.run_sync(table.add, rows[:_AT_ONCE])
                rows = rows[_AT_ONCE:]
        await trio.to_thread.run_sync(table.end, rows)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(table.close)
    return written


class _Table:
    """One file. All of it blocks."""

    def __init__(self, file: IO[bytes], schema: Any, batch_rows: int) -> None:
        self._arrow: Any = required("write_parquet", "pyarrow")
        self._parquet: Any = required("write_parquet", "pyarrow.parquet")
        self._file = file
        self._schema = schema
        self._is_given = schema is not None
        self._batch_rows = batch_rows
        self._read = RowReader()
        self._writer: Any = None
        self._batches: list[Any] = []
        self._held = 0

    def add(self, items: Chunk) -> None:
        """The next rows, few enough."""
        self._batches.append(self._batch(items))
        self._held += len(items)
        if self._held >= self._batch_rows:
            self._write()

    def end(self, items: Chunk) -> None:
        """The last rows."""
        if items:
            self.add(items)
        if self._schema is None:
            self._schema = self._arrow.schema([])
        self._write()

    def close(self) -> None:
        """Write what stands at the end of a Parquet file, for nothing where it is discarded."""
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._file, self._schema)
        if self._held:
            table = self._arrow.Table.from_batches(self._batches)
            self._writer.write_table(table, row_group_size=self._batch_rows)
            self._batches = []
            self._held = 0

    def _batch(self, items: Chunk) -> Any:
        rows: list[Row] = []
        for item in items:
            try:
                rows.append(self._row(item))
            except Exception as error:
                raise ItemFailed(item) from error
        try:
            return self._columns(rows)
        except Exception:  # noqa: BLE001 - it may be that pyarrow needs help
            return self._with_help(items, rows)

    def _row(self, item: Any) -> Row:
        row = self._read(item)
        if row is None:
            raise TypeError(
                "write_parquet takes mappings, dataclasses and msgspec Structs, not"
                f" {type(item).__name__}"
            )
        if isinstance(item, DeadLetter) and not isinstance(row["item"], str):
            shown = row["item"]  # a float may be NaN, which JSON has no word for
            text = repr(shown) if isinstance(shown, float) else msgspec.json.encode(shown).decode()
            row = {**row, "item": text}
        return row

    def _columns(self, rows: Sequence[Row]) -> Any:
        """The rows as columns; the first ones say which, where nobody else did."""
        if self._schema is None:
            names = list(dict.fromkeys(name for row in rows for name in row))
            if not names:
                raise ValueError("the first rows have no columns")
            arrays = [self._arrow.array([row.get(name) for row in rows]) for name in names]
            batch = self._arrow.RecordBatch.from_arrays(arrays, names)
            self._schema = batch.schema
            return batch
        if not self._is_given:
            self._refuse_new_names(rows)
        arrays = [
            self._arrow.array([row.get(field.name) for row in rows], field.type)
            for field in self._schema
        ]
        return self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _refuse_new_names(self, rows: Sequence[Row]) -> None:
        known = frozenset(self._schema.names)
        for row in rows:
            if not row.keys() <= known:
                new = next(name for name in row if name not in known)
                raise ValueError(f"{new!r} is no column of the first rows; give schema=")

    def _with_help(self, items: Chunk, rows: list[Row]) -> Any:
        """With the values as builtins; else the error names the item that is to blame."""
        plain: list[Row] = []
        for item, row in zip(items, rows, strict=True):
            try:
                plain.append(
                    msgspec.to_builtins(
                        row, builtin_types=_KNOWN_TO_ARROW, enc_hook=encode_hook(None)
                    )
                )
            except Exception as error:
                raise ItemFailed(item) from error
        try:
            return self._columns(plain)
        except Exception as error:
            if self._schema is None:
                raise ValueError(f"no one type for a column: {error}; give schema=") from error
            self._find(items, plain)
            raise

    def _find(self, items: Chunk, rows: list[Row]) -> None:
        for item, row in zip(items, rows, strict=True):
            try:
                self._columns([row])
            except Exception as error:
                if not self._is_given:
                    error.add_note("the types are those of the first rows; schema= gives others")
                raise ItemFailed(item) from error
