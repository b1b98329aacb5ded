"""At every moment, and however a run ends, it is known of every item where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeAlias

import trio
from hypothesis import given
from hypothesis import strategies as st

import penstock as ps

Ending: TypeAlias = Literal["done", "stopped", "cancelled", "failed"]
Operator: TypeAlias = Callable[[ps.Stream[int]], ps.Stream[int]]


class Failed(Exception):
    pass


def failing_at(number: int | None) -> Callable[[int], int]:
    """A function that fails on its n-th call."""
    calls = 0

    def call(item: int) -> int:
        nonlocal calls
        calls += 1
        if calls == number:
            raise Failed
        return item

    return call


async def pause(item: int) -> int:
    for _ in range(item % 3):
        await trio.lowlevel.checkpoint()
    return item


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


@ps.sink
async def letters(receive: ps.Receiver[object]) -> None:
    async for _ in receive.chunks():
        await trio.lowlevel.checkpoint()


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


@ps.producer(chunked=True)
async def in_chunks(send: ps.Sender[int], sizes: list[int]) -> None:
    number = 0
    for size in sizes:
        await send.chunk(list(range(number, number + size)))
        number += size


@ps.producer
async def one_by_one(send: ps.Sender[int], sizes: list[int]) -> None:
    for number in range(sum(sizes)):
        await send(number)


sources = st.builds(
    lambda make, sizes: make(sizes),
    st.sampled_from([in_chunks, one_by_one, lambda sizes: ps.from_iterable(range(sum(sizes)))]),
    st.lists(st.integers(1, 60), max_size=8),
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
    for stage in stages:
        assert min(stage.items_in, stage.made, stage.absorbed, stage.held, stage.abandoned) >= 0
        gone = stage.skipped + stage.dead_lettered + stage.dropped + stage.late + stage.abandoned
        kept = stage.items_out + stage.absorbed + stage.held
        assert stage.items_in + stage.made == kept + gone, stage
        if stage.name.startswith(("map", "buffer", "merge")):
            assert (stage.made, stage.absorbed) == (0, 0), stage
        if stage.name.startswith(("filter", "take", "skip", "every_third", "for_each", "fold")):
            assert stage.made == 0, stage
    assert sent == given_on


async def run_to(ending: Ending, pipeline: ps.Pipeline[Any], turns: int) -> ps.Report:
    with suppress(Failed, ps.StageError, ps.RunStopped), trio.CancelScope() as scope:
        async with pipeline.open() as run:
            for _ in range(turns):
                check(pipeline, run.stats())
                await trio.lowlevel.checkpoint()
            if ending == "stopped":
                await run.stop(0)
            elif ending == "cancelled":
                scope.cancel()
            await run.result()
    return run.report()


@given(
    sources,
    st.lists(operators, max_size=5),
    sinks,
    st.sampled_from(["done", "stopped", "cancelled", "failed"]),
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
    report = trio.run(run_to, ending, pipeline, turns)
    check(pipeline, report)
    assert all(stage.held == 0 for stage in report.stages)
    if report.outcome == "done":
        losing = [stage.name for stage in report.stages if stage.abandoned]
        assert not losing or "take" in {stage.name for stage in report.stages}
