from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import penstock as ps

ROWS = [{"n": n, "name": f"name {n}", "tags": [n, None]} for n in range(1000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=300)
    return path


@pytest.mark.parametrize("batch_rows", [1, 7, 300, 5000])
async def test_rows_are_dicts_in_their_order(path: Path, batch_rows: int) -> None:
    assert await ps.read_parquet(path, batch_rows=batch_rows).to(ps.collect()).run() == ROWS


async def test_only_the_columns_that_are_wanted(path: Path) -> None:
    rows = await ps.read_parquet(path, ["tags", "n"]).take(1).to(ps.collect()).run()
    assert rows == [{"n": 0, "tags": [0, None]}]


async def test_a_file_without_rows(path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    assert await ps.read_parquet(path).to(ps.collect()).run() == []


async def test_a_column_that_is_not_there(path: Path) -> None:
    with pytest.raises(ps.StageError, match=r"has no column 'x', but n, name, tags"):
        await ps.read_parquet(path, ["n", "x"]).to(ps.drain()).run()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 10])
async def test_what_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.parquet"
    path.write_bytes(content)
    with pytest.raises(ps.StageError, match=r"read_parquet\(some.parquet\) failed: ArrowInvalid"):
        await ps.read_parquet(path).to(ps.drain()).run()


@pytest.mark.parametrize(
    ("use", "wrong", "problem"),
    [
        (ps.read_parquet, {"columns": "n"}, "columns must be different names"),
        (ps.read_parquet, {"columns": []}, "columns must be different names"),
        (ps.read_parquet, {"batch_rows": 0}, "batch_rows must be a whole number"),
        (ps.read_parquet, {"path": "a.gz"}, "a.gz: Parquet files are compressed inside"),
        (ps.write_parquet, {"path": "a.zst"}, "a.zst: Parquet files are compressed inside"),
        (ps.write_parquet, {"batch_rows": True}, "batch_rows must be a whole number"),
        (ps.write_parquet, {"schema": ["a"]}, "schema must be a pyarrow.Schema"),
        (ps.write_parquet, {"path": 3}, "path must be a path, got 3"),
    ],
)
def test_wrong_options_are_refused(use: Any, wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=f"{use.__name__}: {problem}"):
        use(**{"path": "some.parquet", **wrong})


@pytest.mark.parametrize("use", [ps.read_parquet, ps.write_parquet])
def test_it_takes_an_extra(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ps.PipelineError, match=r"needs pyarrow: pip install '\.\[parquet\]'"):
        use("some.parquet")
