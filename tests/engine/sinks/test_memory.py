from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
import trio
from trio.testing import MockClock

import penstock as ps

SIZES = pytest.mark.parametrize("size", [0, 1, 1024, 1025, 3000])


@SIZES
async def test_collect(size: int) -> None:
    assert await ps.from_iterable(range(size)).to(ps.collect()).run() == list(range(size))


@SIZES
async def test_count(size: int) -> None:
    assert await ps.from_iterable(range(size)).to(ps.count()).run() == size


async def test_drain_runs_the_stream_for_its_effects() -> None:
    seen: list[int] = []
    pipeline = ps.from_iterable(range(3)).tap(seen.append).to(ps.drain())
    await pipeline.run()
    assert seen == [0, 1, 2]


async def test_each_run_collects_a_list_of_its_own() -> None:
    pipeline = ps.from_iterable([1]).to(ps.collect())
    first = await pipeline.run()
    assert await pipeline.run() == first
    assert await pipeline.run() is not first


async def test_sinks_behind_a_task_boundary_are_the_same() -> None:
    def behind(items: Iterable[int]) -> ps.Stream[int]:
        return ps.from_iterable(items).buffer(3)

    assert await behind(range(10)).to(ps.collect()).run() == list(range(10))
    assert await behind(range(10)).to(ps.count()).run() == 10
    assert await behind(range(10)).to(ps.first()).run() == 0
    assert await behind(range(10)).to(ps.last()).run() == 9


@SIZES
async def test_first_and_last(size: int) -> None:
    stream = ps.from_iterable(range(size))
    assert await stream.to(ps.first(default=-1)).run() == (0 if size else -1)
    assert await stream.to(ps.last(default=-1)).run() == size - 1


async def test_first_ends_an_endless_producer() -> None:
    closed: list[bool] = []

    @ps.producer
    def endless() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.append(True)

    assert await endless().filter(lambda n: n > 1500).to(ps.first()).run() == 1501
    assert closed == [True]


async def test_first_gives_the_item_at_once(autojump_clock: MockClock) -> None:
    assert await ps.every(3600).skip(1).to(ps.first()).run() == 1
    assert trio.current_time() == 3600


@pytest.mark.parametrize("item", [None, 0, ""])
async def test_first_takes_an_item_that_looks_like_nothing(item: object) -> None:
    items = [item, 1, 2]
    assert await ps.from_iterable(items).buffer(1).to(ps.first(default=None)).run() == item
    assert await ps.from_iterable(items[:1]).to(ps.last(default=5)).run() == item


@pytest.mark.parametrize("sink", [ps.first, ps.last])
async def test_an_empty_stream_is_told_of(sink: Callable[[], ps.Sink[int, int]]) -> None:
    name = sink.__name__
    with pytest.raises(ps.EmptyStream, match=f"^{name}: the stream ended without an item; {name}"):
        await ps.from_iterable([1]).filter(lambda n: n > 1).to(sink()).run()


async def test_first_of_a_failing_stream() -> None:
    stream = ps.from_iterable([0, 1]).map(lambda n: 1 // n)
    with pytest.raises(ps.StageError, match="ZeroDivision"):
        await stream.to(ps.first(default=5)).run()
