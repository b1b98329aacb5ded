from __future__ import annotations

import csv
import datetime
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

import penstock as ps


@dataclass
class Reading:
    room: str
    degrees: float | None
    day: datetime.date
    note: str | None = None


async def rows_of(path: Path, **options: Any) -> list[Any]:
    return await ps.read_csv(path, **options).to(ps.collect()).run()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.csv"


async def test_rows_are_dicts_by_the_header(path: Path) -> None:
    path.write_text('a,b\r\n1,x\r\n\r\n2,"y, ""z"""\n3,\n')
    assert await rows_of(path) == [
        {"a": "1", "b": "x"},
        {"a": "2", "b": 'y, "z"'},
        {"a": "3", "b": ""},
    ]


async def test_cells_may_hold_lines(path: Path) -> None:
    path.write_bytes(b'a,"b\nc"\n"1\r\n\n2",x\n3,"4\n' + b'5"')
    assert await rows_of(path) == [
        {"a": "1\r\n\n2", "b\nc": "x"},
        {"a": "3", "b\nc": "4\n5"},
    ]


async def test_a_cell_may_end_in_another_piece(path: Path) -> None:
    long = "".join(f"line {n}\n" for n in range(2000))
    rows = [["id", "text"], *([str(n), long[: n * 37]] for n in range(400))]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert path.stat().st_size > 2_000_000
    assert await rows_of(path, header=False) == rows


async def test_without_a_header_rows_are_lists(path: Path) -> None:
    path.write_text("1;x\n\n2;y;z\n")
    assert await rows_of(path, header=False, delimiter=";") == [["1", "x"], ["2", "y", "z"]]
    assert await rows_of(path, header=["n", "a"], delimiter=";", errors="skip") == [
        {"n": "1", "a": "x"}
    ]


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n", "\na,b\n\n"])
async def test_a_file_may_have_no_rows(path: Path, content: str) -> None:
    path.write_text(content)
    assert await rows_of(path) == []


async def test_a_byte_order_mark_is_no_text(path: Path) -> None:
    path.write_bytes("\ufeffa,b\n1,\ufeff\n".encode())
    assert await rows_of(path) == [{"a": "1", "b": "\ufeff"}]


async def test_rows_are_converted_to_a_type(path: Path) -> None:
    path.write_text("day,room,degrees,note\n2024-05-06,hall,21.5,\n2024-05-07,loft,,cold\n")
    assert await rows_of(path, type=Reading) == [
        Reading("hall", 21.5, datetime.date(2024, 5, 6), ""),
        Reading("loft", None, datetime.date(2024, 5, 7), "cold"),
    ]


async def test_a_type_may_be_a_struct_and_a_column_may_be_missing(path: Path) -> None:
    class Point(msgspec.Struct, rename="upper"):
        x: int
        y: int | None = 5

    path.write_text("X,Z\n3,9\n")
    assert await rows_of(path, type=Point) == [Point(3, 5)]
    path.write_text("3,\n")
    assert await rows_of(path, type=Point, header=["X", "Y"]) == [Point(3, None)]


async def test_rows_without_a_header_are_converted_to_tuples(path: Path) -> None:
    path.write_text("1,2.5,true\n")
    assert await rows_of(path, type=tuple[int, float, bool], header=False) == [(1, 2.5, True)]


