"""A change of files is told once it has settled, and only what is a change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock as Clock

from penstock_server.reload.watch import (
    LOOK_SECONDS,
    PATIENCE,
    SETTLE_SECONDS,
    Contents,
    next_change,
    read_files,
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    for path in paths:
        path.write_bytes(b"1")
    return paths


async def test_a_change_of_the_same_size_and_time_is_seen(
    autojump_clock: Clock, files: list[Path]
) -> None:
    known = read_files(files)
    times = files[0].stat()
    files[0].write_bytes(b"2")

    os.utime(files[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert await next_change(lambda: files, known) == {files[0]: b"2", files[1]: b"1"}
    assert trio.current_time() <= LOOK_SECONDS + 2 * SETTLE_SECONDS + 0.01


async def test_touching_a_file_is_no_change(autojump_clock: Clock, files: list[Path]) -> None:
    known = read_files(files)
    files[0].touch()
    with trio.move_on_after(10) as scope:
        await next_change(lambda: files, known)
    assert scope.cancelled_caught


async def test_a_change_that_is_taken_back_is_none(
    autojump_clock: Clock, files: list[Path]
) -> None:
    known = read_files(files)
    async with trio.open_nursery() as nursery:

        async def write_and_take_back() -> None:
            await trio.sleep(LOOK_SECONDS - 0.01)
            files[0].write_bytes(b"2")
            await trio.sleep(0.05)
            files[0].write_bytes(b"1")

        nursery.start_soon(write_and_take_back)
        with trio.move_on_after(10) as scope:
            await next_change(lambda: files, known)
        assert scope.cancelled_caught


async def test_several_steps_of_one_save_are_one_change(
    autojump_clock: Clock, files: list[Path]
) -> None:
    known = read_files(files)
    seen: list[Contents] = []
    async with trio.open_nursery() as nursery:

        async def save_in_steps() -> None:
            await trio.sleep(LOOK_SECONDS - 0.01)
            files[0].unlink()  # as an editor that moves the old one away first
            await trio.sleep(0.15)
            for step in range(4):
                files[0].write_bytes(b"part %d" % step)
                await trio.sleep(SETTLE_SECONDS - 0.01)

        nursery.start_soon(save_in_steps)
        seen.append(await next_change(lambda: files, known))
        with trio.move_on_after(10) as scope:
            await next_change(lambda: files, known | seen[0])
        assert scope.cancelled_caught
    assert seen == [{files[0]: b"part 3", files[1]: b"1"}]


async def test_a_file_that_stays_away_is_told_in_the_end(
    autojump_clock: Clock, files: list[Path]
) -> None:
    known = read_files(files)
    files[0].unlink()
    now = await next_change(lambda: files, known)
    assert now[files[0]] is None
    assert LOOK_SECONDS + PATIENCE <= trio.current_time() <= 2 * (LOOK_SECONDS + PATIENCE)


async def test_a_file_that_is_always_written_to_is_told_in_the_end(
    autojump_clock: Clock, files: list[Path]
) -> None:
    known = read_files(files)
    async with trio.open_nursery() as nursery:

        async def write_on_and_on() -> None:
            for step in range(1000):
                files[0].write_bytes(b"%d" % step)
                await trio.sleep(SETTLE_SECONDS / 2)

        nursery.start_soon(write_on_and_on)
        await next_change(lambda: files, known)
        assert trio.current_time() <= 2 * (LOOK_SECONDS + PATIENCE)
        nursery.cancel_scope.cancel()


async def test_a_file_that_comes_into_view_is_taken_as_it_is(
    autojump_clock: Clock, files: list[Path]
) -> None:
    known = read_files(files[:1])
    async with trio.open_nursery() as nursery:

        async def change_it_later() -> None:
            await trio.sleep(5)
            files[1].write_bytes(b"new")

        nursery.start_soon(change_it_later)
        now = await next_change(lambda: files, known)
    assert now[files[1]] == b"new"
    assert trio.current_time() >= 5
