from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps
from penstock import testing


class Broken(Exception):
    pass


def counting(up_to: int, taken: list[int]) -> ps.Stream[int]:
    return ps.from_iterable(range(up_to)).tap(taken.append)


async def test_nothing_flows_until_the_test_takes_it() -> None:
    taken: list[int] = []
    end, sink = testing.probe_sink(int)
    assert sink.state == "waiting"
    async with counting(1000, taken).buffer(2).to(end).open() as run:
        await wait_all_tasks_blocked()
        assert (sink.state, sink.seen) == ("open", [])
        before = len(taken)
        assert before < 20
        assert await sink.take(3) == [0, 1, 2]
        assert await sink.take() == [3]
        await wait_all_tasks_blocked()
        assert before < len(taken) < before + 20
        assert len(await sink.take_all()) == 996
        assert await run.result() == list(range(1000)) == sink.seen
    assert sink.state == "finished"


async def test_taking_waits_for_items(autojump_clock: MockClock) -> None:
    end, sink = testing.probe_sink(int)
    start = trio.current_time()
    async with ps.every(10, count=3).to(end).open():
        assert await sink.take(2) == [0, 1]
        assert trio.current_time() - start == 10
        assert await sink.take(2) == [2]
        assert trio.current_time() - start == 20
        assert await sink.take(2) == []
    assert sink.state == "finished"


async def test_a_chunk_comes_as_it_was_sent() -> None:
    numbers, source = testing.probe_source(int)
    end, sink = testing.probe_sink(int, capacity=8)
    async with numbers.to(end).open():
        await source.send_chunk([1, 2, 3])
        await wait_all_tasks_blocked()
        await source.send_chunk([4, 5])
        assert await sink.take_chunk() == [1, 2, 3]
        assert await sink.take(1) == [4]
        assert await sink.take_chunk() == [5]
        await source.end()
        assert await sink.take_chunk() == []
    assert sink.seen == [1, 2, 3, 4, 5]


async def test_it_can_end_the_pipeline_early() -> None:
    closed: list[bool] = []
    end, sink = testing.probe_sink(int)

    @ps.producer
    async def endless(send: ps.Sender[int]) -> None:
        try:
            while True:
                await send(1)
        finally:
            closed.append(True)

    async with endless().to(end).open() as run:
        assert await sink.take(2) == [1, 1]
        await wait_all_tasks_blocked()
        sink.end()
        assert await run.result() == [1, 1]
    assert sink.state == "ended"
    assert closed == [True]
    assert await sink.take() == []
    report = run.report()
    testing.assert_balanced(report)
    assert report.stages[-1].abandoned >= 1


async def test_ended_before_the_run_it_takes_nothing() -> None:
    end, sink = testing.probe_sink()
    sink.end()
    assert await ps.from_iterable(range(5)).to(end).run() == []
    assert sink.state == "ended"


@pytest.mark.parametrize("fails", [True, False])
async def test_who_waits_for_items_of_a_run_that_is_cut_off_is_told(fails: bool) -> None:
    numbers, source = testing.probe_source(int)
    end, sink = testing.probe_sink(int)
    got: list[Any] = []

    async def take() -> None:
        got.append(await sink.take(1))
        with pytest.raises(trio.BrokenResourceError):
            await sink.take(1)
        got.append("broken")
        await sink.wait_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        raises = pytest.raises(ps.StageError, match="Broken") if fails else nullcontext()
        with raises, trio.CancelScope() as scope:
            async with numbers.to(end).open():
                await source.send(1)
                await wait_all_tasks_blocked()
                if fails:
                    await source.fail(Broken())
                scope.cancel()
    assert got == [[1], "broken"]
    assert sink.state == "cancelled"


async def test_a_cancelled_take_has_what_it_took_in_seen(autojump_clock: MockClock) -> None:
    end, sink = testing.probe_sink(int)
    async with ps.every(10).to(end).open() as run:
        with trio.move_on_after(15) as timeout:
            await sink.take(5)
        assert timeout.cancelled_caught
        assert sink.seen == [0, 1]
        await run.stop(0)


async def test_it_serves_one_run_only() -> None:
    end, sink = testing.probe_sink()
    pipeline = ps.from_iterable([1]).to(end)
    async with pipeline.open():
        assert await sink.take_all() == [1]
    with pytest.raises(ps.StageError, match="serves one run"):
        await pipeline.run()
    assert sink.state == "finished"


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ps.PipelineError, match="probe_sink: capacity must be a whole number"):
        testing.probe_sink(capacity=0)
