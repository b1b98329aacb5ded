"""``read_parquet``: the rows of a Parquet file. pyarrow reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .. import _options as options
from .._compression import is_compressed
from .._extras import required
from .._spec import Chunk
from ..stream import Stream
from .reading import check_path, source


def read_parquet(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    batch_rows: int = 4096,
) -> Stream[dict[str, Any]]:
    """The rows of a Parquet file, as dicts; takes the extra ``parquet``.

    Args:
        path: the file.
        columns: the names of those that are wanted, else all; others are not read.
        batch_rows: how many rows are taken at a time.

    Memory holds two batches of rows, and what pyarrow needs of the row group that it reads. Raises
    `StageError` where the file can't be read or lacks a column. Cancelled, it waits for the read
    that is going on, and the file is closed.
    """
    check_path("read_parquet", path)
    if is_compressed(path):
        raise options.refuse("read_parquet", f"{path}: Parquet files are compressed inside")
    names = None if columns is None else options.names("read_parquet", "columns", columns)
    options.whole_number("read_parquet", "batch_rows", batch_rows, at_least=1)
    required("read_parquet", "pyarrow")
    puller = partial(_RowPuller, Path(path), names, batch_rows)
    return Stream(source("read_parquet", path, puller))


class _RowPuller:
    def __init__(self, path: Path, columns: tuple[str, ...] | None, batch_rows: int) -> None:
        self._path = path
        self._columns = columns
        self._batch_rows = batch_rows
        self._file: Any = None
        self._batches: Iterator[Any] = iter(())

    def pull(self, at_most: int) -> Chunk:
        """See `Puller.pull`. A batch, whatever is asked for."""
        if self._file is None:
            self._open()
        for batch in self._batches:
            names = batch.schema.names
            values = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            rows = [dict(zip(names, row, strict=True)) for row in values]
            if rows:
                return rows
        return []

    def _open(self) -> None:
        parquet: Any = required("read_parquet", "pyarrow.parquet")
        # Without `pre_buffer`, which would read whole row groups ahead.
        self._file = parquet.ParquetFile(self._path, pre_buffer=False)
        there: list[str] = self._file.schema_arrow.names
        wanted = there if self._columns is None else self._columns
        for name in wanted:
            if there.count(name) != 1:
                problem = "twice" if name in there else "no column"
                raise ValueError(f"{self._path} has {problem} {name!r}, but {', '.join(there)}")
        self._batches = self._file.iter_batches(self._batch_rows, columns=self._columns)

    def close(self) -> None:
        """Close the file."""
        self._batches = iter(())
        if self._file is not None:
            self._file.close()
