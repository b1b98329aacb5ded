"""``stop`` and ``result`` called by a stage of the run itself."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps


class Holder:
    """The run, for the functions inside it."""

    run: ps.Run[Any]


async def test_a_function_inside_stops_the_run_and_the_rest_drains(
    autojump_clock: MockClock,
) -> None:
    inside = Holder()

    async def enough(n: int) -> int:
        if n == 3:
            await inside.run.stop()
        return n

    with trio.fail_after(100):
        async with ps.every(1).map_async(enough, 1).to(ps.collect()).open() as inside.run:
            assert await inside.run.result() == [0, 1, 2, 3]
    assert inside.run.report().outcome == "stopped"


async def test_a_sink_that_has_had_enough_still_gets_what_is_in_flight(
    autojump_clock: MockClock,
) -> None:
    inside = Holder()
    seen: list[int] = []

    async def enough(n: int) -> None:
        seen.append(n)
        if n == 1:
            await inside.run.stop()

    with trio.fail_after(100):
        pipeline = ps.every(1).delay(2.5).to(ps.for_each(enough))
        async with pipeline.open() as inside.run:
            await inside.run.result()
    assert seen == [0, 1, 2, 3]


async def test_the_deadline_of_a_stop_from_inside_holds(autojump_clock: MockClock) -> None:
    inside = Holder()

    async def slow(n: int) -> None:
        await inside.run.stop(deadline=5)
        await trio.sleep_forever()

    with trio.fail_after(6), pytest.raises(ps.RunStopped):
        async with ps.every(1).to(ps.for_each(slow)).open() as inside.run:
            await inside.run.result()
    assert inside.run.report().outcome == "stopped"
    assert trio.current_time() == pytest.approx(5)


async def test_a_task_that_a_function_started_is_inside_too(autojump_clock: MockClock) -> None:
    inside = Holder()

    async def enough(n: int) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inside.run.stop)
        return n

    with trio.fail_after(100):
        async with ps.every(1).map_async(enough, 1).to(ps.collect()).open() as inside.run:
            assert await inside.run.result() == [0]


async def test_a_function_of_an_inner_stream_stops_the_outer_run(
    autojump_clock: MockClock,
) -> None:
    inside = Holder()

    async def enough(n: int) -> int:
        await inside.run.stop()
        return n

    stream = ps.every(1).flat_map_async(lambda _: ps.every(1).map_async(enough, 1), 1)
    with trio.fail_after(100):
        async with stream.to(ps.collect()).open() as inside.run:
            assert await inside.run.result() == [0]


async def test_a_producer_that_stops_its_own_run_ends(autojump_clock: MockClock) -> None:
    inside = Holder()

    @ps.producer
    async def one() -> AsyncIterator[int]:
        yield 1
        await inside.run.stop()
        yield 2

    with trio.fail_after(100):
        async with one().to(ps.collect()).open() as inside.run:
            assert await inside.run.result() == [1]


async def test_result_from_inside_is_refused(autojump_clock: MockClock) -> None:
    inside = Holder()

    async def wait(n: int) -> int:
        await inside.run.result()
        return n

    with trio.fail_after(100), pytest.raises(ps.StageError) as caught:
        async with ps.every(1).map_async(wait, 1).to(ps.collect()).open() as inside.run:
            await trio.sleep(10)
    assert type(caught.value.__cause__) is ps.PenstockError
    assert "result() waits for the end of the run" in str(caught.value)


@pytest.mark.parametrize("bad", [-1, math.nan, "soon", None, True])
async def test_a_bad_deadline_is_refused_before_anything_is_done(
    bad: Any, autojump_clock: MockClock
) -> None:
    async with ps.every(1).take(3).to(ps.collect()).open() as run:
        with pytest.raises(ps.PipelineError, match="stop: deadline must be a number of seconds"):
            await run.stop(bad)
        assert await run.result() == [0, 1, 2]
