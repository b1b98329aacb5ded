from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import dropwhile, takewhile
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps

SIZES = pytest.mark.parametrize("size", [0, 1, 2, 1023, 1024, 1025, 2049])


def items_of(stream: ps.Stream[Any]) -> list[Any]:
    return ps.run(stream.to(ps.collect()))


def numbers(size: int) -> ps.Stream[int]:
    return ps.from_iterable(range(size))


@SIZES
def test_map(size: int) -> None:
    assert items_of(numbers(size).map(lambda n: n * 2)) == [n * 2 for n in range(size)]


@SIZES
def test_filter(size: int) -> None:
    assert items_of(numbers(size).filter(lambda n: n % 3)) == [n for n in range(size) if n % 3]


@SIZES
def test_flat_map(size: int) -> None:
    expected = [m for n in range(size) for m in range(n % 4)]
    assert items_of(numbers(size).flat_map(lambda n: range(n % 4))) == expected


@SIZES
def test_scan(size: int) -> None:
    expected = [n * (n + 1) // 2 for n in range(size)]
    assert items_of(numbers(size).scan(0, lambda total, n: total + n)) == expected


@SIZES
def test_tap(size: int) -> None:
    seen: list[int] = []
    assert items_of(numbers(size).tap(seen.append)) == list(range(size))
    assert seen == list(range(size))


@SIZES
@pytest.mark.parametrize("count", [0, 1, 1024, 1025])
def test_take_and_skip(size: int, count: int) -> None:
    assert items_of(numbers(size).take(count)) == list(range(size))[:count]
    assert items_of(numbers(size).skip(count)) == list(range(size))[count:]


@SIZES
@pytest.mark.parametrize("bound", [0, 1, 1024, 1025])
def test_take_while_and_skip_while(size: int, bound: int) -> None:
    def below(n: int) -> bool:
        return n % 2000 < bound

    assert items_of(numbers(size).take_while(below)) == list(takewhile(below, range(size)))
    assert items_of(numbers(size).skip_while(below)) == list(dropwhile(below, range(size)))


@SIZES
def test_take_while_inclusive(size: int) -> None:
    expected = list(range(min(size, 1025)))
    assert items_of(numbers(size).take_while(lambda n: n < 1024, inclusive=True)) == expected


@SIZES
@pytest.mark.parametrize("length", [1, 3, 1024, 1025])
def test_batch(size: int, length: int) -> None:
    expected = [list(range(size))[at : at + length] for at in range(0, size, length)]
    assert items_of(numbers(size).batch(length)) == expected


def test_state_starts_anew_with_each_run() -> None:
    stream = numbers(5).skip(1).take(3).scan(0, lambda total, n: total + n).batch(2)
    assert items_of(stream) == items_of(stream) == [[1, 3], [6]]


def test_take_nothing_does_not_start_the_producer() -> None:
    def never() -> Iterator[int]:
        raise AssertionError("nobody asked")
        yield

    assert items_of(ps.from_iterable(never()).take(0)) == []


def test_take_ends_an_endless_producer() -> None:
    closed = []

    @ps.producer
    def endless() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.append(True)

    assert items_of(endless().take(1500)) == list(range(1500))
    assert closed == [True]


def test_take_while_ends_an_endless_producer() -> None:
    closed: list[bool] = []
    asked: list[int] = []

    @ps.producer
    def endless() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.append(True)

    def below(n: int) -> bool:
        asked.append(n)
        return n < 1500

    assert items_of(endless().take_while(below).map(str)) == [str(n) for n in range(1500)]
    assert closed == [True]
    assert asked == list(range(1501))


async def test_what_is_left_out_is_absorbed() -> None:
    stream = numbers(100).skip_while(lambda n: n < 10).take_while(lambda n: n < 50)
    async with stream.to(ps.count()).open() as run:
        assert await run.result() == 40
    _, skipped, taken, _ = run.report().stages
    assert (skipped.items_in - skipped.items_out, skipped.absorbed) == (10, 10)
    assert (taken.items_out, taken.items_in - taken.absorbed) == (40, 40)


@pytest.mark.parametrize("operator", ["take_while", "skip_while"])
async def test_a_question_is_asked_again(operator: str, autojump_clock: MockClock) -> None:
    failed: list[int] = []

    def below_three(n: int) -> bool:
        if n == 2 and len(failed) < 2:
            failed.append(n)
            raise OSError
        return n < 3

    errors = ps.retry(3, ps.Backoff(1, jitter=False))
    stream = getattr(numbers(6), operator)(below_three, errors=errors)
    expected = {"take_while": [0, 1, 2], "skip_while": [3, 4, 5]}
    assert await stream.to(ps.collect()).run() == expected[operator]
    assert trio.current_time() == 3


def test_a_chunk_passes_one_stage_before_the_next() -> None:
    @ps.producer(chunked=True)
    async def one_chunk(send: ps.Sender[int]) -> None:
        await send.chunk([0])  # the first piece is of one item: the pace starts there
        await send.chunk([1, 2])

    effects: list[str] = []
    stream = one_chunk().tap(lambda n: effects.append(f"a{n}"))
    items_of(stream.tap(lambda n: effects.append(f"b{n}")))
    assert effects == ["a0", "b0", "a1", "a2", "b1", "b2"]


def odd_only(item: int) -> int:
    if item % 2 == 0:
        raise ValueError(item)
    return item


def stop_at_five(item: int) -> int:
    if item == 5:
        raise StopIteration
    return item


def broken_half_way(item: int) -> Iterator[int]:
    yield item
    odd_only(item)
    yield -item


SKIPPING: dict[str, tuple[Callable[[ps.Stream[int]], ps.Stream[Any]], list[Any], int]] = {
    "map": (lambda s: s.map(odd_only, errors="skip"), [1, 3, 5], 3),
    "filter": (lambda s: s.filter(odd_only, errors="skip"), [1, 3, 5], 3),
    "flat_map": (
        lambda s: s.flat_map(lambda n: [odd_only(n)] * 2, errors="skip"),
        [1, 1, 3, 3, 5, 5],
        3,
    ),
    "flat_map, half-way": (
        lambda s: s.flat_map(broken_half_way, errors="skip"),
        [0, 1, -1, 2, 3, -3, 4, 5, -5],
        3,
    ),
    "scan": (lambda s: s.scan(0, lambda t, n: t + odd_only(n), errors="skip"), [1, 4, 9], 3),
    "tap": (lambda s: s.tap(odd_only, errors="skip"), [1, 3, 5], 3),
    "take_while": (lambda s: s.take_while(lambda n: odd_only(n) < 3, errors="skip"), [1], 2),
    "take_while, inclusive": (
        lambda s: s.take_while(lambda n: odd_only(n) < 3, inclusive=True, errors="skip"),
        [1, 3],
        2,
    ),
    "skip_while": (lambda s: s.skip_while(lambda n: odd_only(n) < 3, errors="skip"), [3, 4, 5], 2),
    "dedupe": (lambda s: s.dedupe(lambda n: odd_only(n) // 3, errors="skip"), [1, 3], 3),
    "distinct": (lambda s: s.distinct(lambda n: odd_only(n) % 4, errors="skip"), [1, 3], 3),
    "map, StopIteration": (lambda s: s.map(stop_at_five, errors="skip"), [0, 1, 2, 3, 4], 1),
}


@pytest.mark.parametrize("case", SKIPPING)
@pytest.mark.parametrize("chunked", [False, True])
async def test_skipped_errors_leave_out_the_item_and_are_counted(case: str, chunked: bool) -> None:
    build, expected, skipped = SKIPPING[case]

    @ps.producer(chunked=True)
    async def source(send: ps.Sender[int]) -> None:
        for items in [[0], [1, 2], [3, 4, 5]] if chunked else [[n] for n in range(6)]:
            await send.chunk(items)

    async with build(source()).to(ps.collect()).open() as run:
        assert await run.result() == expected
    stage = run.report().stages[1]
    assert (stage.skipped, stage.errors) == (skipped, skipped)
    assert stage.items_in == 6 or "take" in case


def test_stop_iteration_in_the_middle_of_a_chunk_loses_only_its_item() -> None:
    everything = items_of(numbers(3000).map(stop_at_five, errors="skip"))
    assert everything == [n for n in range(3000) if n != 5]


FAILING: dict[str, Callable[[ps.Stream[int]], ps.Stream[Any]]] = {
    "map": lambda s: s.map(lambda n: 1 // (n - 1500)),
    "filter": lambda s: s.filter(lambda n: 1 // (n - 1500)),
    "flat_map": lambda s: s.flat_map(lambda n: [1 // (n - 1500)]),
    "scan": lambda s: s.scan(0, lambda _, n: 1 // (n - 1500)),
    "tap": lambda s: s.tap(lambda n: 1 // (n - 1500)),
    "take_while": lambda s: s.take_while(lambda n: 1 // (n - 1500) < 1),
    "skip_while": lambda s: s.skip_while(lambda n: 1 // (n - 1500) < 1),
    "dedupe": lambda s: s.dedupe(lambda n: 1 // (n - 1500)),
    "distinct": lambda s: s.distinct(lambda n: 1 // (n - 1500)),
}


@pytest.mark.parametrize("operator", FAILING)
def test_an_error_names_stage_and_item(operator: str) -> None:
    with pytest.raises(ps.StageError) as caught:
        items_of(FAILING[operator](numbers(3000)))
    assert caught.value.stage == f"{operator}(<lambda>)"
    assert caught.value.item_repr == "1500"
    assert type(caught.value.__cause__) is ZeroDivisionError
