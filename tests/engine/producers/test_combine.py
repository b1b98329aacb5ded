from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import penstock as ps


async def test_merge_gives_everything_and_keeps_the_order_of_each_stream() -> None:
    evens, odds = range(0, 5000, 2), range(1, 5000, 2)
    merged = ps.merge(ps.from_iterable(evens), ps.from_iterable(odds).buffer(7))
    items = await merged.to(ps.collect()).run()
    assert [n for n in items if n % 2 == 0] == list(evens)
    assert [n for n in items if n % 2] == list(odds)


async def test_merge_ends_with_the_last_of_its_streams(autojump_clock: MockClock) -> None:
    slow, quick = ps.every(10, count=3), ps.every(1, count=2)
    assert await slow.merge(quick).to(ps.count()).run() == 5
    assert trio.current_time() >= 20


async def test_items_come_as_they_come(autojump_clock: MockClock) -> None:
    a = ps.every(2, count=3).map(lambda n: f"a{n}")
    b = ps.every(3, count=2).map(lambda n: f"b{n}")
    items = await ps.merge(a, b).to(ps.collect()).run()
    assert set(items[:2]) == {"a0", "b0"}
    assert items[2:] == ["a1", "b1", "a2"]


async def test_no_stream_is_starved_by_a_busier_one() -> None:
    @ps.producer(chunked=True)
    async def endless(send: ps.Sender[str], name: str, size: int) -> None:
        while True:
            await send.chunk([name] * size)

    streams = [
        endless(name, size) for name, size in (("a", 600), ("b", 600), ("c", 1), ("d", 3000))
    ]
    items = await ps.merge(*streams).take(100_000).to(ps.collect()).run()
    assert {name: items.count(name) > 0 for name in "abcd"} == dict.fromkeys("abcd", True)
    assert items.count("a") > 1000
    assert items.count("b") > 1000


async def test_taking_enough_ends_all_streams() -> None:
    log: list[str] = []

    @ps.producer
    async def endless(send: ps.Sender[int], name: str) -> None:
        try:
            while True:
                await send(1)
        finally:
            log.append(name)

    await ps.merge(endless("a"), endless("b")).take(10).to(ps.drain()).run()
    assert sorted(log) == ["a", "b"]


async def test_one_failing_stream_ends_the_others() -> None:
    with pytest.raises(ps.StageError, match=r"map\(<lambda>\) failed on item 0"):
        await ps.every(1).merge(ps.from_iterable([0]).map(lambda n: 1 // n)).to(ps.drain()).run()


async def test_a_merge_of_one_stream_is_that_stream() -> None:
    stream = ps.from_iterable([1])
    assert ps.merge(stream) is stream


async def test_merging_with_nothing_changes_nothing() -> None:
    numbers = ps.from_iterable(range(2000))
    assert await numbers.merge(ps.from_iterable([])).to(ps.collect()).run() == list(range(2000))
