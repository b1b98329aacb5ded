from __future__ import annotations

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import zstandard

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


@pytest.mark.parametrize(
    "read", [ps.read_lines, ps.read_jsonl, ps.read_csv, ps.read_msgpack, ps.read_parquet]
)
def test_a_path_is_wanted(read: Any) -> None:
    with pytest.raises(ps.PipelineError, match=f"{read.__name__}: path must be a path, got 3"):
        read(3)


BAD_LINES = b'1\n{"a"\n\n2\n\xff\n3\n'


async def test_bad_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(BAD_LINES)
    async with ps.read_jsonl(path, errors="skip").to(ps.collect()).open() as run:
        assert await run.result() == [1, 2, 3]
    assert [(stage.name, stage.skipped) for stage in run.report().stages if stage.skipped] == [
        ("decode", 2)
    ]


async def test_bad_lines_go_to_the_dead_letters(tmp_path: Path) -> None:
    path, bad = tmp_path / "some.jsonl", tmp_path / "bad.jsonl"
    path.write_bytes(BAD_LINES)
    errors = ps.dead_letter(ps.write_jsonl(bad))
    assert await ps.read_jsonl(path, int, errors=errors).to(ps.collect()).run() == [1, 2, 3]
    letters = await ps.read_jsonl(bad).to(ps.collect()).run()
    assert [letter["item"] for letter in letters] == ['{"a"', "/wo="]  # bytes are base64 in JSON
    assert [letter["error"].partition(": ")[0] for letter in letters] == ["BadLine"] * 2
    assert f"{path}:2: " in letters[0]["error"]
    assert f"{path}:5: " in letters[1]["error"]
    assert {letter["stage"] for letter in letters} == {"decode"}


async def test_text_that_is_not_utf_8_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"one\r\nf\xfcnf\r\nthree\r\n\r\nf\xfcnf")
    lines = await ps.read_lines(path, errors="skip").to(ps.collect()).run()
    assert lines == ["one", "three", ""]


async def test_the_number_of_a_line_counts_those_left_out(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    lines = [b"x" if n % 7 == 0 else str(n).encode() for n in range(3000)]
    path.write_bytes(b"\n".join(lines))
    letters: list[ps.DeadLetter[Any]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    numbers = ps.read_jsonl(path, errors=errors).to(ps.collect())
    assert await numbers.run() == [n for n in range(3000) if n % 7]
    told = [f"{path}:{n + 1}: " for n in range(0, 3000, 7)]
    assert all(place in str(letter.error) for place, letter in zip(told, letters, strict=True))
    path.write_bytes(b"\n".join([*lines[1:7], b"1", *lines[8:14], b"1", b"no"]))
    with pytest.raises(ps.StageError, match=r"many.jsonl:15: "):
        await ps.read_jsonl(path).to(ps.collect()).run()


async def test_a_record_over_several_lines_is_several_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "pretty.json"
    path.write_bytes(b"1 2\n[3,\n4]\n5\n")
    assert await ps.read_jsonl(path, errors="skip").to(ps.collect()).run() == [5]


async def test_what_comes_before_the_failure_of_a_read_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt.gz"
    lines = [f"{n:040}" for n in range(100_000)]
    path.write_bytes(gzip.compress("\n".join(lines).encode())[:-100])
    seen: list[str] = []
    with pytest.raises(ps.StageError, match=r"read_lines\(cut.txt.gz\) failed: DamagedFile: "):
        await ps.read_lines(path).tap(seen.append).to(ps.drain()).run()
    assert len(seen) > 50_000
    assert seen == lines[: len(seen)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
async def test_a_line_without_an_end_does_not_grow_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    await write_bomb(path, b"x" * (1 << 20), 24)
    tracemalloc.start()
    try:
        with pytest.raises(ps.StageError, match=r"bomb.*:1: a line of over 1,000,000 bytes"):
            await ps.read_lines(path, max_line_bytes=1_000_000).to(ps.drain()).run()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


async def write_bomb(path: Path, piece: bytes, times: int) -> None:
    """So many of the pieces, compressed as the name says, which they are very well."""
    match path.suffix:
        case ".gz":
            packer: Any = zlib.compressobj(wbits=31)
        case ".zst":
            packer = zstandard.ZstdCompressor().compressobj()
        case _:
            with path.open("wb") as file:
                file.writelines([piece] * times)
            return
    with path.open("wb") as file:
        for _ in range(times):
            file.write(packer.compress(piece))
        file.write(packer.flush())


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
async def test_a_bomb_of_lines_is_read_a_piece_at_a_time(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    await write_bomb(path, (b"x" * 1023 + b"\n") * 1024, 24)
    tracemalloc.start()
    try:
        assert await ps.read_lines(path).to(ps.count()).run() == 24 << 10
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


async def test_nothing_is_read_far_ahead_of_a_slow_sink(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("".join(f"{n:0999}\n" for n in range(20_000)))
    async with ps.read_lines(path).to(ps.for_each(stuck)).open() as run:
        async for _ in until(lambda: run.stats().stages[-1].items_in > 0):
            pass
        (source, *_) = run.stats().stages
        assert source.items_out < 3000
        await run.stop(0)


async def stuck(item: object) -> None:
    await trio.sleep_forever()


async def until(condition: Callable[[], bool]) -> AsyncIterator[None]:
    """Turns of the event loop, until the condition holds."""
    while not condition():
        await trio.lowlevel.checkpoint()
        yield


@pytest.mark.parametrize("read", [ps.read_lines, ps.read_jsonl, ps.read_csv, ps.read_msgpack])
def test_reading_again_what_is_bad_makes_no_sense(read: Any) -> None:
    with pytest.raises(ps.PipelineError, match=rf"{read.__name__}: errors can't be retry\(…\)"):
        read("some", errors=ps.retry(3))
    with pytest.raises(ps.PipelineError, match=f"{read.__name__}: errors must be 'raise'"):
        read("some", errors="ignore")


@pytest.mark.parametrize("read", [ps.read_lines, ps.read_jsonl])
def test_a_bound_is_a_whole_number(read: Any) -> None:
    with pytest.raises(ps.PipelineError, match=f"{read.__name__}: max_line_bytes must be a whole"):
        read("some", max_line_bytes=0)


@pytest.mark.parametrize("use", [ps.read_lines, ps.write_lines, ps.read_csv, ps.write_msgpack])
def test_zstd_takes_an_extra(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ps.PipelineError, match=r"needs zstandard: pip install '\.\[zstd\]'"):
        use("some.zst")


@pytest.mark.parametrize("suffix", ["", ".gz"])
async def test_a_mark_of_the_byte_order_is_no_part_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    content = b"\xef\xbb\xbf1\n\xef\xbb\xbf\n"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert await ps.read_lines(path).to(ps.collect()).run() == ["1", "\ufeff"]
    content = b"\xef\xbb\xbf1\n2\n"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert await ps.read_jsonl(path, int).to(ps.collect()).run() == [1, 2]
