from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps

from .schedule import report_of, scheduled

Timed = list[tuple[float, list[int]]]


@ps.producer
async def at(*times: float) -> AsyncIterator[int]:
    """0, 1, 2, … at these seconds."""
    start = trio.current_time()
    for n, time in enumerate(times):
        await trio.sleep_until(start + time)
        yield n


async def batches_with_their_times(stream: ps.Stream[list[int]]) -> Timed:
    start = trio.current_time()
    seen: Timed = []
    await (
        stream.tap(lambda batch: seen.append((trio.current_time() - start, batch)))
        .to(ps.drain())
        .run()
    )
    return seen


async def test_a_batch_goes_out_within_the_time_of_its_first_item(
    autojump_clock: MockClock,
) -> None:
    seen = await batches_with_their_times(at(1, 1.5, 5, 5.5, 9).batch(10, within=2))
    assert seen == [(3, [0, 1]), (7, [2, 3]), (9, [4])]


async def test_a_full_batch_goes_out_at_once(autojump_clock: MockClock) -> None:
    seen = await batches_with_their_times(at(1, 1, 1, 2, 8).batch(2, within=3))
    assert seen == [(1, [0, 1]), (2, [2, 3]), (8, [4])]


async def test_what_is_over_waits_for_its_own_time(autojump_clock: MockClock) -> None:
    seen = await batches_with_their_times(at(1, 2, 2, 9).batch(2, within=3))
    assert seen == [(2, [0, 1]), (5, [2]), (9, [3])]


@pytest.mark.parametrize("size", [0, 1, 1024, 1025])
async def test_the_end_sends_what_is_left(autojump_clock: MockClock, size: int) -> None:
    batches = await ps.from_iterable(range(size)).batch(100, within=60).to(ps.collect()).run()
    assert [item for batch in batches for item in batch] == list(range(size))
    assert all(len(batch) == 100 for batch in batches[:-1])
    assert trio.current_time() == 0 or size == 0


async def test_a_slow_reader_gets_fuller_batches(autojump_clock: MockClock) -> None:
    lengths: list[int] = []

    async def slow(batch: list[int]) -> None:
        lengths.append(len(batch))
        await trio.sleep(1)

    items = at(*(n / 10 for n in range(100)))
    await items.batch(50, within=0.1).buffer(1).to(ps.for_each(slow)).run()
    assert sum(lengths) > 50
    assert max(lengths[2:]) >= 10


async def test_what_it_holds_is_told_and_abandoned_when_cancelled() -> None:
    with trio.CancelScope() as scope:
        stream = scheduled((0, range(10)), end=3600).batch(4, within=60)
        async with stream.to(ps.collect()).open() as run:
            await wait_all_tasks_blocked()
            stage = run.stats().stages[1]
            assert (stage.items_out, stage.held) == (2, 2)
            scope.cancel()
    stage = run.report().stages[1]
    assert (stage.held, stage.abandoned, stage.absorbed) == (0, 2, 6)


async def test_what_is_gathered_is_absorbed(autojump_clock: MockClock) -> None:
    stage = (await report_of(scheduled((0, range(10)), end=60).batch(4, within=5)))["batch"]
    assert (stage.items_in, stage.items_out, stage.absorbed) == (10, 3, 7)
