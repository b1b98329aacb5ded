from __future__ import annotations

import datetime
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps


@dataclass
class Point:
    x: int
    y: int


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


WRITERS: list[Any] = [ps.write_lines, ps.write_jsonl]
each_writer = pytest.mark.parametrize("write", WRITERS, ids=lambda f: f.__name__)


@pytest.mark.parametrize("size", [0, 1, 1024, 1025])
async def test_lines_are_written_in_order_and_counted(tmp_path: Path, size: int) -> None:
    path = tmp_path / "out.txt"
    lines = [f"line {n} ü" for n in range(size)]
    assert await ps.from_iterable(lines).to(ps.write_lines(path)).run() == size
    assert path.read_text("utf-8") == "".join(f"{line}\n" for line in lines)


async def test_json_lines_hold_what_msgspec_knows(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    items = [{"a": None}, Point(1, 2), datetime.date(2024, 1, 2), "ü"]
    assert await ps.from_iterable(items).to(ps.write_jsonl(str(path))).run() == 4
    values = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert values == [{"a": None}, {"x": 1, "y": 2}, "2024-01-02", "ü"]


async def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    points = [Point(n, -n) for n in range(3000)]
    path = tmp_path / "points.jsonl"
    await ps.from_iterable(points).to(ps.write_jsonl(path)).run()
    assert await ps.read_jsonl(path, Point).to(ps.collect()).run() == points


@each_writer
async def test_a_failing_run_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, write: Any
) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    for buffered in (False, True):
        stream = ps.from_iterable(range(5000)).map(lambda n: str(1 // (n - 4000)))
        stream = stream.buffer(5000) if buffered else stream
        with pytest.raises(ps.StageError, match="map"):
            await stream.to(write(path)).run()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["out"]


@each_writer
async def test_a_cancelled_run_leaves_no_file(tmp_path: Path, write: Any) -> None:
    with trio.CancelScope() as scope:
        async with ps.every(3600).map(str).to(write(tmp_path / "out")).open():
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert names_in(tmp_path) == []


async def test_a_run_that_is_cut_off_while_a_chunk_is_written_leaves_no_file(
    tmp_path: Path,
) -> None:
    # The producer ends by its cancellation while the sink is in its thread: that is no end.
    for _ in range(20):
        source = ps.from_iterable(range(100_000), blocking=True).map(str)
        with trio.CancelScope() as scope:
            async with source.to(ps.write_lines(tmp_path / "out")).open() as run:
                while run.stats().stages[-1].items_in < 5000:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        assert names_in(tmp_path) == []


async def test_a_run_stopped_at_its_deadline_leaves_no_file(tmp_path: Path) -> None:
    async def stuck(item: str) -> str:
        return await trio.sleep_forever()

    stream = ps.from_iterable(["a"]).map_async(stuck, 1)
    async with stream.to(ps.write_lines(tmp_path / "out")).open() as run:
        await wait_all_tasks_blocked()
        await run.stop(0)
    assert names_in(tmp_path) == []


async def test_a_new_file_has_ordinary_permissions_and_an_old_one_keeps_its_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "ordinary").touch()
    path = tmp_path / "out"
    pipeline = ps.from_iterable(["a"]).to(ps.write_lines(path))
    await pipeline.run()
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    path.chmod(0o604)
    await pipeline.run()
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize("item", ["two\nlines", "a\rb", b"bytes", 3])
async def test_write_lines_refuses_what_is_not_one_line(tmp_path: Path, item: Any) -> None:
    pipeline = ps.from_iterable(["ok", item]).to(ps.write_lines(tmp_path / "out"))
    with pytest.raises(ps.StageError, match=r"write_lines\(out\) failed on item") as caught:
        await pipeline.run()
    assert caught.value.item_repr == repr(item)


async def test_write_jsonl_refuses_what_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ps.StageError, match=r"write_jsonl\(out\) failed on item <object"):
        await ps.from_iterable([object()]).to(ps.write_jsonl(tmp_path / "out")).run()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    pipeline = ps.from_iterable(["a"]).to(ps.write_lines(tmp_path / "none" / "out"))
    with pytest.raises(ps.StageError, match=r"write_lines\(out\) failed: FileNotFoundError"):
        await pipeline.run()


async def test_a_target_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ps.StageError, match=r"write_lines\(out\) failed: "):
        await ps.from_iterable(["a"]).to(ps.write_lines(tmp_path / "out")).run()
    assert names_in(tmp_path) == ["out"]


@each_writer
def test_a_path_is_wanted(write: Any) -> None:
    with pytest.raises(ps.PipelineError, match=f"{write.__name__}: path must be a path, got 3"):
        write(3)
