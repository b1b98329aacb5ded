from __future__ import annotations

import datetime
import gzip
import resource
import stat
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import Any, cast

import msgspec
import pytest
import trio
import zstandard
from trio.testing import wait_all_tasks_blocked

import penstock as ps


@dataclass
class Point:
    x: int
    y: int


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


WRITERS: list[Any] = [ps.write_lines, ps.write_jsonl, ps.write_msgpack]
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


@pytest.mark.parametrize(
    "write", [*WRITERS, ps.write_csv, ps.write_parquet], ids=lambda f: f.__name__
)
def test_a_path_is_wanted(write: Any) -> None:
    with pytest.raises(ps.PipelineError, match=f"{write.__name__}: path must be a path, got 3"):
        write(3)


async def test_json_lines_of_what_json_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    items = [object(), {"a": [complex(1, 2)]}, ValueError("no\nline"), 3]
    pipeline = ps.from_iterable(items).to(ps.write_jsonl(path, default=lambda _: "?"))
    assert await pipeline.run() == 4
    assert path.read_text() == '"?"\n{"a":["?"]}\n"ValueError: no\\nline"\n3\n'


async def test_an_error_of_the_default_names_the_item(tmp_path: Path) -> None:
    def default(item: Any) -> Any:
        raise ZeroDivisionError

    pipeline = ps.from_iterable([1, 2j]).to(ps.write_jsonl(tmp_path / "out", default))
    with pytest.raises(ps.StageError, match=r"failed on item 2j: ZeroDivisionError"):
        await pipeline.run()


@pytest.mark.parametrize("write", [ps.write_jsonl, ps.write_msgpack])
def test_the_default_is_an_ordinary_function(tmp_path: Path, write: Any) -> None:
    async def later(item: Any) -> Any: ...

    for wrong in (3, later):
        with pytest.raises(ps.PipelineError, match=f"{write.__name__}: default must be"):
            write(tmp_path / "out", wrong)


async def test_what_a_piece_holds_besides_the_bad_item_makes_no_difference(tmp_path: Path) -> None:
    bads: list[Any] = ["a\nb", "a\rb", "\ud800", 3]
    for bad in bads:
        items = ["x"] * 300 + [bad] + ["y"] * 300
        with pytest.raises(ps.StageError) as caught:
            await ps.from_iterable(items).to(ps.write_lines(tmp_path / "out")).run()
        assert caught.value.item_repr == repr(bad)


def fail(item: Any) -> Any:
    raise ValueError(f"no\n{item!r}")


class Odd:
    def __repr__(self) -> str:
        return "<an odd\none>"


