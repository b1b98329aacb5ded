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


def nothing_yet() -> tuple[int, float]:
    return 0, 0.0


def shown(stream: ps.Stream[int]) -> ps.Stream[str]:
    return stream.map(str)


def is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


async def slow_length(text: str) -> int:
    return len(text)


async def letters_of(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield chr(number)


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
    assert_type(numbers.enumerate(), ps.Stream[tuple[int, int]])
    assert_type(numbers.map(str).pairwise(), ps.Stream[tuple[str, str]])
    assert_type(numbers.take_while(lambda n: n < 3, inclusive=True), ps.Stream[int])
    assert_type(numbers.skip_while(lambda n: n.bit_length()), ps.Stream[int])
    assert_type(numbers.dedupe().distinct(lambda n: n.bit_length()), ps.Stream[int])
    assert_type(numbers.batch(3), ps.Stream[list[int]])
    assert_type(numbers.batch(3, within=1.0).map(lambda some: sum(some)), ps.Stream[int])
    assert_type(numbers.buffer(5, "conflate", key=lambda n: n % 2), ps.Stream[int])
    assert_type(numbers.buffer(5, "conflate", key=hash, errors="skip"), ps.Stream[int])
    assert_type(numbers.map(str).map_async(slow_length, concurrency=4), ps.Stream[int])
    assert_type(numbers.map(str).map_async(slow_length, 4, key=lambda text: text), ps.Stream[int])
    assert_type(numbers.flat_map_async(letters_of, 2, ordered=True), ps.Stream[str])
    assert_type(numbers.flat_map_async(lambda n: ps.from_iterable([n]), 2), ps.Stream[int])
    assert_type(numbers.switch_map(letters_of), ps.Stream[str])
    assert_type(numbers.map_blocking(lambda n: [n], workers=2), ps.Stream[list[int]])
    assert_type(numbers.merge(ps.from_iterable(["a"])), ps.Stream[int | str])
    assert_type(ps.merge(numbers, numbers), ps.Stream[int])


def test_joined_streams_give_what_all_of_them_give() -> None:
    numbers, texts = ps.from_iterable([1]), ps.from_iterable(["a"])
    halves = numbers.map(lambda n: n / 2)
    assert_type(ps.merge(numbers, texts), ps.Stream[int | str])
    assert_type(ps.concat(numbers, texts, halves), ps.Stream[int | str | float])
    assert_type(ps.interleave(numbers, texts), ps.Stream[int | str])
    assert_type(ps.merge_sorted(numbers, texts, key=lambda item: str(item)), ps.Stream[int | str])
    assert_type(ps.merge(*[numbers, numbers]), ps.Stream[int])
    assert_type(ps.merge_sorted(*[numbers, numbers], key=lambda n: -n), ps.Stream[int])
    assert_type(ps.merge_sorted(numbers, numbers, numbers), ps.Stream[int])
    assert_type(numbers.concat(texts), ps.Stream[int | str])
    assert_type(numbers.interleave(texts), ps.Stream[int | str])
    assert_type(numbers.merge_sorted(texts, key=lambda item: str(item)), ps.Stream[int | str])


def test_zipped_streams_give_tuples() -> None:
    numbers, texts = ps.from_iterable([1]), ps.from_iterable(["a"])
    assert_type(ps.zip(numbers, texts), ps.Stream[tuple[int, str]])
    assert_type(ps.zip(numbers, texts, numbers, strict=True), ps.Stream[tuple[int, str, int]])
    assert_type(numbers.zip(texts).map(lambda pair: pair[1]), ps.Stream[str])
    assert_type(ps.combine_latest(numbers, texts), ps.Stream[tuple[int, str]])
    assert_type(numbers.combine_latest(texts, texts), ps.Stream[tuple[int, str, str]])
    assert_type(ps.zip(*[numbers, numbers]), ps.Stream[tuple[Any, ...]])


def test_branches_keep_the_type() -> None:
    numbers = ps.from_iterable(range(4))
    one, two = numbers.broadcast(2)
    assert_type(one.zip(two), ps.Stream[tuple[int, int]])
    assert_type(numbers.broadcast(3)[2], ps.Stream[int])
    count = int("5")
    assert_type(numbers.broadcast(count, buffer=7), tuple[ps.Stream[int], ...])
    evens, odds = numbers.partition(lambda n: n % 2 == 0)
    assert_type(evens, ps.Stream[int])
    both = ps.gather(evens.map(str).to(ps.collect()), odds.to(ps.count()))
    assert_type(both, ps.Pipeline[tuple[list[str], int]])
    assert_type(ps.run(both), tuple[list[str], int])
    routed = numbers.route(lambda n: n % 3, {0: shown, 1: shown}, otherwise=shown)
    assert_type(routed, ps.Stream[str])


def test_time_leaves_the_type_as_it_is() -> None:
    texts = ps.from_iterable(["a"]).restart(ps.Backoff(1), max_restarts=None)
    assert_type(texts, ps.Stream[str])
    assert_type(texts.debounce(1).throttle(1).throttle(1, keep="last"), ps.Stream[str])
    assert_type(texts.sample(1).rate_limit(5).rate_limit(5, per=60), ps.Stream[str])
    assert_type(texts.delay(1, max_held=10).timeout(1), ps.Stream[str])


def test_keys_and_windows_keep_their_types() -> None:
    readings = ps.from_iterable([Reading("hall", 20.5)])
    rooms = readings.key_by(lambda reading: reading.room, max_keys=100, idle=60)
    assert_type(rooms, ps.KeyedStream[str, Reading])
    most = rooms.scan(0.0, lambda most, reading: max(most, reading.degrees))
    assert_type(most, ps.Stream[tuple[str, float]])
    assert_type(rooms.reduce(lambda _, reading: reading), ps.Stream[tuple[str, Reading]])
    assert_type(rooms.dedupe(lambda reading: reading.degrees), ps.Stream[Reading])
    assert_type(rooms.debounce(1), ps.Stream[Reading])
    lengths = ps.from_iterable(["a"]).key_by(lambda text: len(text)).map_async(slow_length, 2)
    assert_type(lengths, ps.Stream[int])

    late: ps.Sink[Reading, int] = ps.count()
    minutes = rooms.window(
        ps.tumbling(60), time=lambda reading: reading.degrees, lateness=5, late=late
    )
    assert_type(minutes, ps.WindowedStream[str, Reading])
    assert_type(minutes.count(), ps.Stream[ps.Window[str, int]])
    assert_type(minutes.collect(), ps.Stream[ps.Window[str, list[Reading]]])
    assert_type(minutes.sum(lambda reading: reading.degrees), ps.Stream[ps.Window[str, float]])
    numbers = ps.from_iterable([1]).key_by(lambda n: (n, str(n))).window(ps.by_count(2))
    assert_type(numbers.sum(), ps.Stream[ps.Window[tuple[int, str], int]])
    sums = minutes.aggregate(
        float, lambda total, reading: total + reading.degrees, lambda a, b: a + b
    )
    assert_type(sums, ps.Stream[ps.Window[str, float]])
    texts = minutes.aggregate(
        nothing_yet,
        lambda state, reading: (state[0] + 1, state[1] + reading.degrees),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
        lambda state: f"{state[1] / state[0]}",
    )
    assert_type(texts, ps.Stream[ps.Window[str, str]])
    assert_type(texts.map(lambda window: (window.key, window.value)), ps.Stream[tuple[str, str]])


def test_a_type_guard_narrows() -> None:
    mixed: list[int | str] = [1, "a"]
    assert_type(ps.from_iterable(mixed).filter(is_text), ps.Stream[str])
    parts = ps.from_iterable(mixed).partition(is_text)
    assert_type(parts.matching, ps.Stream[str])
    assert_type(parts.others, ps.Stream[int | str])


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
    assert_type(
        ps.run(numbers.to(ps.fold(0.5, lambda total, n: total + n, errors=ps.retry(2)))), float
    )
    assert_type(ps.run(numbers.to(ps.first())), int)
    assert_type(ps.run(numbers.to(ps.first(default=None))), int | None)
    assert_type(ps.run(numbers.map(str).to(ps.last())), str)
    assert_type(ps.run(numbers.to(ps.last(-1))), int)
    assert_type(ps.run(rooms(2).to(longest())), str)


def test_files_have_the_type_they_are_told(tmp_path: Path) -> None:
    assert_type(ps.read_lines(tmp_path / "a"), ps.Stream[str])
    assert_type(ps.read_jsonl(tmp_path / "a"), ps.Stream[Any])
    assert_type(ps.read_jsonl(tmp_path / "a", type=Reading), ps.Stream[Reading])
    assert_type(ps.from_iterable(["a"]).to(ps.write_lines(tmp_path / "b")), ps.Pipeline[int])
    assert_type(ps.read_csv(tmp_path / "a"), ps.Stream[dict[str, str]])
    assert_type(ps.read_csv(tmp_path / "a", header=["a"]), ps.Stream[dict[str, str]])
    assert_type(ps.read_csv(tmp_path / "a", header=False), ps.Stream[list[str]])
    assert_type(ps.read_csv(tmp_path / "a", type=Reading), ps.Stream[Reading])
    assert_type(ps.read_msgpack(tmp_path / "a"), ps.Stream[Any])
    assert_type(ps.read_msgpack(tmp_path / "a", Reading), ps.Stream[Reading])
    assert_type(ps.read_parquet(tmp_path / "a"), ps.Stream[dict[str, Any]])
    assert_type(ps.follow(tmp_path / "a"), ps.Stream[str])
    assert_type(ps.subprocess_lines(["ls", tmp_path]), ps.Stream[str])
    assert_type(ps.stdin_lines(), ps.Stream[str])
    numbers = ps.from_iterable([1])
    assert_type(numbers.to(ps.write_jsonl(tmp_path / "b", default=str)), ps.Pipeline[int])
    assert_type(numbers.to(ps.write_msgpack(tmp_path / "b")), ps.Pipeline[int])
    assert_type(numbers.map(lambda n: [n]).to(ps.write_csv(tmp_path / "b")), ps.Pipeline[int])
    assert_type(numbers.map(lambda n: {"n": n}).to(ps.write_parquet("b")), ps.Pipeline[int])
    aside = ps.dead_letter(ps.write_lines(tmp_path / "c"))
    assert_type(numbers.map(lambda n: 1 / n, errors=aside), ps.Stream[float])


async def test_an_open_stream_gives_its_items() -> None:
    async with ps.every(1).map(lambda tick: f"{tick}").open() as items:
        async for item in items:
            assert_type(item, str)
            break


def test_a_mistake_is_found_before_anything_runs() -> None:
    with pytest.raises(ps.PipelineError, match="map: f must be an ordinary function"):
        ps.from_iterable(["a"]).map(slow_length)
