"""Runs that end in every way, looked at on the way; and what their pipelines are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import trio
from hypothesis import strategies as st

import penstock as ps

Ending: TypeAlias = Literal["done", "stopped", "cancelled", "failed"]
Check: TypeAlias = Callable[[ps.Pipeline[Any], ps.RunStats], None]


class Failed(Exception):
    """Raised on purpose."""


def failing_at(number: int) -> Callable[[int], int]:
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


@ps.sink
async def letters(receive: ps.Receiver[object]) -> None:
    async for _ in receive.chunks():
        await trio.lowlevel.checkpoint()


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


sources: st.SearchStrategy[ps.Stream[int]] = st.builds(
    lambda make, sizes: make(sizes),
    st.sampled_from([in_chunks, one_by_one, lambda sizes: ps.from_iterable(range(sum(sizes)))]),
    st.lists(st.integers(1, 60), max_size=8),
)
endings: st.SearchStrategy[Ending] = st.sampled_from(["done", "stopped", "cancelled", "failed"])


def check_stages(stats: ps.RunStats) -> None:
    """Of each stage: no count is negative, and what came to it and it made is accounted for."""
    for stage in stats.stages:
        counts = (stage.items_in, stage.made, stage.absorbed, stage.held, stage.abandoned)
        assert min(counts) >= 0, stage
        gone = stage.skipped + stage.dead_lettered + stage.dropped + stage.late + stage.abandoned
        kept = stage.items_out + stage.absorbed + stage.held
        assert stage.items_in + stage.made == kept + gone, stage
        assert stage.held == 0 or stats.outcome == "running", stage


async def run_to(ending: Ending, pipeline: ps.Pipeline[Any], turns: int, check: Check) -> ps.Report:
    """Run it to an end: of itself, by a failure of its own, or at so many turns from outside.

    What it says of itself is checked at each turn, and when it is over.
    """
    try:
        with trio.CancelScope() as scope:
            async with pipeline.open() as run:
                for _ in range(turns):
                    check(pipeline, run.stats())
                    await trio.lowlevel.checkpoint()
                if ending == "stopped":
                    await run.stop(0)
                elif ending == "cancelled":
                    scope.cancel()
                await run.result()
    except* (ps.StageError, ps.RunStopped):
        pass
    check(pipeline, run.report())
    return run.report()
