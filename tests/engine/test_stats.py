from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps


def stage(name: str, items_in: int, items_out: int) -> ps.StageStats:
    return ps.StageStats(name, 0, items_in, items_out, 0, 2, 30, 4, 0.5, None)


def test_the_report_is_a_table() -> None:
    report = ps.Report(
        seconds=1.5,
        outcome="failed",
        stages=(stage("from_iterable", 0, 12345), stage("map(parse)", 12345, 7)),
        buffers=(),
        bottleneck=None,
        error="map(parse) failed",
    )
    assert str(report) == (
        "stage              in     out  skipped  dropped  abandoned  busy s\n"
        "from_iterable       0  12,345        2       30          4   0.500\n"
        "map(parse)     12,345       7        2       30          4   0.500\n"
        "failed after 1.50 s: map(parse) failed"
    )


def test_a_report_without_an_error_ends_with_the_outcome() -> None:
    assert str(ps.Report(2.0, "done", (), (), None)).endswith("done after 2.00 s")


def test_snapshots_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        stage("map", 1, 1).items_in = 5  # type: ignore[misc]  # that is what is tested


async def test_every_stage_counts_what_goes_in_and_out() -> None:
    pipeline = (
        ps.from_iterable(range(10))
        .filter(lambda n: n % 2)
        .flat_map(lambda n: [n, n])
        .map(lambda n: 1 // (n - 3), errors="skip")
        .buffer(3)
        .to(ps.collect())
    )
    async with pipeline.open() as run:
        await run.result()
    counts = [
        (stage.name, stage.items_in, stage.items_out, stage.skipped, stage.errors)
        for stage in run.report().stages
    ]
    assert counts == [
        ("from_iterable", 0, 10, 0, 0),
        ("filter(<lambda>)", 10, 5, 0, 0),
        ("flat_map(<lambda>)", 5, 10, 0, 0),
        ("map(<lambda>)", 10, 8, 2, 2),
        ("buffer", 8, 8, 0, 0),
        ("collect", 8, 0, 0, 0),
    ]


async def test_stages_of_one_name_are_told_apart() -> None:
    pipeline = ps.from_iterable([1]).map(str).map(str).to(ps.collect())
    async with pipeline.open() as run:
        await run.result()
    assert [stage.name for stage in run.stats().stages] == [
        "from_iterable",
        "map(str)",
        "map(str)#2",
        "collect",
    ]


async def test_a_buffer_shows_its_bound_its_peak_and_what_is_held() -> None:
    gate = trio.Event()

    async def wait(_item: int) -> None:
        await gate.wait()

    pipeline = ps.from_iterable(range(100)).buffer(8).to(ps.for_each(wait))
    async with pipeline.open() as run:
        await wait_all_tasks_blocked()
        (buffer,) = run.stats().buffers
        assert (buffer.before, buffer.capacity) == ("buffer", 8)
        assert 0 < buffer.held <= buffer.peak <= 8
        gate.set()
    (buffer,) = run.stats().buffers
    assert (buffer.passed, buffer.held, buffer.dropped) == (100, 0, 0)


async def test_what_a_cut_off_run_had_in_flight_is_abandoned_and_adds_up() -> None:
    async def never(_item: int) -> None:
        await trio.sleep_forever()

    pipeline = ps.from_iterable(range(100)).map(str).buffer(8).to(ps.for_each(never))  # type: ignore[arg-type]  # items are not looked at
    async with pipeline.open() as run:
        await wait_all_tasks_blocked()
        await run.stop(0)
    _source, to_str, buffer, sink = run.report().stages
    assert run.report().outcome == "stopped"
    assert sink.items_in == 1
    assert to_str.items_out == buffer.items_in + buffer.abandoned
    assert buffer.abandoned >= 8


async def test_what_a_stage_was_given_after_it_had_enough_is_abandoned() -> None:
    @ps.producer(chunked=True)
    async def many(send: ps.Sender[int]) -> None:
        while True:
            await send.chunk([0] * 5000)

    async with many().take(10).to(ps.count()).open() as run:
        assert await run.result() == 10
    source, take, _count = run.report().stages
    assert source.items_out == take.items_in + take.abandoned


async def test_the_bottleneck_is_the_stage_that_works_while_others_wait() -> None:
    def slow(item: int) -> int:
        return sum(range(20_000)) and item

    pipeline = ps.from_iterable(range(200)).map_async(_same, 2).map(slow).to(ps.drain())
    async with pipeline.open() as run:
        assert run.stats().bottleneck is None
    assert run.stats().bottleneck == "map(slow)"


async def test_a_source_that_waits_for_its_time_hides_no_bottleneck() -> None:
    enough = trio.Event()

    async def slow(item: int) -> int:
        await trio.sleep(0.002)
        if item >= 100:
            enough.set()
        return item

    async with ps.every(0.001).map_async(slow, 1).to(ps.drain()).open() as run:
        await enough.wait()
        assert run.stats().bottleneck == "map_async(slow)"
        await run.stop(0)


async def test_a_source_that_is_waited_for_sets_the_pace() -> None:
    enough = trio.Event()

    async def note(item: int) -> None:
        await trio.lowlevel.checkpoint()
        if item >= 4:
            enough.set()

    async with ps.every(0.01).map_async(_same, 1).to(ps.for_each(note)).open() as run:
        await enough.wait()
        assert run.stats().bottleneck == "every(0.01)"
        await run.stop(0)


async def test_a_buffer_tells_which_stages_send_into_it() -> None:
    merged = ps.merge(ps.from_iterable([1]).map(str), ps.from_iterable(["2"]))
    async with merged.buffer(8).to(ps.for_each(_forget)).open() as run:
        await run.result()
    before_merge, before_sink = run.stats().buffers
    assert (before_merge.before, before_merge.after) == ("merge", ("map(str)", "from_iterable#2"))
    assert before_sink.after == ("merge",)


async def test_a_stage_that_waits_for_items_is_not_busy_meanwhile() -> None:
    send, receive = trio.open_memory_channel[int](1)
    async with ps.from_channel(receive).map_async(_same, 1).to(ps.count()).open() as run:
        await send.send(1)
        await wait_all_tasks_blocked()
        before = run.stats()
        for _ in range(1000):
            await trio.lowlevel.checkpoint()
        after = run.stats()
        busy = after.stages[1].busy - before.stages[1].busy
        assert busy < (after.seconds - before.seconds) / 2
        send.close()


async def _same(item: int) -> int:
    return item


async def _forget(_item: str) -> None:
    await trio.lowlevel.checkpoint()
