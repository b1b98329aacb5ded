"""What a file sink's path may be: a file, a link to one, a FIFO, a device."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def kept_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writing(path: object, items: list[Any] | None = None) -> ps.Pipeline[int]:
    target: Any = path
    return ps.from_iterable(items or ["new"]).to(ps.write_lines(target))


async def cause_of_failing(pipeline: ps.Pipeline[Any]) -> BaseException:
    with pytest.raises(ps.StageError) as caught:
        await pipeline.run()
    assert "partial" not in str(caught.value)
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


# Links


@pytest.mark.parametrize("link_to", ["real", "folder/real", "link to it"])
async def test_what_a_link_points_to_is_replaced(tmp_path: Path, link_to: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link to it").symlink_to("folder/real")
    real = tmp_path / ("real" if link_to == "real" else "folder/real")
    real.write_text("old\n")
    real.chmod(0o640)
    (tmp_path / "link").symlink_to(link_to)
    assert await writing(tmp_path / "link").run() == 1
    assert (tmp_path / "link").readlink() == Path(link_to)
    assert real.read_text() == "new\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


async def test_a_link_to_nothing_gets_a_file_to_point_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    await writing(tmp_path / "link").run()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"


async def test_a_link_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("none/real")
    cause = await cause_of_failing(writing(tmp_path / "link"))
    assert isinstance(cause, FileNotFoundError)
    assert cause.filename == str(tmp_path / "none")
    assert names_in(tmp_path) == ["link"]


async def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    cause = await cause_of_failing(writing(tmp_path / "link"))
    assert isinstance(cause, OSError)
    assert cause.filename == str(tmp_path / "link")
    assert names_in(tmp_path) == ["link"]


# FIFOs and devices


async def read_all(path: Path, pause: float = 0.0) -> bytes:
    def read() -> bytes:
        with path.open("rb") as file:
            return file.read()

    await trio.sleep(pause)
    return await trio.to_thread.run_sync(read)


@pytest.mark.parametrize("reader_comes_later", [False, True])
async def test_a_fifo_is_written_into(fifo: Path, reader_comes_later: bool) -> None:
    lines = [f"line {n}" for n in range(50_000)]
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await read_all(fifo, 0.1 if reader_comes_later else 0.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        assert await writing(fifo, lines).run() == len(lines)
    assert read[0].decode().splitlines() == lines
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert names_in(fifo.parent) == ["fifo"]


async def test_a_link_to_a_fifo_is_written_into(fifo: Path) -> None:
    link = fifo.with_name("link")
    link.symlink_to("fifo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writing(link).run)
        assert await read_all(fifo) == b"new\n"
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert link.is_symlink()


async def test_waiting_for_the_reader_of_a_fifo_can_be_cancelled(fifo: Path) -> None:
    with trio.move_on_after(0.1) as scope:
        await writing(fifo).run()
    assert scope.cancelled_caught
    assert names_in(fifo.parent) == ["fifo"]


async def test_writing_into_a_full_fifo_can_be_cancelled(fifo: Path) -> None:
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with trio.move_on_after(0.3) as scope:
            await writing(fifo, ["x" * 1000] * 10_000).run()
    finally:
        os.close(reading)
    assert scope.cancelled_caught
    assert names_in(fifo.parent) == ["fifo"]


async def test_a_fifo_whose_reader_goes(fifo: Path) -> None:
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    failing: list[BaseException] = []

    async def write() -> None:
        failing.append(await cause_of_failing(writing(fifo, ["x" * 1000] * 10_000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        while not select_readable(reading):
            await trio.lowlevel.checkpoint()
        os.close(reading)
    assert isinstance(failing[0], BrokenPipeError)
    assert failing[0].filename == str(fifo)


def select_readable(file: int) -> bool:
    try:
        return bool(os.read(file, 1))
    except BlockingIOError:
        return False


async def test_a_device_stays_one() -> None:
    before = os.stat("/dev/null")  # noqa: PTH116
    pipeline = ps.gather(writing("/dev/null"), writing("/dev/null", ["a", "b"]))
    assert await pipeline.run() == (1, 2)
    assert os.stat("/dev/null").st_rdev == before.st_rdev  # noqa: PTH116
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


async def test_a_device_that_is_full() -> None:
    cause = await cause_of_failing(writing("/dev/full"))
    assert isinstance(cause, OSError)
    assert (cause.strerror, cause.filename) == ("No space left on device", "/dev/full")


async def test_what_is_compressed_goes_into_a_fifo_compressed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.gz"
    os.mkfifo(fifo)
    packed: list[bytes] = []

    async def reader() -> None:
        packed.append(await read_all(fifo))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await writing(fifo, ["x"] * 1000).run()
    (tmp_path / "plain.gz").write_bytes(packed[0])
    assert await ps.read_lines(tmp_path / "plain.gz").to(ps.count()).run() == 1000


async def test_parquet_does_not_go_into_a_fifo(fifo: Path) -> None:
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        cause = await cause_of_failing(ps.from_iterable([{"a": 1}]).to(ps.write_parquet(fifo)))
    finally:
        os.close(reading)
    assert str(cause) == "a Parquet file can't be written into a FIFO or a device"


async def test_the_end_of_a_run_that_fails_comes_to_who_reads(fifo: Path) -> None:
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await read_all(fifo))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        with pytest.raises(ps.StageError, match="map"):
            await ps.from_iterable([1, 0]).map(lambda n: str(1 // n)).to(ps.write_lines(fifo)).run()
    assert read in ([b""], [b"1\n"])


def test_what_standard_output_goes_into_is_written_into(tmp_path: Path) -> None:
    program = (
        "import penstock as ps\n"
        "print('before', flush=True)\n"
        "ps.run(ps.from_iterable(['item']).to(ps.write_lines('/dev/stdout')))\n"
        "print('after')\n"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nitem\nafter\n"


# Folders and names


async def test_a_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    async with ps.every(3600).map(str).to(ps.write_lines(tmp_path / "out")).open() as run:
        with pytest.raises(ps.StageError, match="IsADirectoryError") as caught:
            await run.result()
    cause = caught.value.__cause__
    assert isinstance(cause, IsADirectoryError)
    assert cause.filename == str(tmp_path / "out")
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("length", [240, 244, 255])
async def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path, length: int) -> None:
    for name in ("n" * length, "ü" * (length // 2)):
        await writing(tmp_path / name).run()
        assert (tmp_path / name).read_text() == "new\n"


async def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    cause = await cause_of_failing(writing(tmp_path / ("n" * 256)))
    assert isinstance(cause, OSError)
    assert cause.filename == str(tmp_path / ("n" * 256))


@pytest.mark.parametrize(
    ("path", "missing"), [("none/out", "none"), ("a/b/out", "a/b"), ("file/out", "file")]
)
async def test_the_folder_that_is_not_there_is_told(
    tmp_path: Path, path: str, missing: str
) -> None:
    (tmp_path / "file").touch()
    cause = await cause_of_failing(writing(tmp_path / path))
    assert isinstance(cause, FileNotFoundError | NotADirectoryError)
    assert cause.filename in (str(tmp_path / missing), str(tmp_path / path))
    assert isinstance(cause, FileNotFoundError) == (missing != "file")
    if missing != "file":
        assert cause.filename == str(tmp_path / missing)


async def test_a_folder_that_goes_away_while_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def remove(item: str) -> str:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        return item

    async def late(item: str) -> str:
        while not names_in(folder):
            await trio.lowlevel.checkpoint()
        return item

    stream = ps.from_iterable(["a"]).map_async(late, 1).map(remove)
    cause = await cause_of_failing(stream.to(ps.write_lines(folder / "out")))
    assert isinstance(cause, FileNotFoundError)
    assert cause.filename == str(folder)


async def test_a_target_that_becomes_a_folder_while_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ps.StageError, match=r"write_lines\(out\) failed: ") as caught:
        async with ps.every(3600).map(str).to(ps.write_lines(tmp_path / "out")).open() as run:
            while not names_in(tmp_path):
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()
            (tmp_path / "out").mkdir()
            await run.stop()
    assert isinstance(caught.value.__cause__, IsADirectoryError)
    assert run.report().outcome == "failed"
    assert names_in(tmp_path) == ["out"]


@pytest.mark.usefixtures("kept_umask")
async def test_permissions_are_kept_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.touch()
    path.chmod(0o666)
    os.umask(0o077)
    await writing(path).run()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


Writer = Callable[[Path], ps.Sink[Any, int]]


@pytest.mark.parametrize("write", [ps.write_jsonl, ps.write_msgpack, ps.write_csv, ps.write_lines])
async def test_each_sink_writes_into_a_fifo(fifo: Path, write: Writer) -> None:
    item: Any = ["a"] if write is ps.write_csv else "a"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ps.from_iterable([item]).to(write(fifo)).run)
        assert b"a" in await read_all(fifo)
