"""At every moment, and however a run ends, it is known of every item where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps

from .endings import (
    Ending,
    Failed,
    check_stages,
    endings,
    failing_at,
    in_chunks,
    letters,
    pause,
    run_to,
    sources,
)

Operator: TypeAlias = Callable[[ps.Stream[int]], ps.Stream[int]]


@ps.transform
async def every_third(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for item in receive:
        if item % 3 == 0:
            await send(item)


@ps.transform
async def twice(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for items in receive.chunks():
        await trio.lowlevel.checkpoint()
        await send.chunk(items * 2)


failed = ps.dead_letter(letters())

operators: st.SearchStrategy[Operator] = st.sampled_from(
    [
        lambda s: s.map(lambda n: n + 1),
        lambda s: s.filter(lambda n: n % 2),
        lambda s: s.flat_map(lambda n: range(n % 4)),
        lambda s: s.map(lambda n: n // (n % 3), errors="skip"),
        lambda s: s.map(lambda n: n // (n % 3), errors=failed),
        lambda s: s.take(7),
        lambda s: s.skip(5),
        lambda s: s.batch(4).map(len),
        lambda s: s.buffer(3),
        lambda s: s.buffer(3, "drop_oldest"),
        lambda s: s.buffer(2, "conflate", key=lambda n: n % 5),
        lambda s: s.map_async(pause, 2),
        lambda s: s.map_async(pause, 3, ordered=False),
        lambda s: s.via(every_third),
        lambda s: s.via(twice),
        lambda s: s.merge(ps.from_iterable(range(4))),
    ]
)
sinks: st.SearchStrategy[Callable[[], ps.Sink[int, Any]]] = st.sampled_from(
    [
        ps.count,
        lambda: ps.for_each(pause),
        lambda: ps.for_each(pause, concurrency=3),
        lambda: ps.fold(0, lambda a, b: a + b),
    ]
)


def check(pipeline: ps.Pipeline[Any], stats: ps.RunStats) -> None:
    sent: Counter[int] = Counter()
    given_on: Counter[int] = Counter()
    stages = stats.stages
    for edge in pipeline.graph().edges:
        source, target = stages[edge.source], stages[edge.target]
        if target.name != "letters":
            given_on[edge.target] += source.items_out
            sent[edge.target] = target.items_in
        elif stats.outcome != "running":  # while it runs, letters may be about to be sent
            given_on[edge.target] += source.dead_lettered
            sent[edge.target] = target.items_in
    check_stages(stats)
    for stage in stages:
        if stage.name.startswith(("map", "buffer", "merge")):
            assert (stage.made, stage.absorbed) == (0, 0), stage
        if stage.name.startswith(("filter", "take", "skip", "every_third", "for_each", "fold")):
            assert stage.made == 0, stage
    assert sent == given_on


@given(
    sources,
    st.lists(operators, max_size=5),
    sinks,
    endings,
    st.integers(0, 12),
)
def test_items_in_and_made_are_those_given_on_left_out_lost_and_held(
    source: ps.Stream[int],
    chain: list[Operator],
    sink: Callable[[], ps.Sink[int, Any]],
    ending: Ending,
    turns: int,
) -> None:
    stream = source
    for number, operator in enumerate(chain):
        stream = operator(stream)
        if number == turns % 5 and ending == "failed":
            stream = stream.map(failing_at(turns + 1))
    pipeline = stream.to(sink())
    report = trio.run(run_to, ending, pipeline, turns, check)
    if report.outcome == "done":
        losing = [stage.name for stage in report.stages if stage.abandoned]
        assert not losing or "take" in {stage.name for stage in report.stages}


async def test_a_window_does_not_hold_what_was_left_out_of_the_chunk(
    autojump_clock: MockClock,
) -> None:
    def time(number: int) -> int:
        if number in (201, 202):
            raise Failed
        return 0

    errors = ps.retry(2, ps.Backoff(1, 1, jitter=False), then="skip")
    windows = in_chunks([200, 4]).key_by(lambda _: 0).window(ps.tumbling(1), time, errors=errors)
    with trio.move_on_after(1.5):  # the first of the two has been skipped, the second waits
        async with windows.count().to(ps.count()).open() as run:
            await run.result()
    stage = run.report().stages[1]
    assert (stage.made, stage.absorbed, stage.skipped, stage.abandoned) == (0, 0, 1, 203)


async def test_a_window_that_waits_for_room_is_given_on_and_not_held(
    autojump_clock: MockClock,
) -> None:
    @ps.transform
    async def stuck(receive: ps.Receiver[object], send: ps.Sender[object]) -> None:
        await trio.sleep_forever()

    windows = in_chunks([3, 3]).key_by(lambda n: n).window(ps.by_count(1)).count()
    with trio.move_on_after(1):
        async with windows.buffer(1).via(stuck).to(ps.count()).open() as run:
            await trio.sleep(0.5)
            check_stages(run.stats())
            stage = run.stats().stages[1]
            assert (stage.made, stage.absorbed) == (0, 0)
            assert stage.items_in == stage.items_out + stage.held
            await run.result()
    stage = run.report().stages[1]
    assert (stage.made, stage.absorbed) == (0, 0)


async def test_items_that_a_window_had_not_come_to_when_it_failed_are_abandoned() -> None:
    def add(total: int, number: int) -> int:
        if number == 250:
            raise Failed
        return total + number

    windows = in_chunks([200, 100]).key_by(lambda _: 0).window(ps.session(1), lambda _: 0)
    stream = windows.aggregate(int, add, lambda one, other: one + other)
    with pytest.raises(ps.StageError):
        async with stream.to(ps.count()).open() as run:
            await run.result()
    stage = run.report().stages[1]
    assert (stage.items_in, stage.absorbed, stage.abandoned) == (300, 0, 300)
