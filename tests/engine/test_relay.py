"""Items that come seldom are dealt with where they are sent, and nobody can tell the difference."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import trio

import penstock as ps

SELDOM = 0.0003  # seconds that really pass: what is measured is the work between two items


@ps.producer
async def seldom(count: int, seen: list[str]) -> AsyncIterator[int]:
    try:
        for number in range(count):
            await trio.lowlevel.checkpoint()
            time.sleep(SELDOM)  # noqa: ASYNC251 - the time that a model takes for a word
            yield number
    finally:
        seen.append("finally")


async def test_all_arrive_in_order_and_are_counted() -> None:
    seen: list[str] = []
    pipeline = seldom(20, seen).map(lambda n: n * 2).to(ps.collect())
    async with pipeline.open() as run:
        assert await run.result() == list(range(0, 40, 2))
        stats = run.stats()
    assert [(stage.items_in, stage.items_out) for stage in stats.stages[:2]] == [(0, 20), (20, 20)]
    assert [(each.passed, each.held) for each in stats.buffers] == [(20, 0)]
    assert seen == ["finally"]


async def test_it_takes_no_turn_of_another_task() -> None:
    turns: list[object] = []

    class Turns(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            turns.append(task)

    seen: list[str] = []
    instrument = Turns()
    trio.lowlevel.add_instrument(instrument)
    assert await seldom(50, seen).to(ps.count()).run() == 50
    trio.lowlevel.remove_instrument(instrument)
    assert len(turns) < 65  # one for each item, and those of the start and the end


async def test_what_fails_is_the_stage_and_the_producer_is_cancelled() -> None:
    swallowed: list[Exception] = []

    @ps.producer
    async def stubborn(send: ps.Sender[int]) -> None:
        for number in range(10):
            time.sleep(SELDOM)  # noqa: ASYNC251 - as above
            try:
                await send(number)
            except Exception as error:  # noqa: BLE001 - what a careless producer does
                swallowed.append(error)

    with pytest.raises(ps.StageError, match=r"map\(.*\) failed on item 3: ZeroDivisionError"):
        await stubborn().map(lambda n: 1 // (3 - n)).to(ps.drain()).run()
    assert swallowed == []


async def test_a_stage_that_wants_no_more_ends_the_producer() -> None:
    seen: list[str] = []
    assert await seldom(1_000, seen).take(3).to(ps.collect()).run() == [0, 1, 2]
    assert seen == ["finally"]


async def test_it_can_be_stopped() -> None:
    seen: list[str] = []
    async with seldom(100_000, seen).to(ps.count()).open() as run:
        while not run.stats().stages[0].items_out:
            await trio.lowlevel.checkpoint()
        await run.stop(1)
        assert 0 < await run.result() < 100_000
    report = run.report()
    assert report.stages[0].items_out == report.stages[-1].items_in
    assert seen == ["finally"]
