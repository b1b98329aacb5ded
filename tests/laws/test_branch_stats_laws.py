"""With branches and joins, too, it is known of every item where it is, however a run ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import penstock as ps

from .endings import (
    Ending,
    check_stages,
    endings,
    failing_at,
    in_chunks,
    letters,
    pause,
    run_to,
    sources,
)

Numbers: TypeAlias = ps.Stream[int]
Split: TypeAlias = Callable[[Numbers], list[Numbers]]
Join: TypeAlias = Callable[[list[Numbers]], ps.Stream[Any]]
SPLITS = {"broadcast", "partition", "route"}


def partitioned(stream: Numbers) -> list[Numbers]:
    return list(stream.partition(lambda n: n % 3))


def uncertain(stream: Numbers) -> list[Numbers]:
    return list(stream.partition(lambda n: 1 // (n % 4), errors=ps.dead_letter(letters())))


def skipping(stream: Numbers) -> list[Numbers]:
    return list(stream.partition(lambda n: 1 // (n % 4), errors="skip"))


def routed(stream: Numbers) -> list[Numbers]:
    return [
        stream.route(
            lambda n: n % 5,
            {0: lambda s: s.map(lambda n: n + 1), 1: lambda s: s.take(2), 2: lambda s: s.buffer(2)},
            otherwise="drop",
        )
    ]


def sorted_up(streams: list[Numbers]) -> ps.Stream[Any]:
    return ps.merge_sorted(*(s.scan(0, lambda a, b: a + b) for s in streams), key=lambda n: n)


splits: st.SearchStrategy[Split] = st.sampled_from(
    [
        lambda s: list(s.broadcast(2)),
        lambda s: list(s.broadcast(2, buffer=3)),
        lambda s: list(s.broadcast(3, buffer=1)),
        partitioned,
        uncertain,
        skipping,
        routed,
    ]
)
operators: st.SearchStrategy[Callable[[Numbers], Numbers]] = st.sampled_from(
    [
        lambda s: s.map(lambda n: n + 1),
        lambda s: s.filter(lambda n: n % 2),
        lambda s: s.take(7),
        lambda s: s.buffer(3, "drop_oldest"),
        lambda s: s.buffer(2, "conflate", key=lambda n: n % 5),
        lambda s: s.map_async(pause, 2),
    ]
)
joins: st.SearchStrategy[Join] = st.sampled_from(
    [
        lambda streams: ps.zip(*streams),
        lambda streams: ps.zip(*streams, strict=True),
        lambda streams: ps.concat(*streams),
        lambda streams: ps.merge(*streams),
        lambda streams: ps.interleave(*streams),
        lambda streams: ps.combine_latest(*streams),
        sorted_up,
    ]
)
sinks: st.SearchStrategy[Callable[[], ps.Sink[Any, Any]]] = st.sampled_from(
    [ps.count, lambda: ps.for_each(lambda _: None), ps.collect]
)


def check(pipeline: ps.Pipeline[Any], stats: ps.RunStats) -> None:
    stages = stats.stages
    sent, came = Counter[int](), Counter[int]()
    edges = [edge for edge in pipeline.graph().edges if stages[edge.target].name != "letters"]
    for edge in edges:
        source, target = stages[edge.source], stages[edge.target]
        is_split = source.name.partition("#")[0] in SPLITS
        link = -1 - edge.source if is_split else edge.target  # of one to many, or of many to one
        if is_split:
            sent[link] = source.items_out
            came[link] += target.items_in
        else:
            sent[link] += source.items_out
            came[link] = target.items_in
    check_stages(stats)
    for stage in stages:
        if stage.name.startswith(("partition", "route", "merge", "concat", "interleave")):
            assert (stage.made, stage.absorbed) == (0, 0), stage
        if stage.name.startswith("broadcast["):
            assert (stage.made, stage.absorbed, stage.dropped) == (0, 0, 0), stage
        if stage.name.startswith(("broadcast", "zip")):
            assert 0 in (stage.made, stage.absorbed), stage
    assert sent == came


@given(
    sources,
    splits,
    st.lists(operators, max_size=4),
    st.one_of(st.none(), joins),
    sinks,
    endings,
    st.integers(0, 20),
)
def test_items_in_and_made_are_those_given_on_left_out_lost_and_held(
    source: Numbers,
    split: Split,
    on_the_way: list[Callable[[Numbers], Numbers]],
    join: Join | None,
    sink: Callable[[], ps.Sink[Any, Any]],
    ending: Ending,
    turns: int,
) -> None:
    branches = split(source)
    for number, operator in enumerate(on_the_way):
        branches[number % len(branches)] = operator(branches[number % len(branches)])
    if ending == "failed":
        branches[turns % len(branches)] = branches[turns % len(branches)].map(failing_at(turns + 1))
    if join is None:
        pipeline: ps.Pipeline[Any] = ps.gather(*(branch.to(sink()) for branch in branches))
    else:
        pipeline = join([branch.buffer(500) for branch in branches]).to(sink())
    trio.run(run_to, ending, pipeline, turns, check)


async def stats_of(pipeline: ps.Pipeline[Any]) -> dict[str, ps.StageStats]:
    async with pipeline.open() as run:
        with suppress(ps.StageError):
            await run.result()
    check(pipeline, run.report())
    return {stage.name: stage for stage in run.report().stages}


async def test_a_broadcast_makes_the_copies() -> None:
    a, b, c = ps.from_iterable(range(10)).broadcast(3)
    stats = await stats_of(ps.gather(a.to(ps.count()), b.to(ps.count()), c.to(ps.count())))
    split = stats["broadcast"]
    assert (split.items_in, split.made, split.items_out) == (10, 20, 30)
    assert stats["broadcast[2]"].items_in == stats["broadcast[2]"].items_out == 10


@pytest.mark.parametrize("size", [1, 4, 1000])
async def test_items_of_a_partition_for_a_branch_that_has_ended_are_abandoned(size: int) -> None:
    evens, odds = in_chunks([size] * (1000 // size)).partition(lambda n: n % 2 == 0)
    stats = await stats_of(ps.gather(evens.take(3).to(ps.count()), odds.to(ps.count())))
    lost = sum(stage.abandoned for stage in stats.values())
    assert stats["count"].items_in == 3
    assert stats["count#2"].items_in == 500
    assert lost == 497


async def test_the_drops_of_a_buffer_behind_a_branch_are_the_buffers() -> None:
    gate = trio.Event()

    async def wait(_: int) -> None:
        await gate.wait()

    async def open_gate(_: int) -> None:
        gate.set()

    slow, quick = in_chunks([1] * 50).broadcast(2)
    stats = await stats_of(
        ps.gather(
            slow.buffer(2, "drop_oldest").to(ps.for_each(wait)),
            quick.skip(49).to(ps.for_each(open_gate)),
        )
    )
    assert stats["broadcast[0]"].items_out == 50
    assert stats["broadcast[0]"].dropped == 0
    assert stats["buffer"].dropped > 40
    assert stats["buffer"].items_in == 50


async def test_what_a_zip_had_of_the_longer_stream_is_abandoned() -> None:
    stats = await stats_of(ps.zip(in_chunks([5]), in_chunks([100])).to(ps.count()))
    joined = stats["zip"]
    assert (joined.items_in, joined.items_out, joined.absorbed, joined.abandoned) == (105, 5, 5, 95)


async def test_the_item_that_a_strict_zip_fails_on_is_abandoned() -> None:
    stats = await stats_of(ps.zip(in_chunks([5]), in_chunks([7]), strict=True).to(ps.count()))
    joined = stats["zip"]
    assert (joined.items_in, joined.items_out, joined.absorbed, joined.abandoned) == (12, 5, 5, 2)
