from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import penstock as ps


@dataclass
class Point:
    x: int
    y: int


async def test_lines_come_without_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("one\r\ntwo\n\n  three\nfünf".encode())
    lines = await ps.read_lines(path).to(ps.collect()).run()
    assert lines == ["one", "two", "", "  three", "fünf"]


async def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert await ps.read_lines(tmp_path / "empty").to(ps.collect()).run() == []


async def test_a_file_larger_than_a_piece_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    expected = [f"{n:0100}" for n in range(10_000)]
    path.write_text("\n".join(expected) + "\n")
    assert await ps.read_lines(str(path)).to(ps.collect()).run() == expected


async def test_a_missing_file_is_a_failure_of_the_stage(tmp_path: Path) -> None:
    with pytest.raises(ps.StageError, match=r"read_lines\(none\) failed: FileNotFoundError"):
        await ps.read_lines(tmp_path / "none").to(ps.collect()).run()


async def test_what_is_not_utf_8_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"fine\nf\xfcnf\n")
    with pytest.raises(ps.StageError, match=r"latin.txt:2: .*utf-8") as caught:
        await ps.read_lines(path).to(ps.collect()).run()
    assert caught.value.item_repr == repr(b"f\xfcnf\n")


async def test_json_lines_without_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "values.jsonl"
    path.write_text('{"a": 1}\n\n  \n[2]\nnull')
    assert await ps.read_jsonl(path).to(ps.collect()).run() == [{"a": 1}, [2], None]


async def test_json_lines_of_a_type_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    path.write_text('{"x": 1, "y": 2}\n')
    assert await ps.read_jsonl(path, Point).to(ps.collect()).run() == [Point(1, 2)]
    path.write_text('{"x": 1, "y": 2}\n{"x": "one", "y": 2}\n')
    with pytest.raises(ps.StageError, match=r"points.jsonl:2: Expected `int`, got `str`"):
        await ps.read_jsonl(path, Point).to(ps.collect()).run()


@pytest.mark.parametrize("line", [b"{", b'"\xff"', b"{} {}"])
async def test_what_is_not_json_is_told_by_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"1\n" + line + b"\n")
    with pytest.raises(ps.StageError, match=r"decode failed on item .*bad.jsonl:2: "):
        await ps.read_jsonl(path).to(ps.collect()).run()


@pytest.mark.parametrize("read", [ps.read_lines, ps.read_jsonl])
def test_a_path_is_wanted(read: Any) -> None:
    with pytest.raises(ps.PipelineError, match=f"{read.__name__}: path must be a path, got 3"):
        read(3)
