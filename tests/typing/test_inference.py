"""What type checkers infer down a chain. mypy and pyright, both strict, check every line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, assert_type

import pytest

import penstock as ps


@dataclass
class Reading:
    room: str
    degrees: float


def is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


async def slow_length(text: str) -> int:
    return len(text)


@ps.producer
async def rooms(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield f"room {number}"


@ps.producer
async def sent_rooms(send: ps.Sender[str], count: int) -> None:
    for number in range(count):
        await send(f"room {number}")


@ps.transform
async def twice(receive: ps.Receiver[int], send: ps.Sender[str]) -> None:
    async for item in receive:
        await send(str(item) * 2)


@ps.transform
async def repeated(receive: ps.Receiver[int], send: ps.Sender[float], times: int) -> None:
    async for item in receive:
        await send.chunk([float(item)] * times)


@ps.sink
async def longest(receive: ps.Receiver[str]) -> str:
    result = ""
    async for item in receive:
        result = max(result, item, key=len)
    return result


def test_lambdas_are_inferred_down_the_chain() -> None:
    numbers = ps.from_iterable(range(10))
    assert_type(numbers, ps.Stream[int])
    assert_type(numbers.map(lambda n: n / 2), ps.Stream[float])
    assert_type(numbers.filter(lambda n: n > 3).map(lambda n: str(n)), ps.Stream[str])
    assert_type(numbers.flat_map(lambda n: [str(n)] * n), ps.Stream[str])
    assert_type(numbers.scan(0.5, lambda total, n: total + n), ps.Stream[float])
    assert_type(numbers.take(3).skip(1).tap(lambda n: n.bit_length()), ps.Stream[int])
    assert_type(numbers.batch(3), ps.Stream[list[int]])
    assert_type(numbers.batch(3, within=1.0).map(lambda some: sum(some)), ps.Stream[int])
    assert_type(numbers.buffer(5, "conflate", key=lambda n: n % 2), ps.Stream[int])
    assert_type(numbers.map(str).map_async(slow_length, concurrency=4), ps.Stream[int])
    assert_type(numbers.map_blocking(lambda n: [n], workers=2), ps.Stream[list[int]])
    assert_type(numbers.merge(ps.from_iterable(["a"])), ps.Stream[int | str])
    assert_type(ps.merge(numbers, numbers), ps.Stream[int])


def test_a_type_guard_narrows() -> None:
    mixed: list[int | str] = [1, "a"]
    assert_type(ps.from_iterable(mixed).filter(is_text), ps.Stream[str])


def test_stages_of_ones_own_keep_their_types() -> None:
    assert_type(rooms(3), ps.Stream[str])
    assert_type(sent_rooms(3), ps.Stream[str])
    assert_type(ps.from_iterable([1]).via(twice), ps.Stream[str])
    assert_type(ps.from_iterable([1]).via(repeated(2)), ps.Stream[float])
    assert_type(rooms(3).to(longest()), ps.Pipeline[str])


def test_the_result_of_a_run_is_the_sinks() -> None:
    numbers = ps.from_iterable(range(4))
    assert_type(ps.run(numbers.to(ps.collect())), list[int])
    assert_type(ps.run(numbers.to(ps.count())), int)
    assert_type(ps.run(numbers.to(ps.drain())), None)
    assert_type(ps.run(numbers.to(ps.fold("", lambda text, n: text + str(n)))), str)
    assert_type(ps.run(rooms(2).to(longest())), str)


def test_files_have_the_type_they_are_told(tmp_path: Path) -> None:
    assert_type(ps.read_lines(tmp_path / "a"), ps.Stream[str])
    assert_type(ps.read_jsonl(tmp_path / "a"), ps.Stream[Any])
    assert_type(ps.read_jsonl(tmp_path / "a", type=Reading), ps.Stream[Reading])
    assert_type(ps.from_iterable(["a"]).to(ps.write_lines(tmp_path / "b")), ps.Pipeline[int])


async def test_an_open_stream_gives_its_items() -> None:
    async with ps.every(1).map(lambda tick: f"{tick}").open() as items:
        async for item in items:
            assert_type(item, str)
            break


def test_a_mistake_is_found_before_anything_runs() -> None:
    with pytest.raises(ps.PipelineError, match="map: f must be an ordinary function"):
        ps.from_iterable(["a"]).map(slow_length)