@each_writer
async def test_dead_letters_can_be_written_by_any_sink(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "letters"
    items = [1, "ü", "\ud800", b"\xff", Odd(), Point(1, 2), 2**80, None, {1: Odd()}]
    stream = ps.from_iterable(items).map(fail, errors=ps.dead_letter(write(path)))
    assert await stream.to(ps.count()).run() == 0
    if write is ps.write_lines:
        lines = await ps.read_lines(path).to(ps.collect()).run()
        assert lines[0] == "map(fail) failed on 1: ValueError: no\\n1"
        assert len(lines) == len(items)
        return
    read: Any = ps.read_jsonl if write is ps.write_jsonl else ps.read_msgpack
    letters = await read(path).to(ps.collect()).run()
    assert [letter["error"] for letter in letters] == [
        f"ValueError: no\n{item!r}" for item in items
    ]
    assert letters[0] == {
        "item": 1,
        "error": "ValueError: no\n1",
        "stage": "map(fail)",
        "attempts": 1,
    }
    assert letters[4]["item"] == "<an odd\none>"
    assert letters[5]["item"] == {"x": 1, "y": 2}
    assert letters[8]["item"] == "{1: <an odd\none>}"


def unpack_zstd(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


COMPRESSED = {".gz": gzip.decompress, ".zst": unpack_zstd}


@each_writer
@pytest.mark.parametrize("suffix", COMPRESSED)
async def test_a_file_is_compressed_as_its_name_says(
    tmp_path: Path, write: Any, suffix: str
) -> None:
    items = [f"line {n}" for n in range(30_000)]
    for path in (tmp_path / "out", tmp_path / f"out{suffix}"):
        assert await ps.from_iterable(items).to(write(path)).run() == len(items)
    packed = (tmp_path / f"out{suffix}").read_bytes()
    assert COMPRESSED[suffix](packed) == (tmp_path / "out").read_bytes()
    assert len(packed) < (tmp_path / "out").stat().st_size / 2


@pytest.mark.parametrize("suffix", ["", *COMPRESSED])
async def test_a_disk_that_is_full_leaves_no_file(tmp_path: Path, suffix: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        items = (f"{n} {token_hex(50)}" for n in range(10_000))
        with pytest.raises(ps.StageError, match=r"write_lines\(out.*\) failed: OSError"):
            await ps.from_iterable(items).to(ps.write_lines(tmp_path / f"out{suffix}")).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names_in(tmp_path) == []


async def test_a_slow_encoding_gives_the_others_their_turns(tmp_path: Path) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    def slow(item: Any) -> str:
        started = perf_counter()
        while perf_counter() - started < 0.0005:
            pass
        return "x"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        items = [Odd() for _ in range(500)]
        await ps.from_iterable(items).to(ps.write_jsonl(tmp_path / "out", slow)).run()
        nursery.cancel_scope.cancel()
    assert turns > 100


class Reading(msgspec.Struct):
    value: float


NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("number", NOT_FINITE)
async def test_json_has_no_nan_and_no_infinity(tmp_path: Path, number: float) -> None:
    bads: list[Any] = [
        number,
        [1.5, {"a": (number,)}],
        Reading(number),
        [None, {"x": None, "y": number}],
        {"huge": 2**80, "bad": number},
    ]
    for bad in bads:
        items = [{"a": None}, 1.5] * 200 + [bad] + [2.5] * 300
        with pytest.raises(ps.StageError, match=r"ValueError: JSON has no .*RFC 8259") as caught:
            await ps.from_iterable(items).to(ps.write_jsonl(tmp_path / "out")).run()
        assert caught.value.item_repr == repr(bad)
    assert names_in(tmp_path) == []


async def test_nan_and_infinity_are_null_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    items: list[Any] = [*NOT_FINITE, {"a": [None, float("nan")]}, Reading(float("inf")), 1.5]
    assert await ps.from_iterable(items).to(ps.write_jsonl(path, nan="null")).run() == len(items)
    written = await ps.read_jsonl(path).to(ps.collect()).run()
    assert written == [None, None, None, {"a": [None, None]}, {"value": None}, 1.5]
    with pytest.raises(ps.StageError, match="failed on item 2j"):
        await ps.from_iterable([1, 2j]).to(ps.write_jsonl(path, nan="null")).run()


def test_there_is_no_third_way_with_nan(tmp_path: Path) -> None:
    with pytest.raises(ps.PipelineError, match="write_jsonl: nan must be"):
        ps.write_jsonl(tmp_path / "out", nan=cast("Any", "skip"))


async def test_what_only_looks_like_nan_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    items: list[Any] = [None, "null", {"null": [None]}, b"\xcb\x7f\xf8", 2**80, datetime.date.max]
    assert await ps.from_iterable(items).to(ps.write_jsonl(path)).run() == len(items)
    written = await ps.read_jsonl(path).to(ps.collect()).run()
    assert written == [None, "null", {"null": [None]}, "y3/4", 2**80, "9999-12-31"]


async def test_a_default_that_gives_nan(tmp_path: Path) -> None:
    sink = ps.write_jsonl(tmp_path / "out", default=lambda _: float("nan"))
    with pytest.raises(ps.StageError, match=r"failed on item 2j: ValueError: JSON has no NaN"):
        await ps.from_iterable([1, 2j]).to(sink).run()


async def test_a_dead_letter_of_nan_is_written(tmp_path: Path) -> None:
    path = tmp_path / "letters"
    stream = ps.from_iterable(NOT_FINITE).map(fail, errors=ps.dead_letter(ps.write_jsonl(path)))
    await stream.to(ps.drain()).run()
    letters = await ps.read_jsonl(path).to(ps.collect()).run()
    assert [letter["item"] for letter in letters] == ["nan", "inf", "-inf"]
