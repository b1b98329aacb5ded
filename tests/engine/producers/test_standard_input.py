from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps


@pytest.fixture
def kept() -> Iterator[None]:
    """Standard input is what it was, in the end."""
    before = os.dup(0)
    yield
    os.dup2(before, 0)
    os.close(before)


@pytest.fixture
def pipe(kept: None) -> Iterator[int]:
    """A pipe is standard input; this is its other end."""
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    try:
        os.close(writing)
    except OSError:
        return  # the test has closed it


async def test_lines_come_as_they_are_written(pipe: int) -> None:
    async with ps.stdin_lines().open() as lines:
        os.write(pipe, b"one\r\ntwo\nthr")
        assert await lines.chunk() == ["one", "two"]
        os.write(pipe, b"ee\n")
        assert await lines.chunk() == ["three"]
        os.write(pipe, b"\nlast")
        os.close(pipe)
        assert [line async for line in lines] == ["", "last"]


async def test_waiting_for_a_pipe_can_be_cancelled(pipe: int) -> None:
    with trio.CancelScope() as scope:
        async with ps.stdin_lines().to(ps.drain()).open():
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert os.get_blocking(0)
    os.write(pipe, b"still there\n")
    assert await ps.stdin_lines().take(1).to(ps.collect()).run() == ["still there"]


async def test_stopped_it_ends(pipe: int) -> None:
    async with ps.stdin_lines().to(ps.collect()).open() as run:
        os.write(pipe, b"one\n")
        while not run.stats().stages[-1].items_in:
            await trio.lowlevel.checkpoint()
        await run.stop()
        assert await run.result() == ["one"]


@pytest.mark.usefixtures("kept")
async def test_a_regular_file(tmp_path: Path) -> None:
    text = [f"line {n}" for n in range(20_000)]
    (tmp_path / "in").write_text("\n".join(text))
    file = os.open(tmp_path / "in", os.O_RDONLY)
    os.dup2(file, 0)
    os.close(file)
    assert await ps.stdin_lines().to(ps.collect()).run() == text


@pytest.mark.usefixtures("kept")
async def test_a_terminal() -> None:
    ours, theirs = pty.openpty()
    os.dup2(theirs, 0)
    os.close(theirs)
    try:
        async with ps.stdin_lines().open() as lines:
            await wait_all_tasks_blocked()
            os.write(ours, b"typed\n")
            assert await lines.chunk() == ["typed"]
            os.write(ours, b"\x04")  # Ctrl-D
            assert [line async for line in lines] == []
        os.write(ours, b"\x04")
        assert await ps.stdin_lines().to(ps.collect()).run() == []
    finally:
        os.close(ours)


async def test_bad_text_is_told_by_its_number(pipe: int) -> None:
    os.write(pipe, b"one\n\xff\nthree\n")
    os.close(pipe)
    with pytest.raises(
        ps.StageError, match=r"decode failed on item b'\\xff\\n': .*standard input:2"
    ):
        await ps.stdin_lines().to(ps.drain()).run()


async def test_a_line_that_is_too_long(pipe: int) -> None:
    os.write(pipe, b"one\n" + b"x" * 101)
    with pytest.raises(ps.StageError, match=r"stdin_lines failed: .*standard input:2: a line of"):
        await ps.stdin_lines(max_line_bytes=100).to(ps.drain()).run()


async def test_two_runs_do_not_read_it_at_a_time(pipe: int) -> None:
    async with ps.stdin_lines().open() as lines:
        os.write(pipe, b"one\n")
        with pytest.raises(ps.StageError, match=r"stdin_lines failed: .*another stdin_lines reads"):
            await ps.stdin_lines().to(ps.drain()).run()
        assert await lines.chunk() == ["one"]
    os.write(pipe, b"two\n")
    os.close(pipe)
    assert await ps.stdin_lines().to(ps.collect()).run() == ["two"]


async def test_a_run_for_which_another_left_nothing(pipe: int) -> None:
    os.write(pipe, b"one\ntwo\n")
    os.close(pipe)
    assert await ps.stdin_lines().take(1).to(ps.collect()).run() == ["one"]
    with pytest.raises(ps.StageError, match=r"stdin_lines failed: .*an earlier run has taken all"):
        await ps.stdin_lines().to(ps.collect()).run()


def test_an_input_that_was_empty_is_empty_again(pipe: int) -> None:
    os.close(pipe)
    for _ in range(2):
        assert ps.run(ps.stdin_lines().to(ps.collect())) == []


def test_a_later_trio_does_not_read_it_either(pipe: int) -> None:
    os.write(pipe, b"one\n")
    os.close(pipe)
    assert ps.run(ps.stdin_lines().to(ps.collect())) == ["one"]
    with pytest.raises(ps.StageError, match="an earlier run has taken all"):
        ps.run(ps.stdin_lines().to(ps.collect()))


async def test_a_mark_of_the_byte_order_is_no_part_of_the_first_line(pipe: int) -> None:
    os.write(pipe, b"\xef\xbb\xbfone\ntwo\n")
    os.close(pipe)
    assert await ps.stdin_lines().to(ps.collect()).run() == ["one", "two"]


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ps.PipelineError, match=r"stdin_lines: errors can't be retry"):
        ps.stdin_lines(errors=ps.retry(2))
    with pytest.raises(ps.PipelineError, match="stdin_lines: max_line_bytes must be a whole"):
        ps.stdin_lines(max_line_bytes=0)
