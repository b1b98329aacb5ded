from __future__ import annotations

import csv
import datetime
import enum
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

import penstock as ps


@dataclass
class Point:
    x: int
    y: Any


class Place(msgspec.Struct, rename="upper"):
    name: str
    point: Point


class Pair(NamedTuple):
    a: int
    b: int


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


async def written(path: Path, items: list[Any], *columns: Any, **options: Any) -> str:
    pipeline = ps.from_iterable(items).to(ps.write_csv(path, *columns, **options))
    assert await pipeline.run() == len(items)
    return path.read_bytes().decode()


async def test_the_names_of_the_first_item_are_the_header(path: Path) -> None:
    assert await written(path, [{"a": 1, "b": 2}, {"b": 4, "a": 3}, {"b": 5}]) == (
        "a,b\n1,2\n3,4\n,5\n"
    )
    assert await written(path, [Point(1, 2.5)]) == "x,y\n1,2.5\n"
    assert await written(path, [Place("here", Point(1, None))]) == (
        'NAME,POINT\nhere,"{""x"":1,""y"":null}"\n'
    )
    assert await written(path, [Pair(1, 2)]) == "a,b\n1,2\n"
    assert await written(path, [OrderedDict(z=1, y=2)]) == "z,y\n1,2\n"


async def test_chosen_columns_are_the_header_and_all_that_is_written(path: Path) -> None:
    items = [{"a": 1, "b": 2}, Point(1, 2), [8, 9]]
    assert await written(path, items, ["y", "b"]) == "y,b\n,2\n2,\n8,9\n"
    assert await written(path, [], ["y", "b"]) == "y,b\n"
    assert await written(path, []) == ""


async def test_sequences_have_no_header(path: Path) -> None:
    assert await written(path, [[1, "a"], (2, None)], delimiter=";") == "1;a\n2;\n"


async def test_cells_are_quoted_where_they_must_be(path: Path) -> None:
    cells = ["a,b", 'say "so"', "two\nlines", "and\r", "", " x ", "=1+1", "\r\n", "\0"]
    await written(path, [cells, [""] * len(cells), cells])
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [cells, [""] * len(cells), cells]
    assert await written(path, [[""], [None], ["a"]]) == '""\n""\na\n'


async def test_cells_that_are_no_text(path: Path) -> None:
    day, id_ = datetime.date(2024, 5, 6), UUID(int=5)
    items = [[True, 1e300, Colour.RED, day, id_, [1, "a"], {"b": None}, ValueError("no"), b"\xff"]]
    assert await written(path, items, delimiter="|") == (
        f'true|1e+300|red|2024-05-06|{id_}|"[1,""a""]"|"{{""b"":null}}"|ValueError: no|/w==\n'
    )


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([{"a": 1}, {"a": 1, "b": 2}], r"item {'a': 1, 'b': 2}: ValueError: 'b' is no name that"),
        ([{"a": 1}, [1, 2]], r"item \[1, 2\]: ValueError: 2 cells, where the table has 1"),
        ([[1], {"a": 1}], r"item {'a': 1}: TypeError: an item with names"),
        ([[1], "a"], "item 'a': TypeError: write_csv takes mappings, .* not str"),
        ([3], "item 3: TypeError: write_csv takes mappings, .* not int"),
        ([[]], "item .*: ValueError: the first item has no cells"),
        ([{}], "item .*: ValueError: the first item has no cells"),
        ([["a"], ["\ud800"]], r"item \['\\ud800'\]: UnicodeEncodeError"),
        ([["a"], [object()]], r"item \[<object .*TypeError"),
    ],
)
async def test_what_is_no_row_of_the_table(path: Path, items: list[Any], problem: str) -> None:
    with pytest.raises(ps.StageError, match=rf"write_csv\(out.csv\) failed on {problem}"):
        await ps.from_iterable(items).to(ps.write_csv(path)).run()
    assert not path.exists()


def fail(item: Any) -> Any:
    raise ValueError(f"no {item!r}")


async def test_dead_letters_are_rows(path: Path) -> None:
    items = [1, "a,b", "\ud800", Point(1, 2), object, None]
    stream = ps.from_iterable(items).map(fail, errors=ps.dead_letter(ps.write_csv(path)))
    await stream.to(ps.drain()).run()
    rows = await ps.read_csv(path).to(ps.collect()).run()
    assert [row["item"] for row in rows] == [
        "1",
        "a,b",
        "\\ud800",
        '{"x":1,"y":2}',
        "<class 'object'>",
        "",
    ]
    assert [row["error"] for row in rows] == [f"ValueError: no {item!r}" for item in items]
    assert {(row["stage"], row["attempts"]) for row in rows} == {("map(fail)", "1")}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"columns": "ab"}, "columns must be different names"),
        ({"columns": []}, "columns must be different names"),
        ({"columns": ["a", "a"]}, "columns must be different names"),
        ({"delimiter": "\n"}, "delimiter must be one character"),
        ({"delimiter": 3}, "delimiter must be one character"),
    ],
)
def test_wrong_options_are_refused(path: Path, wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=f"write_csv: {problem}"):
        ps.write_csv(path, **wrong)


async def test_json_in_a_cell_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert await ps.from_iterable([[float("nan"), [None]]]).to(ps.write_csv(path)).run() == 1
    assert path.read_text() == "nan,[null]\n"
    bad = ["a", [1.5, float("nan")]]
    with pytest.raises(ps.StageError, match=r"ValueError: JSON has no NaN") as caught:
        await ps.from_iterable([bad]).to(ps.write_csv(path)).run()
    assert caught.value.item_repr == repr(bad)
