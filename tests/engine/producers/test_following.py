from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps
from penstock.producers.following import Follower


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file that has a line already."""
    path = tmp_path / "log"
    path.write_text("before\n")
    return path


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@asynccontextmanager
async def following(path: Path, **options: Any) -> AsyncIterator[ps.Receiver[str]]:
    """The lines, once the file has been looked at."""
    async with ps.follow(path, **options).open() as lines:
        await first_look_is_over()
        yield lines


async def first_look_is_over() -> None:
    while trio.to_thread.current_default_thread_limiter().borrowed_tokens:
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()


def open_files() -> list[str]:
    links = Path("/proc/self/fd").iterdir()
    return sorted(str(link.readlink()) for link in links if link.is_file())


async def take(lines: ps.Receiver[str], number: int) -> list[str]:
    taken: list[str] = []
    async for line in lines:
        taken.append(line)
        if len(taken) == number:
            break
    return taken


async def test_lines_come_as_they_are_added(log: Path, autojump_clock: MockClock) -> None:
    async with following(log) as lines:
        add(log, "one\ntwo\r\nthr")
        assert await take(lines, 2) == ["one", "two"]
        add(log, "ee\n\n")
        assert await take(lines, 2) == ["three", ""]


async def test_from_the_start(log: Path, autojump_clock: MockClock) -> None:
    async with following(log, from_start=True) as lines:
        assert await take(lines, 1) == ["before"]
        add(log, "one\n")
        assert await take(lines, 1) == ["one"]


async def test_it_waits_for_a_file_and_looks_at_it_at_its_pace(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "folder" / "log"

    async def make_it() -> None:
        await trio.sleep(100)
        path.parent.mkdir()
        path.write_text("one\n")

    async with trio.open_nursery() as nursery, following(path, poll=30) as lines:
        nursery.start_soon(make_it)
        assert await take(lines, 1) == ["one"]
    assert trio.current_time() >= 100


async def test_rotation(log: Path, autojump_clock: MockClock) -> None:
    async with following(log) as lines:
        add(log, "one\n")
        log.rename(log.with_suffix(".1"))
        add(log.with_suffix(".1"), "late\n")
        log.write_text("two\n")
        assert await take(lines, 3) == ["one", "late", "two"]


async def test_truncation(log: Path, autojump_clock: MockClock) -> None:
    async with following(log) as lines:
        add(log, "one\nhalf a line")
        assert await take(lines, 1) == ["one"]
        log.write_text("two\n")
        assert await take(lines, 1) == ["two"]


async def test_it_ends_when_it_is_told_to(log: Path, autojump_clock: MockClock) -> None:
    pipeline = ps.follow(log, from_start=True).to(ps.collect())
    async with pipeline.open() as run:
        while not run.stats().stages[-1].items_in:
            await trio.lowlevel.checkpoint()
        await run.stop()
        assert await run.result() == ["before"]
    assert run.report().outcome == "stopped"


async def test_cancelled_it_closes_the_file(log: Path, autojump_clock: MockClock) -> None:
    before = open_files()
    with trio.move_on_after(10):
        await ps.follow(log).to(ps.drain()).run()
    assert open_files() == before


async def test_a_line_that_is_no_text(log: Path, autojump_clock: MockClock) -> None:
    with log.open("ab") as file:
        file.write(b"\xff\nafter\n")
    async with following(log, from_start=True, errors="skip") as lines:
        assert await take(lines, 2) == ["before", "after"]
    with pytest.raises(ps.StageError, match=r"decode failed on item b'\\xff\\n': .*log: 'utf-8'"):
        await ps.follow(log, from_start=True).to(ps.drain()).run()


async def test_a_line_that_is_too_long(log: Path, autojump_clock: MockClock) -> None:
    add(log, "x" * 101)
    with pytest.raises(ps.StageError, match=r"follow\(log\) failed: LineTooLong: .*log: a line of"):
        await ps.follow(log, from_start=True, max_line_bytes=100).to(ps.drain()).run()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
async def test_what_is_no_file_is_an_error(
    tmp_path: Path, make: Callable[[Path], None], autojump_clock: MockClock
) -> None:
    make(tmp_path / "log")
    with pytest.raises(ps.StageError, match=r"follow\(log\) failed: .*(no regular file|Is a dir)"):
        await ps.follow(tmp_path / "log").to(ps.drain()).run()


def test_it_is_known_to_be_endless(log: Path) -> None:
    (node,) = ps.follow(log)._node.inputs
    assert node.traits.endless


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"path": 3}, "path must be a path, got 3"),
        ({"path": "log.gz"}, "log.gz is compressed"),
        ({"poll": 0}, "poll must be more than 0 seconds"),
        ({"max_line_bytes": 0}, "max_line_bytes must be a whole number"),
        ({"errors": ps.retry(2)}, r"errors can't be retry\(…\)"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=f"follow: {problem}"):
        ps.follow(**{"path": "log", **wrong})


# What one look does


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    with closing(Follower(tmp_path / "log", 1000)) as follower:
        yield follower


def looks(follower: Follower, times: int = 10) -> list[str]:
    """What is found in so many looks, which is more than any one change needs."""
    follower.lines = []
    for _ in range(times):
        follower.look()
    return [line.decode() for line in follower.lines]


def test_the_end_of_a_file_is_behind_its_last_whole_line(log: Path, follower: Follower) -> None:
    add(log, "begun")
    follower.skip_to_end()
    assert looks(follower) == []
    add(log, " and done\nmore\n")
    assert looks(follower) == ["begun and done\n", "more\n"]


@pytest.mark.parametrize("held", [0, 1, 999, 1000, 1001, 300_000])
def test_what_is_longer_than_a_line_may_be_is_not_begun_with(
    tmp_path: Path, follower: Follower, held: int
) -> None:
    log = tmp_path / "log"
    log.write_text("x" * held)
    follower.skip_to_end()
    add(log, "\nmore\n")
    assert looks(follower) == ["x" * (held if held < 1001 else 0) + "\n", "more\n"]


def test_a_file_is_left_only_when_it_stays_quiet(log: Path, follower: Follower) -> None:
    old = log.with_suffix(".1")
    assert looks(follower) == ["before\n"]
    log.rename(old)
    log.write_text("new\n")
    assert looks(follower, 1) == []
    add(old, "late\nhalf")
    assert looks(follower, 2) == ["late\n"]
    assert looks(follower) == ["half", "new\n"]


def test_a_file_that_is_removed_is_read_on_and_the_next_waited_for(
    log: Path, follower: Follower
) -> None:
    looks(follower, 1)
    with log.open("a") as writer:
        log.unlink()
        writer.write("late\n")
        writer.flush()
        assert looks(follower) == ["before\n", "late\n"]
        log.write_text("new\n")
        assert looks(follower) == ["new\n"]


@pytest.mark.parametrize("longer", [False, True])
def test_a_file_that_is_written_anew_is_known_by_its_bytes(
    log: Path, follower: Follower, longer: bool
) -> None:
    add(log, "half")
    assert looks(follower) == ["before\n"]
    text = "other\nlines\n" + "and more\n" * 1000 * longer
    log.write_text(text)
    assert looks(follower, 1000) == text.splitlines(keepends=True)


def test_a_folder_that_takes_the_name_is_an_error(log: Path, follower: Follower) -> None:
    looks(follower)
    log.unlink()
    log.mkdir()
    with pytest.raises(ValueError, match="no regular file"):
        looks(follower)


def test_a_large_file_is_read_a_piece_at_a_time(tmp_path: Path, follower: Follower) -> None:
    text = [f"{n:099}\n" for n in range(10_000)]
    (tmp_path / "log").write_text("".join(text))
    follower.look()
    follower.look()
    assert 1000 < len(follower.lines) < 4000
    found = [line.decode() for line in follower.lines] + looks(follower)
    assert found == text
