from __future__ import annotations

import gzip
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

import penstock as ps

pack = msgspec.msgpack.encode


@dataclass
class Point:
    x: int
    y: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.msgpack"


async def values_of(path: Path, *given: Any, **options: Any) -> list[Any]:
    return await ps.read_msgpack(path, *given, **options).to(ps.collect()).run()


async def test_values_stand_one_after_another(path: Path) -> None:
    values = [None, 1, "ü", [1, [2]], {"a": {"b": b"c"}}, 2.5, {1: 2}]
    path.write_bytes(b"".join(map(pack, values)))
    assert await values_of(path) == values
    path.write_bytes(b"")
    assert await values_of(path) == []


async def test_values_larger_than_a_piece(path: Path) -> None:
    values = ["x" * n for n in (10, 300_000, 5, 1_000_000, 262_144, 0)]
    path.write_bytes(b"".join(map(pack, values)))
    assert await values_of(path) == values


async def test_values_of_a_type_are_checked(path: Path) -> None:
    path.write_bytes(pack(Point(1, 2)) + pack({"x": 1}) + pack(Point(3, 4)))
    assert await values_of(path, Point, errors="skip") == [Point(1, 2), Point(3, 4)]
    with pytest.raises(ps.StageError, match=r"some.msgpack:2: Object missing .* `y`") as caught:
        await values_of(path, Point)
    assert caught.value.item_repr == repr(pack({"x": 1}))


@pytest.mark.parametrize("errors", ["raise", "skip"])
@pytest.mark.parametrize(
    ("tail", "problem"),
    [
        (b"\xc1", "malformed|Unpack failed|unpack"),
        (b"\x92\x01", "cut short"),
        (b"\xdd\xff\xff\xff\xff" * 5, "cut short"),
        (b"\x91" * 5000, "nested too deeply"),
        (pack("x" * 2000), "a value of over 1,000 bytes"),
    ],
)
async def test_what_follows_malformed_bytes_is_lost_and_told(
    path: Path, tail: bytes, problem: str, errors: Any
) -> None:
    good = pack([1, 2, 3])
    path.write_bytes(good * 3 + tail)
    seen: list[Any] = []
    stream = ps.read_msgpack(path, errors=errors, max_object_bytes=1000).tap(seen.append)
    with pytest.raises(ps.StageError, match=f"some.msgpack: at byte 12: .*({problem})"):
        await stream.to(ps.drain()).run()
    assert seen == [[1, 2, 3]] * 3


@pytest.mark.parametrize("head", [b"\xc6\x7f\xff\xff\xff", b"\xdd\x7f\xff\xff\xff"])
async def test_a_value_without_an_end_does_not_grow_memory(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(head + bytes(24 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(ps.StageError, match="a value of over 1,000,000 bytes"):
            await values_of(path, max_object_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_bound_is_a_whole_number(path: Path) -> None:
    with pytest.raises(ps.PipelineError, match="read_msgpack: max_object_bytes must be a whole"):
        ps.read_msgpack(path, max_object_bytes=0)
