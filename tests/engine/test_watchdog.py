"""The watchdog names the stage that computed for over a tenth of a second without a pause.

The stages really compute that long. On a busy machine other steps may take long, too, so only what
is said of the stage in question counts.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps
from penstock._watchdog import _shared, watching


def hog(item: int) -> int:
    """Compute for 0.12 s."""
    until = perf_counter() + 0.12
    while perf_counter() < until:
        pass
    return item


async def hog_async(item: int) -> int:
    await trio.lowlevel.checkpoint()
    return hog(item)


def hog_in_pieces(item: int) -> Iterator[int]:
    yield hog(item)


@ps.producer
async def hog_producer() -> AsyncIterator[int]:
    yield hog(1)


@ps.producer(chunked=True)
async def chunked_producer(send: ps.Sender[int]) -> None:
    await send.chunk([1])


@ps.transform
async def hog_transform(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for item in receive:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hog_and_send, item, send)


async def _hog_and_send(item: int, send: ps.Sender[int]) -> None:
    await send(hog(item))


@ps.sink
async def hog_sink(receive: ps.Receiver[int]) -> int:
    return sum([hog(item) async for item in receive])


async def same(item: int) -> int:
    return item


def half(item: int) -> int:
    """Compute for 0.06 s."""
    until = perf_counter() + 0.06
    while perf_counter() < until:
        pass
    return item


def told_of(caplog: pytest.LogCaptureFixture, stage: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "penstock.watchdog"
        and record.getMessage().startswith(f"{stage} held the event loop for ")
    ]


def stage_of(report: ps.RunStats, name: str) -> ps.StageStats:
    return next(stage for stage in report.stages if stage.name == name)


one = ps.from_iterable([1])


@pytest.mark.parametrize(
    ("stage", "pipeline", "advice"),
    [
        ("map(hog)", one.map(hog).to(ps.drain()), "map_blocking"),
        ("map(hog)", one.map_async(same, 1).map(hog).to(ps.drain()), "map_blocking"),
        ("map(hog)", one.buffer(1).map(hog).to(ps.drain()), "map_blocking"),
        ("map(hog)", hog_producer().map(str).map(int).map(hog).to(ps.drain()), "map_blocking"),
        ("flat_map(hog_in_pieces)", one.flat_map(hog_in_pieces).to(ps.drain()), "map_blocking"),
        ("from_iterable", ps.from_iterable(map(hog, [1])).to(ps.drain()), "blocking=True"),
        ("fold(<lambda>)", one.to(ps.fold(0, lambda _, n: hog(n))), "map_blocking"),
        ("map_async(hog_async)", one.map_async(hog_async, 3).to(ps.drain()), "checkpoint()"),
        ("for_each(hog)", one.to(ps.for_each(hog)), "checkpoint()"),
        ("for_each(hog_async)", one.to(ps.for_each(hog_async, concurrency=2)), "checkpoint()"),
        ("hog_producer", hog_producer().to(ps.drain()), "checkpoint()"),
        ("hog_producer", hog_producer().map(str).to(ps.drain()), "checkpoint()"),
        ("hog_transform", one.via(hog_transform).to(ps.drain()), "checkpoint()"),
        ("hog_sink", one.map(str).map(int).to(hog_sink()), "checkpoint()"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_it_names_the_stage_wherever_it_is(
    stage: str, pipeline: ps.Pipeline[Any], advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pipeline.open(watchdog=True) as run:
        await run.result()
    seen = stage_of(run.report(), stage)
    assert seen.held_the_loop == 1
    assert seen.held_the_loop_longest >= 0.12
    (line,) = told_of(caplog, stage)
    assert advice in line
    assert line.endswith(f"(stage written at {seen.where})")
    assert seen.where is not None
    assert seen.where.file == __file__


async def test_fused_stages_that_only_together_take_long_are_not_blamed_on_the_source(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = chunked_producer().map(half).map(half).to(ps.drain())
    async with pipeline.open(watchdog=True) as run:
        await run.result()
    held = [stage.name for stage in run.report().stages if stage.held_the_loop]
    assert len(held) == 1
    assert held[0].startswith("map(half)")
    assert len(told_of(caplog, "map(half)")) == 1


async def test_only_the_time_without_a_turn_for_others_counts() -> None:
    async def patient(item: int) -> int:
        for _ in range(30):
            until = perf_counter() + 0.02
            while perf_counter() < until:
                pass
            await trio.lowlevel.checkpoint()
        return item

    async with one.map_async(patient, 1).to(ps.drain()).open(watchdog=True) as run:
        await run.result()
    assert stage_of(run.report(), "map_async(patient)").held_the_loop_longest < 0.5


async def test_it_tells_the_first_time_and_then_seldom(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = ps.from_iterable(range(11)).map_async(hog_async, 1).to(ps.drain())
    async with pipeline.open(watchdog=True) as run:
        await run.result()
    assert stage_of(run.report(), "map_async(hog_async)").held_the_loop == 11
    first, tenth = told_of(caplog, "map_async(hog_async)")
    assert "times" not in first
    assert "(10 times, up to 0." in tenth


async def test_without_it_only_what_is_fused_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    async with one.map(hog).map_async(hog_async, 1).to(ps.drain()).open() as run:
        await run.result()
    assert [stage.held_the_loop for stage in run.report().stages] == [0, 1, 0, 0]
    assert caplog.records == []


async def test_a_pipeline_that_a_stage_runs_is_a_part_of_that_stage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run_inner(_item: int) -> None:
        await one.map(hog).to(ps.drain()).run()

    async with one.to(ps.for_each(run_inner)).open(watchdog=True) as run:
        await run.result()
    assert stage_of(run.report(), "for_each(run_inner)").held_the_loop == 1
    assert len(told_of(caplog, "map(hog)")) == 1
    assert told_of(caplog, "for_each(run_inner)") == []


def test_as_an_instrument_it_watches_every_pipeline(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.to(ps.for_each(hog)).run)
            nursery.start_soon(one.map_async(hog_async, 1).to(ps.drain()).run)

    trio.run(main, instruments=[ps.Watchdog()])
    assert len(told_of(caplog, "for_each(hog)")) == 1
    assert len(told_of(caplog, "map_async(hog_async)")) == 1


def test_from_synchronous_code(caplog: pytest.LogCaptureFixture) -> None:
    assert ps.run(one.map(hog).to(ps.collect()), watchdog=True) == [1]
    assert len(told_of(caplog, "map(hog)")) == 1


# The instrument comes and goes


def watchdog_in_use() -> ps.Watchdog | None:
    """The watchdog that Trio has as an instrument right now."""
    shared = _shared.get()
    if shared is None:
        return None
    try:
        trio.lowlevel.remove_instrument(shared.watchdog)
    except KeyError:
        return None
    trio.lowlevel.add_instrument(shared.watchdog)
    return shared.watchdog


async def _fail(_item: int) -> None:
    raise ValueError


def _refuse(_stats: ps.RunStats) -> None:
    raise ValueError


async def test_it_is_there_for_the_time_of_the_run_and_not_longer() -> None:
    seen: list[ps.Watchdog | None] = []

    async def look(_item: int) -> None:
        seen.append(watchdog_in_use())

    await one.to(ps.for_each(look)).run(watchdog=True)
    assert len(seen) == 1
    assert seen[0] is not None
    assert watchdog_in_use() is None


@pytest.mark.parametrize("how", ["failure", "cancelled", "progress", "body"])
async def test_it_is_removed_however_the_run_ends(how: str) -> None:
    ends: dict[str, Callable[[], Any]] = {
        "failure": lambda: one.to(ps.for_each(_fail)).run(watchdog=True),
        "progress": lambda: one.to(ps.drain()).run(watchdog=True, progress=_refuse),
        "cancelled": _run_cancelled,
        "body": _leave_with_an_error,
    }
    with pytest.raises((ps.StageError, ValueError)):
        await ends[how]()
    assert watchdog_in_use() is None


async def _run_cancelled() -> None:
    with trio.move_on_after(0) as scope:
        await ps.every(1).to(ps.drain()).run(watchdog=True)
    if scope.cancelled_caught:
        raise ValueError


async def _leave_with_an_error() -> None:
    async with ps.every(1).to(ps.drain()).open(watchdog=True):
        await wait_all_tasks_blocked()
        assert watchdog_in_use()
        raise ValueError


async def test_runs_that_go_on_together_share_one() -> None:
    endless = ps.every(1).to(ps.drain())
    async with endless.open(watchdog=True) as first:
        await wait_all_tasks_blocked()
        watchdog = watchdog_in_use()
        async with endless.open(watchdog=True) as second:
            await wait_all_tasks_blocked()
            assert watchdog_in_use() is watchdog is not None
            await second.stop()
        assert watchdog_in_use() is watchdog
        await first.stop()
    assert watchdog_in_use() is None
    async with endless.open(watchdog=True) as again:
        await wait_all_tasks_blocked()
        assert watchdog_in_use()
        await again.stop()


@pytest.mark.expect_error_log
async def test_an_error_of_its_own_breaks_no_run(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no room on the disk")

    logger = logging.getLogger("penstock.watchdog")
    handler = Broken()
    logger.addHandler(handler)
    try:
        items = ps.from_iterable(range(3))
        assert await items.map(hog).to(ps.collect()).run(watchdog=True) == [0, 1, 2]
    finally:
        logger.removeHandler(handler)
    assert watchdog_in_use() is None
    assert "Instrument has been disabled" in caplog.text  # Trio's own words
    with watching():
        assert watchdog_in_use()
    assert watchdog_in_use() is None