BAD: dict[str, tuple[bytes, str]] = {
    "too few cells": (b"a,b\n1,2\n3\n", r":3: 1 cells, where the header has 2"),
    "too many": (b"a,b\n1,2\n3,4,5\n", r":3: 3 cells, where the header has 2"),
    "an open quote": (b'a,b\n1,2\n\n3,"4\n5\n', r":4: the file ends inside a quoted cell"),
    "not UTF-8": (b"a,b\n1,2\n\xff,4\n", r":3: .*utf-8"),
    "not UTF-8 within a cell": (b'a,b\n1,2\n3,"\n\xff"\n', r":3: .*utf-8"),
    "not CSV": (b"a,b\n1,2\n3,4\r5,6\n", r":3: new-line character"),
    "after a cell of lines": (b'a,b\n"1\n\n",2\n3\n', r":5: 1 cells"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_row_is_told_by_its_line(path: Path, case: str) -> None:
    content, problem = BAD[case]
    path.write_bytes(content)
    with pytest.raises(ps.StageError, match=f"decode failed on item .*some.csv{problem}"):
        await rows_of(path)


@pytest.mark.parametrize("case", BAD)
async def test_bad_rows_are_left_out_and_the_others_go_on(path: Path, case: str) -> None:
    content, problem = BAD[case]
    path.write_bytes(content if "quote" in case else content + b"7,8\n")
    good = {"a": "1\n\n" if "lines" in case else "1", "b": "2"}
    expected = [good] if "quote" in case else [good, {"a": "7", "b": "8"}]
    assert await rows_of(path, errors="skip") == expected
    letters: list[ps.DeadLetter[Any]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    assert await rows_of(path, errors=errors) == expected
    (letter,) = letters
    place = str(letter.error).removeprefix(str(path))
    assert place.startswith(problem.partition(" ")[0])


async def test_what_is_not_of_the_type_is_shown_by_its_names(path: Path) -> None:
    path.write_text("room,degrees,day\nhall,warm,2024-05-06\nloft,3,2024-05-07\n")
    with pytest.raises(ps.StageError, match=r"some.csv:2: Expected `float \| null`") as caught:
        await rows_of(path, type=Reading)
    shown = {"room": "hall", "degrees": "warm", "day": "2024-05-06"}
    assert caught.value.item_repr == repr(shown)
    assert len(await rows_of(path, type=Reading, errors="skip")) == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b,a\n1,2,3\n", ":1: the header has 'a' twice"),
        (b"\n\xff,b\n1,2\n", ":2: .*utf-8"),
    ],
)
@pytest.mark.parametrize("errors", ["raise", "skip"])
async def test_a_bad_header_is_always_an_error(
    path: Path, content: bytes, problem: str, errors: Any
) -> None:
    path.write_bytes(content)
    with pytest.raises(ps.StageError, match=f"some.csv{problem}"):
        await rows_of(path, errors=errors)


@pytest.fixture
def no_limit_for_cells() -> Iterator[None]:
    before = csv.field_size_limit(1 << 30)
    yield
    csv.field_size_limit(before)


@pytest.mark.usefixtures("no_limit_for_cells")
async def test_a_quote_that_is_never_closed_does_not_grow_memory(path: Path) -> None:
    with path.open("w") as file:
        file.write('a,b\n1,"')
        file.writelines(["some cells, and more of them\n"] * 20_000)
    with pytest.raises(ps.StageError, match=r"some.csv:2: a row of over 100,000 bytes"):
        await rows_of(path, max_row_bytes=100_000)


async def test_a_cell_has_a_limit_of_pythons_own(path: Path) -> None:
    path.write_text("a,b\n1," + "x" * 200_000 + "\n3,4\n")
    with pytest.raises(ps.StageError, match=r"some.csv:2: field larger than field limit"):
        await rows_of(path)
    assert await rows_of(path, errors="skip") == [{"a": "3", "b": "4"}]


async def test_a_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "some.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n"))
    assert await rows_of(path) == [{"a": "1"}]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"delimiter": ""}, "delimiter must be one character"),
        ({"delimiter": ";;"}, "delimiter must be one character"),
        ({"delimiter": '"'}, "delimiter must be one character"),
        ({"header": "abc"}, "header must be different names"),
        ({"header": []}, "header must be different names"),
        ({"header": ["a", "a"]}, "header must be different names"),
        ({"header": ["a", 1]}, "header must be different names"),
        ({"max_row_bytes": 0}, "max_row_bytes must be a whole number"),
    ],
)
def test_wrong_options_are_refused(path: Path, wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=f"read_csv: {problem}"):
        ps.read_csv(path, **wrong)


@pytest.mark.parametrize("errors", ["raise", "skip"])
async def test_a_header_that_is_no_csv_is_shown_as_it_is(tmp_path: Path, errors: Any) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b'a,"b\n1,2\n')
    with pytest.raises(ps.StageError, match="ends inside a quoted cell") as caught:
        await ps.read_csv(path, errors=errors).to(ps.collect()).run()
    assert caught.value.item_repr == repr('a,"b\n1,2')
