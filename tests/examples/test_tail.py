"""``examples/tail.py``: what a file gets, through its rotation and truncation."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..e2e.serving import ROOT

Lines = Callable[[], list[str]]

MODULE: dict[str, Any] = runpy.run_path(str(ROOT / "examples" / "tail.py"))
AT_ONCE: int = MODULE["AT_ONCE"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(path: Path) -> Path:
    """A file that has a line already."""
    path.write_text("before\n")
    return path


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def new_lines(path: Path) -> Iterator[Lines]:
    with closing(MODULE["Tail"](path)) as tail:
        yield tail.new_lines


def test_only_what_is_added(log: Path, new_lines: Lines) -> None:
    assert new_lines() == []
    add(log, "one\ntwo\r\nthr")
    assert new_lines() == ["one", "two"]
    add(log, "ee\n\n")
    assert new_lines() == ["three", ""]
    assert new_lines() == []


def test_a_file_that_comes_later_is_read_from_its_beginning(path: Path, new_lines: Lines) -> None:
    assert new_lines() == []
    path.write_text("one\n")
    assert new_lines() == ["one"]


def test_rotation_loses_nothing(log: Path, new_lines: Lines) -> None:
    add(log, "one\n")
    log.rename(log.with_suffix(".1"))
    assert new_lines() == ["one"]
    add(log.with_suffix(".1"), "late\nhalf a line")
    log.write_text("two\n")
    assert new_lines() == ["late"]  # the old file to its end, before the new one
    assert new_lines() == ["half a line", "two"]
    add(log, "three\n")
    assert new_lines() == ["three"]


def test_a_truncated_file_is_read_from_its_beginning(log: Path, new_lines: Lines) -> None:
    add(log, "one\nhalf a line")
    assert new_lines() == ["one"]
    log.write_text("two\n")
    assert new_lines() == ["two"]


def test_a_file_that_is_removed_is_waited_for(log: Path, new_lines: Lines) -> None:
    log.unlink()
    assert new_lines() == []
    log.write_text("one\n")
    assert new_lines() == ["one"]


def test_what_is_no_text_is_shown_as_far_as_it_can_be(log: Path, new_lines: Lines) -> None:
    with log.open("ab") as file:
        file.write(b"\xff\x00\n")
    assert new_lines() == ["\ufffd\x00"]


def test_what_is_held_has_a_bound(log: Path, new_lines: Lines) -> None:
    add(log, "x" * (2 * AT_ONCE + 1))
    assert [len(line) for line in [*new_lines(), *new_lines(), *new_lines()]] == [AT_ONCE] * 2
    add(log, "\n")
    assert new_lines() == ["x"]
