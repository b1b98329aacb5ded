from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps
from penstock._measure import Lately, Span


def stage(name: str, items_in: int, items_out: int, **counts: Any) -> ps.StageStats:
    zero = {
        field: 0
        for field in ps.StageStats.__slots__
        if field not in ("name", "items_in", "items_out", "where")
    }
    return ps.StageStats(
        name=name, items_in=items_in, items_out=items_out, where=None, **{**zero, **counts}
    )


def balances(stage: ps.StageStats) -> bool:
    """Whether it is known of every item where it is."""
    gone = stage.skipped + stage.dead_lettered + stage.dropped + stage.late + stage.abandoned
    return stage.items_in + stage.made == stage.items_out + stage.absorbed + gone + stage.held


async def _same(item: int) -> int:
    return item


def _plus_one(item: int) -> int:
    return item + 1


async def _forget(_item: object) -> None:
    await trio.lowlevel.checkpoint()


async def _never(_item: object) -> None:
    await trio.sleep_forever()


def test_the_report_is_a_table() -> None:
    report = ps.Report(
        seconds=1.5,
        outcome="failed",
        stages=(
            stage("from_iterable", 0, 12345, abandoned=4, busy=0.5),
            stage("map(parse)", 12345, 7, skipped=2, dropped=30),
        ),
        buffers=(),
        bottleneck=None,
        error="map(parse) failed",
    )
    assert str(report) == (
        "stage              in     out  skipped  dropped  abandoned  busy s\n"
        "from_iterable       0  12,345        0        0          4   0.500\n"
        "map(parse)     12,345       7        2       30          0   0.000\n"
        "failed after 1.50 s: map(parse) failed"
    )


def test_the_report_has_a_column_for_what_is_rare_only_where_it_came_up() -> None:
    seldom = stage("map(parse)", 9, 3, retried=5, dead_lettered=1, late=2, evicted=8)
    report = ps.Report(1.0, "done", (stage("read", 0, 9), seldom), (), None)
    heading, _, row, _ = str(report).splitlines()
    assert heading.split() == [
        *("stage", "in", "out", "skipped", "retried", "dead-lettered", "late", "dropped"),
        *("abandoned", "evicted", "busy", "s"),
    ]
    assert row.split() == ["map(parse)", "9", "3", "0", "5", "1", "2", "0", "0", "8", "0.000"]


def test_a_report_without_an_error_ends_with_the_outcome() -> None:
    assert str(ps.Report(2.0, "done", (), (), None)).endswith("done after 2.00 s")


def test_snapshots_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        stage("map", 1, 1).items_in = 5  # type: ignore[misc]  # that is what is tested


# Where the items are


