from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    colour: Colour | None = None


class Place(msgspec.Struct):
    name: str
    points: list[Point]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.parquet"


async def written(path: Path, items: list[Any], **options: Any) -> list[dict[str, Any]]:
    pipeline = ps.from_iterable(items).to(ps.write_parquet(path, **options))
    assert await pipeline.run() == len(items)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 5000])
async def test_rows_are_written_in_order_in_groups(path: Path, size: int) -> None:
    items = [{"n": n, "name": f"name {n}"} for n in range(size)]
    assert await written(path, items, batch_rows=2000) == items
    groups = pq.ParquetFile(path)
    sizes = [groups.metadata.row_group(n).num_rows for n in range(groups.num_row_groups)]
    assert sum(sizes) == size
    assert max(sizes, default=0) <= 2000


async def test_values_keep_their_types(path: Path) -> None:
    now = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    row = {"at": now, "cost": Decimal("1.50"), "raw": b"\xff", "tags": ["a", None], "by": {"c": 1}}
    assert await written(path, [row, dict.fromkeys(row), row]) == [row, dict.fromkeys(row), row]


async def test_what_arrow_does_not_know_is_written_as_msgspec_does(path: Path) -> None:
    items = [Place("here", [Point(1, Colour.RED)]), Place("there", [])]
    assert await written(path, items) == [
        {"name": "here", "points": [{"x": 1, "colour": "red"}]},
        {"name": "there", "points": []},
    ]
    assert await written(path, [{"error": ValueError("no")}]) == [{"error": "ValueError: no"}]


async def test_columns_are_those_of_the_first_rows(path: Path) -> None:
    assert await written(path, [{"a": 1}, {"b": "x"}]) == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]


async def test_a_schema_says_which_columns_and_of_what_type(path: Path) -> None:
    schema = pa.schema([("a", pa.float32()), ("c", pa.string())])
    assert await written(path, [{"a": 1, "b": 2}, {"c": "x"}], schema=schema) == [
        {"a": 1.0, "c": None},
        {"a": None, "c": "x"},
    ]
    assert await written(path, [], schema=schema) == []
    assert pq.read_schema(path) == schema


FIRST = [{"a": 1, "b": None}] * 2000


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([*FIRST, {"a": 1, "c": 2}], r"item {'a': 1, 'c': 2}: .*'c' is no column of the first"),
        ([*FIRST, {"a": "x"}], r"item {'a': 'x'}: ArrowInvalid: "),
        ([*FIRST, {"b": 1}], r"item {'b': 1}: "),
        ([{"a": 1}, [1]], r"item \[1\]: TypeError: write_parquet takes mappings, .* not list"),
        ([{"a": 1}, {"a": object()}], r"item {'a': <object .*: TypeError"),
    ],
)
async def test_what_is_no_row_of_the_table(path: Path, items: list[Any], problem: str) -> None:
    path.write_text("old")
    with pytest.raises(ps.StageError, match=rf"write_parquet\(out.parquet\) failed on {problem}"):
        await ps.from_iterable(items).to(ps.write_parquet(path)).run()
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([{"a": 1}, {"a": "x"}], "no one type for a column: .*; give schema="),
        ([{}, {}], "the first rows have no columns"),
    ],
)
async def test_first_rows_that_are_no_table(path: Path, items: list[Any], problem: str) -> None:
    with pytest.raises(ps.StageError, match=rf"write_parquet\(out.parquet\) failed: .*{problem}"):
        await ps.from_iterable(items).to(ps.write_parquet(path)).run()


def fail(item: Any) -> Any:
    raise ValueError(f"no {item!r}")


async def test_dead_letters_are_rows_of_texts(path: Path) -> None:
    items: list[Any] = [1, "a", None, [2], Point(3), object]
    stream = ps.from_iterable(items).map(fail, errors=ps.dead_letter(ps.write_parquet(path)))
    await stream.to(ps.drain()).run()
    rows = await ps.read_parquet(path).to(ps.collect()).run()
    assert [row["item"] for row in rows] == [
        "1",
        "a",
        "null",
        "[2]",
        '{"x":3,"colour":null}',
        "<class 'object'>",
    ]
    assert rows[0] | {"item": 0} == {
        "item": 0,
        "error": "ValueError: no 1",
        "stage": "map(fail)",
        "attempts": 1,
    }


@pytest.mark.parametrize("rows", [0, 1, 1500])
async def test_a_cancelled_run_leaves_no_file(path: Path, rows: int) -> None:
    async def stuck(item: Any) -> Any:
        return item if item["n"] < rows else await trio.sleep_forever()

    items = ps.from_iterable({"n": n} for n in range(2000)).map_async(stuck, 1)
    with trio.CancelScope() as scope:
        async with items.to(ps.write_parquet(path, batch_rows=100)).open() as run:
            await until(lambda: run.stats().stages[-1].items_in >= rows)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert list(path.parent.iterdir()) == []


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.lowlevel.checkpoint()