async def test_every_stage_counts_what_goes_in_and_out() -> None:
    pipeline = (
        ps.from_iterable(range(10))
        .filter(lambda n: n % 2)
        .flat_map(lambda n: [n, n])
        .map(lambda n: 1 // (n - 3), errors="skip")
        .buffer(3)
        .batch(3)
        .to(ps.collect())
    )
    async with pipeline.open() as run:
        await run.result()
    counts = [
        (stage.name, stage.items_in, stage.items_out, stage.made, stage.absorbed, stage.skipped)
        for stage in run.report().stages
    ]
    assert counts == [
        ("from_iterable", 0, 10, 10, 0, 0),
        ("filter(<lambda>)", 10, 5, 0, 5, 0),
        ("flat_map(<lambda>)", 5, 10, 5, 0, 0),
        ("map(<lambda>)", 10, 8, 0, 0, 2),
        ("buffer", 8, 8, 0, 0, 0),
        ("batch", 8, 3, 0, 5, 0),
        ("collect", 3, 0, 0, 3, 0),
    ]
    assert [stage.errors for stage in run.report().stages] == [0, 0, 0, 2, 0, 0, 0]
    assert all(balances(stage) and not stage.held for stage in run.report().stages)


async def test_what_waits_in_front_of_a_stage_and_in_its_hands_is_held() -> None:
    gate = trio.Event()

    async def wait(item: int) -> int:
        await gate.wait()
        return item

    pipeline = ps.from_iterable(range(100)).map(_plus_one).map_async(wait, 2).to(ps.count())
    async with pipeline.open() as run:
        await wait_all_tasks_blocked()
        source, plus_one, waiting, counting = run.stats().stages
        assert (source.items_out, plus_one.items_out) == (100, 100)
        assert (waiting.items_in, waiting.items_out, waiting.held) == (100, 0, 100)
        assert (counting.items_in, counting.held) == (0, 0)
        gate.set()
    assert [stage.held for stage in run.stats().stages] == [0, 0, 0, 0]
    assert run.stats().stages[-1].absorbed == 100


async def test_items_that_wait_for_room_are_held_by_the_stage_behind() -> None:
    @ps.producer
    async def many(send: ps.Sender[int]) -> None:
        await send.chunk(list(range(100)))

    async with many().buffer(8).to(ps.for_each(_never)).open() as run:
        await wait_all_tasks_blocked()
        source, buffer, sink = run.stats().stages
        assert source.items_out == buffer.items_in == 100
        assert sink.items_in == sink.held == 1
        assert buffer.held == 99
        await run.stop(0)
    assert [stage.abandoned for stage in run.report().stages] == [0, 99, 1]


async def test_a_stage_of_ones_own_has_what_it_took_last() -> None:
    gate = trio.Event()

    @ps.transform
    async def every_other(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
        async for item in receive:
            if item == 7:
                await gate.wait()
            if item % 2:
                await send(item)

    stream = ps.from_iterable(range(10)).via(every_other)
    async with stream.to(ps.count()).open() as run:
        await wait_all_tasks_blocked()
        stage = run.stats().stages[1]
        assert (stage.items_in, stage.items_out, stage.absorbed, stage.held) == (10, 3, 4, 3)
        gate.set()
    assert run.stats().stages[1].absorbed == 5
    gate = trio.Event()
    async with stream.to(ps.count()).open() as run:
        await wait_all_tasks_blocked()
        await run.stop(0)
    stage = run.stats().stages[1]
    assert (stage.absorbed, stage.abandoned, stage.held) == (4, 3, 0)


async def test_a_sink_of_ones_own_has_the_chunk_it_took_last() -> None:
    @ps.sink
    async def hold(receive: ps.Receiver[int]) -> None:
        await receive.chunk()
        await receive.chunk()
        await trio.sleep_forever()

    async with ps.from_iterable(range(9)).buffer(3).to(hold()).open() as run:
        await wait_all_tasks_blocked()
        sink = run.stats().stages[-1]
        assert sink.held > 0
        await run.stop(0)
    after = run.report().stages[-1]
    assert (after.abandoned, after.absorbed) == (sink.held, sink.absorbed)


async def test_what_a_cut_off_run_had_in_flight_is_abandoned_and_adds_up() -> None:
    pipeline = ps.from_iterable(range(100)).map(str).buffer(8).to(ps.for_each(_never))
    async with pipeline.open() as run:
        await wait_all_tasks_blocked()
        await run.stop(0)
    _source, to_str, buffer, sink = run.report().stages
    assert run.report().outcome == "stopped"
    assert (sink.items_in, sink.abandoned) == (1, 1)
    assert to_str.items_out == buffer.items_in
    assert buffer.abandoned == buffer.items_in - 1 >= 8
    assert all(balances(stage) for stage in run.report().stages)


async def test_what_a_stage_was_given_after_it_had_enough_is_abandoned() -> None:
    @ps.producer(chunked=True)
    async def many(send: ps.Sender[int]) -> None:
        while True:
            await send.chunk([0] * 5000)

    async with many().take(10).to(ps.count()).open() as run:
        assert await run.result() == 10
    source, take, _count = run.report().stages
    assert source.items_out == take.items_in
    assert take.abandoned > 0
    assert balances(take)


async def test_what_the_failing_function_had_in_its_hands_is_abandoned() -> None:
    def fail(item: int) -> int:
        return 1 // (item - 3)

    async with ps.from_iterable(range(10)).map(fail).to(ps.drain()).open() as run:
        with pytest.raises(ps.StageError):
            await run.result()
    failing = run.report().stages[1]
    assert (failing.errors, failing.absorbed, failing.held) == (1, 0, 0)
    assert failing.abandoned == failing.items_in - failing.items_out >= 1


async def test_the_items_of_an_overflow_are_abandoned_by_the_buffer() -> None:
    pipeline = ps.from_iterable(range(100)).buffer(8, "fail").to(ps.for_each(_never))
    async with pipeline.open() as run:
        with pytest.raises(ps.StageError):
            await run.result()
    source, buffer, _sink = run.report().stages
    assert source.items_out == buffer.items_in
    assert all(balances(stage) for stage in run.report().stages)


async def test_what_a_buffer_drops_is_dropped_by_the_stage() -> None:
    pipeline = ps.from_iterable(range(100)).buffer(8, "drop_oldest").to(ps.for_each(_forget))
    async with pipeline.open() as run:
        await run.result()
    _source, buffer, sink = run.report().stages
    assert buffer.items_in == 100
    assert buffer.dropped == 100 - sink.items_in > 0
    assert run.report().buffers[0].dropped == buffer.dropped


async def test_dead_letters_are_what_their_sink_takes() -> None:
    letters: list[ps.DeadLetter[int]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    pipeline = ps.from_iterable(range(10)).map(lambda n: 1 // (n % 2), errors=errors).to(ps.count())
    async with pipeline.open() as run:
        assert await run.result() == 5
    _source, mapped, _count, sink = run.report().stages
    assert (mapped.dead_lettered, mapped.errors, mapped.absorbed) == (5, 5, 0)
    assert (sink.items_in, sink.absorbed, len(letters)) == (5, 5, 5)


async def test_letters_that_could_not_be_sent_any_more_are_counted() -> None:
    errors = ps.dead_letter(ps.for_each(_never))
    pipeline = (
        ps.from_iterable(range(5000)).map(lambda n: 1 // (n - n), errors=errors).to(ps.count())
    )
    async with pipeline.open() as run:
        await wait_all_tasks_blocked()
        await run.stop(0)
    _source, mapped, _count, sink = run.report().stages
    assert mapped.dead_lettered == sink.items_in == sink.abandoned > 1024
    assert all(balances(stage) for stage in run.report().stages)


async def test_of_several_tries_the_last_decides_what_is_counted() -> None:
    tried: list[int] = []

    def fail_at_first(item: int) -> int:
        tried.append(item)
        return 1 // (tried.count(item) - 1)

    backoff = ps.Backoff(initial=0.001, maximum=0.001)
    stream = ps.from_iterable([1, 2, 3]).map(fail_at_first, errors=ps.retry(2, backoff))
    async with stream.to(ps.count()).open() as run:
        assert await run.result() == 3
    stage = run.report().stages[1]
    assert (stage.retried, stage.errors, stage.items_in, stage.items_out) == (3, 3, 3, 3)


# Rates


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


async def test_rates_of_a_run_that_is_over_are_those_of_all_its_time() -> None:
    pipeline = ps.from_iterable(range(1000)).filter(lambda n: n % 4 == 0).buffer(9).to(ps.drain())
    async with pipeline.open() as run:
        await run.result()
    stats = run.stats()
    assert run.stats() == stats
    source, kept, buffer, sink = stats.stages
    assert source.rate == pytest.approx(1000 / stats.seconds)
    assert kept.rate == buffer.rate == sink.rate == pytest.approx(250 / stats.seconds)
    assert stats.buffers[0].rate == buffer.rate


def test_a_rate_is_that_of_the_last_seconds() -> None:
    lately = Lately()

    def rate(now: float, value: float, *, is_over: bool = False) -> float:
        return lately.rates(Span(100.0, now, is_over), [value])[0]

    assert rate(101, 1000) == 1000  # since the start
    assert rate(101.001, 1000) == pytest.approx(1000, rel=0.01)  # not since the last look
    for tenth in range(1, 100):
        rate(101 + tenth / 10, 1000 + tenth)
    assert rate(111, 1100) == pytest.approx(10)  # a second, and not of all the time
    assert rate(3711, 4700) == pytest.approx(1, rel=0.01)  # nobody looked for an hour
    assert rate(3711.5, 4700) == pytest.approx(1, rel=0.01)
    assert rate(4100, 8000, is_over=True) == rate(4100, 8000, is_over=True) == 2


# Buffers


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


async def test_a_buffer_tells_which_stages_send_into_it() -> None:
    merged = ps.merge(ps.from_iterable([1]).map(str), ps.from_iterable(["2"]))
    async with merged.buffer(8).to(ps.for_each(_forget)).open() as run:
        await run.result()
    before_merge, before_sink = run.stats().buffers
    assert (before_merge.before, before_merge.after) == ("merge", ("map(str)", "from_iterable#2"))
    assert before_sink.after == ("merge",)


# The bottleneck


def slow(item: int) -> int:
    return sum(range(50_000)) and item


async def slow_async(item: int) -> int:
    await trio.lowlevel.checkpoint()
    return slow(item)


@ps.transform
async def slow_transform(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for item in receive:
        await send(slow(item))


@ps.producer
async def slow_producer() -> AsyncIterator[int]:
    for item in range(100):
        yield slow(item)


def slow_iterable() -> Iterator[int]:
    return map(slow, range(50))


fast = ps.from_iterable(range(50))


@pytest.mark.parametrize(
    ("bottleneck", "pipeline"),
    [
        ("from_iterable", ps.from_iterable(slow_iterable()).map_async(_same, 2).to(ps.drain())),
        ("slow_producer", slow_producer().map(_plus_one).to(ps.drain())),
        ("map(slow)", fast.map(slow).map_async(_same, 2).buffer(3).to(ps.drain())),
        ("map(slow)", fast.map_async(_same, 2).map(_plus_one).map(slow).buffer(3).to(ps.drain())),
        ("map(slow)", fast.buffer(3).map(slow).map_async(_same, 2).to(ps.drain())),
        ("map_async(slow_async)", fast.map(_plus_one).map_async(slow_async, 3).to(ps.drain())),
        ("slow_transform", fast.buffer(3).via(slow_transform).map(_plus_one).to(ps.drain())),
        ("map_blocking(slow)", fast.map(_plus_one).map_blocking(slow, 1).to(ps.drain())),
        ("fold(slow_sum)", fast.map_async(_same, 2).to(ps.fold(0, lambda _, item: slow(item)))),
        ("for_each(slow)", fast.map(_plus_one).buffer(3).to(ps.for_each(slow))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_bottleneck_is_named_wherever_it_is(
    bottleneck: str, pipeline: ps.Pipeline[Any]
) -> None:
    async with pipeline.open() as run:
        assert run.stats().bottleneck is None
    assert run.stats().bottleneck == bottleneck.replace("slow_sum", "<lambda>")


@pytest.mark.parametrize(
    ("bottleneck", "pipeline"),
    [
        ("slow_producer", slow_producer().map_async(_same, 2).to(ps.for_each(_forget))),
        ("map_async(slow_async)", fast.map_async(slow_async, 2).map_async(_same, 2).to(ps.drain())),
        ("for_each(slow)", fast.map_async(_same, 2).to(ps.for_each(slow))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_watchdog_tells_waiting_for_the_event_loop_from_work(
    bottleneck: str, pipeline: ps.Pipeline[Any]
) -> None:
    async with pipeline.open(watchdog=True) as run:
        await run.result()
    assert run.stats().bottleneck == bottleneck


async def test_a_source_that_waits_for_its_time_hides_no_bottleneck() -> None:
    enough = trio.Event()
    done: list[int] = []

    async def slow(item: int) -> None:
        await trio.sleep(0.02)  # really: it is measured how long who waits for whom
        done.append(item)
        if len(done) == 10:
            enough.set()

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
