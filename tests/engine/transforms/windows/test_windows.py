"""Windows in a running pipeline: when they end, what is late, what fails, what is let go of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps

Item: TypeAlias = tuple[str, float]


def key(item: Item) -> str:
    return item[0]


def time(item: Item) -> Any:
    return item[1]


def items_of(stream: ps.Stream[Any]) -> list[Any]:
    return ps.run(stream.to(ps.collect()))


@ps.producer
async def at_times(items: list[tuple[float, Any]], until: float = 0) -> AsyncIterator[Any]:
    """Each item that many seconds after the start; the end at ``until``."""
    start = trio.current_time()
    for seconds, item in items:
        await trio.sleep_until(start + seconds)
        yield item
    await trio.sleep_until(start + until)


class Seen:
    """Windows with the seconds after which they came."""

    def __init__(self) -> None:
        self._start = trio.current_time()
        self.windows: list[tuple[float, str, float, float, Any]] = []

    def __call__(self, window: ps.Window[str, Any]) -> None:
        after = round(trio.current_time() - self._start, 6)
        self.windows.append((after, window.key, window.start, window.end, window.value))


async def seen_of(stream: ps.Stream[ps.Window[str, Any]]) -> list[Any]:
    seen = Seen()
    await stream.to(ps.for_each(seen)).run()
    return seen.windows


# Event time


def test_a_window_goes_out_when_the_watermark_reaches_its_end() -> None:
    items = [("a", 1.0), ("b", 9.0), ("a", 2.0), ("a", 10.0), ("b", 3.0), ("a", 25.0)]
    late: list[Item] = []
    stream = ps.from_iterable(items).key_by(key)
    windows = stream.window(ps.tumbling(10), time=time, late=ps.for_each(late.append)).count()
    assert items_of(windows) == [
        ps.Window("a", 0.0, 10.0, 2),
        ps.Window("b", 0.0, 10.0, 1),
        ps.Window("a", 10.0, 20.0, 1),
        ps.Window("a", 20.0, 30.0, 1),
    ]
    assert late == [("b", 3.0)]


async def test_lateness_lets_items_be_out_of_order() -> None:
    items = [("a", 1.0), ("a", 12.0), ("a", 9.0), ("a", 13.0), ("a", 8.0)]
    stream = ps.from_iterable(items).key_by(key)
    windows = stream.window(ps.tumbling(10), time=time, lateness=3).count()
    async with windows.to(ps.collect()).open() as run:
        assert await run.result() == [
            ps.Window("a", 0.0, 10.0, 2),
            ps.Window("a", 10.0, 20.0, 2),
        ]
    stage = run.report().stages[1]
    assert (stage.items_in, stage.dropped, stage.late) == (5, 1, 0), "without a sink it is dropped"


async def test_late_items_go_to_their_sink_and_are_counted() -> None:
    late: list[Item] = []
    items = [("a", 50.0), ("a", 1.0), ("b", 2.0), ("a", 51.0)]
    stream = ps.from_iterable(items).key_by(key)
    windows = stream.window(ps.tumbling(10), time=time, late=ps.for_each(late.append)).count()
    async with windows.to(ps.collect()).open() as run:
        assert await run.result() == [ps.Window("a", 50.0, 60.0, 2)]
    stage = run.report().stages[1]
    assert late == [("a", 1.0), ("b", 2.0)]
    assert (stage.items_in, stage.late, stage.dropped, stage.absorbed) == (4, 2, 0, 1)


async def test_late_items_go_into_a_file(tmp_path: Any) -> None:
    path = tmp_path / "late.jsonl"
    stream = ps.from_iterable([("a", 50.0), ("a", 1.0)]).key_by(key)
    windows = stream.window(ps.tumbling(10), time=time, late=ps.write_jsonl(path)).count()
    assert await windows.to(ps.count()).run() == 1
    assert path.read_text() == '["a",1.0]\n'


def test_a_sliding_window_goes_without_an_item_that_others_still_take() -> None:
    items = [("a", 5.0), ("a", 11.0), ("a", 6.0), ("a", 30.0)]
    stream = ps.from_iterable(items).key_by(key).window(ps.sliding(10, 5), time=time)
    assert items_of(stream.sum(time)) == [
        ps.Window("a", 0.0, 10.0, 5.0),
        ps.Window("a", 5.0, 15.0, 22.0),
        ps.Window("a", 10.0, 20.0, 11.0),
        ps.Window("a", 25.0, 35.0, 30.0),
        ps.Window("a", 30.0, 40.0, 30.0),
    ]


def test_an_item_brings_two_sessions_together() -> None:
    items = [("a", 1.0), ("a", 7.0), ("b", 3.0), ("a", 4.0), ("a", 20.0)]
    stream = ps.from_iterable(items).key_by(key)
    windows = stream.window(ps.session(5), time=time, lateness=4).collect()
    assert items_of(windows) == [
        ps.Window("b", 3.0, 8.0, [("b", 3.0)]),
        ps.Window("a", 1.0, 12.0, [("a", 1.0), ("a", 4.0), ("a", 7.0)]),
        ps.Window("a", 20.0, 25.0, [("a", 20.0)]),
    ]


def test_sessions_with_the_same_end_go_out_by_their_first_item() -> None:
    items = [("a", 7.0), ("b", 7.0), ("a", 1.0), ("a", 4.0)]
    stream = ps.from_iterable(items).key_by(key).window(ps.session(5), time=time, lateness=9)
    assert [window.key for window in items_of(stream.count())] == ["a", "b"]
    reverse = ps.from_iterable([("a", 1.0), ("b", 7.0), ("a", 7.0), ("a", 4.0)]).key_by(key)
    stream = reverse.window(ps.session(5), time=time, lateness=9)
    assert [window.key for window in items_of(stream.count())] == ["a", "b"]


def test_an_item_a_whole_gap_later_begins_a_session_of_its_own() -> None:
    items = [("a", 0.0), ("a", 4.0), ("a", 9.0)]
    stream = ps.from_iterable(items).key_by(key).window(ps.session(5), time=time)
    assert items_of(stream.count()) == [ps.Window("a", 0.0, 9.0, 2), ps.Window("a", 9.0, 14.0, 1)]


@pytest.mark.parametrize(
    "given",
    [
        [0, 59, 60],
        [0.0, 59.0, 60.0],
        [datetime.fromtimestamp(n, UTC) for n in (0, 59, 60)],
        [Fraction(0), Fraction(59), Fraction(60)],
        [0, 59.0, datetime.fromtimestamp(60, UTC)],
    ],
    ids=["int", "float", "datetime", "Fraction", "mixed"],
)
def test_times_are_numbers_of_seconds_or_datetimes(given: list[Any]) -> None:
    stream = ps.from_iterable(given).key_by(lambda _: "a").window(ps.tumbling(60), time=lambda t: t)
    assert items_of(stream.count()) == [
        ps.Window("a", 0.0, 60.0, 2),
        ps.Window("a", 60.0, 120.0, 1),
    ]


@pytest.mark.parametrize("given", [nan, inf, -inf, "12", None, True, Decimal(1), 10**400])
@pytest.mark.parametrize("kind", [ps.tumbling(1), ps.session(1), ps.by_count(2)])
def test_what_is_no_time_is_an_error_on_its_item(given: Any, kind: Any) -> None:
    stream = ps.from_iterable([("a", 1.0), ("a", given)]).key_by(key).window(kind, time=time)
    with pytest.raises(ps.StageError) as caught:
        items_of(stream.count())
    assert str(caught.value.item_repr).startswith("('a', ")
    assert type(caught.value.cause) in (ValueError, TypeError, OverflowError)
    skipping = ps.from_iterable([("a", 1.0), ("a", given), ("a", 1.5)]).key_by(key)
    counted = skipping.window(kind, time=time, errors="skip").count()
    assert [window.value for window in items_of(counted)] == [2]


TOO_LARGE = [
    (ps.tumbling(5), 1.7e18),
    (ps.tumbling(0.1), 1.7e15),
    (ps.tumbling(0.1), -1.7e15),
    (ps.sliding(1, 0.1), 1.7e15 + 0.5),
    (ps.sliding(10, 5), 1.7e18),
    (ps.session(5), 1.7e18),
    (ps.session(0.1), -1.7e15),
    (ps.tumbling(1e-300), 1.0),
]


@pytest.mark.parametrize(("kind", "at"), TOO_LARGE, ids=str)
def test_a_time_too_large_for_the_windows_is_an_error_on_its_item(kind: Any, at: float) -> None:
    """There the next window's number, or its end, is the same float."""
    stream = ps.from_iterable([("a", 0.0), ("b", at)]).key_by(key).window(kind, time=time)
    with pytest.raises(ps.StageError) as caught:
        items_of(stream.count())
    assert caught.value.item_repr == repr(("b", at))
    assert str(caught.value.cause) == (
        f"time {at!r} is too large for {kind}: are these seconds, or nanoseconds?"
    )
    assert isinstance(caught.value.cause, ValueError)
    skipping = ps.from_iterable([("a", 0.0), ("b", at)]).key_by(key)
    counted = skipping.window(kind, time=time, errors="skip").count()
    assert {window.key for window in items_of(counted)} == {"a"}


@pytest.mark.parametrize("kind", [ps.tumbling(1e-12), ps.session(1e-12)], ids=str)
def test_nor_can_windows_by_the_clock_be_so_small(kind: Any) -> None:
    stream = ps.from_iterable(["a"]).key_by(lambda item: item).window(kind).count()
    with pytest.raises(ps.StageError, match="is too large for "):
        items_of(stream)


def test_large_times_that_windows_can_tell_apart_are_fine() -> None:
    items = [("a", 1.7e15), ("a", 1.7e15 + 10), ("a", 1.7e15 + 2e9)]
    for kind in (ps.tumbling(5), ps.sliding(5, 2.5), ps.session(5), ps.by_count(2)):
        windows = items_of(ps.from_iterable(items).key_by(key).window(kind, time=time).count())
        assert sum(window.value for window in windows) == (6 if "slid" in str(kind) else 3)


# Silence


async def test_a_silent_source_ends_its_windows(autojump_clock: MockClock) -> None:
    source = at_times([(0, ("a", 104.0))], until=1000)
    stream = source.key_by(key).window(ps.tumbling(10), time=time, lateness=2, silence=3)
    # The watermark stands at 102, moves from second 3 on, and is at 110 eight seconds later.
    assert await seen_of(stream.count()) == [(11, "a", 100.0, 110.0, 1)]


async def test_the_watermark_stands_at_the_largest_time(autojump_clock: MockClock) -> None:
    source = at_times([(0, ("a", 1.0)), (0, ("a", 6.0)), (1, ("b", 3.0))], until=1000)
    stream = source.key_by(key).window(ps.tumbling(10), time=time, silence=3)
    assert await seen_of(stream.count()) == [(8, "a", 0.0, 10.0, 2), (8, "b", 0.0, 10.0, 1)]


async def test_items_end_a_silence_and_the_watermark_stays_where_that_took_it(
    autojump_clock: MockClock,
) -> None:
    late: list[Item] = []
    source = at_times(
        [(0, ("a", 4.0)), (20, ("a", 5.0)), (20, ("a", 21.0)), (21, ("b", 22.0))], until=100
    )
    stream = source.key_by(key).window(
        ps.tumbling(10), time=time, silence=2, late=ps.for_each(late.append)
    )
    # Second 20: the watermark is at 4 + 18 = 22. From second 23 on it goes on from there.
    assert await seen_of(stream.count()) == [
        (8, "a", 0.0, 10.0, 1),
        (31, "a", 20.0, 30.0, 1),
        (31, "b", 20.0, 30.0, 1),
    ]
    assert late == [("a", 5.0)]


async def test_a_window_that_would_open_behind_the_clock_is_late(
    autojump_clock: MockClock,
) -> None:
    late: list[Item] = []
    source = at_times([(0, ("a", 4.0)), (20, ("a", 12.0))], until=100)
    stream = source.key_by(key).window(
        ps.tumbling(10), time=time, silence=2, late=ps.for_each(late.append)
    )
    assert await seen_of(stream.count()) == [(8, "a", 0.0, 10.0, 1)]
    assert late == [("a", 12.0)], "no item was in [10, 20), but the watermark has passed it"


async def test_without_silence_only_items_and_the_end_end_windows(
    autojump_clock: MockClock,
) -> None:
    source = at_times([(0, ("a", 1.0)), (500, ("a", 11.0))], until=1000)
    stream = source.key_by(key).window(ps.tumbling(10), time=time, silence=None)
    assert await seen_of(stream.count()) == [(500, "a", 0.0, 10.0, 1), (1000, "a", 10.0, 20.0, 1)]


async def test_sessions_and_sliding_windows_end_in_a_silence_too(
    autojump_clock: MockClock,
) -> None:
    source = at_times([(0, ("a", 1.0)), (0, ("b", 4.0)), (0.5, ("a", 5.0))], until=1000)
    stream = source.key_by(key).window(ps.session(5), time=time, silence=1)
    assert await seen_of(stream.count()) == [
        (5.5, "b", 4.0, 9.0, 1),
        (6.5, "a", 1.0, 10.0, 2),
    ]
    stream = source.key_by(key).window(ps.sliding(10, 5), time=time, silence=1)
    assert await seen_of(stream.count()) == [
        (0.5, "a", -5.0, 5.0, 1),
        (0.5, "b", -5.0, 5.0, 1),
        (6.5, "a", 0.0, 10.0, 2),
        (6.5, "b", 0.0, 10.0, 1),
        (11.5, "a", 5.0, 15.0, 1),
    ]


async def test_a_slow_stage_behind_is_no_silence(autojump_clock: MockClock) -> None:
    async def slowly(window: ps.Window[str, int]) -> int:
        await trio.sleep(100)
        return window.value

    items = [("a", float(n)) for n in range(0, 5000, 2)]
    stream = ps.from_iterable(items).key_by(key).window(ps.tumbling(1000), time=time, silence=1)
    late = stream.count().map_async(slowly, 1)
    assert await late.to(ps.collect()).run() == [500] * 5


@pytest.mark.parametrize("kind", [ps.tumbling(1), ps.sliding(1, 0.5), ps.session(1)], ids=str)
async def test_nor_is_one_that_is_slow_with_windows_that_a_silence_ended(
    autojump_clock: MockClock, kind: Any
) -> None:
    """Each item's time is that at which it comes."""
    start = trio.current_time()

    async def slowly(window: ps.Window[str, int]) -> ps.Window[str, int]:
        await trio.sleep(30 if window.end <= 2 else 0)
        return window

    first = [(0.5, (each, 0.5)) for each in "abcdef"]
    items = [*first, *((float(n), ("a", float(n))) for n in range(3, 60))]
    stream = at_times(items).key_by(key).window(kind, time=time, silence=1)
    windows = stream.count().buffer(1).map_async(slowly, 1)
    async with windows.to(ps.collect()).open() as run:
        await run.result()
    assert run.report().stages[1].dropped == 0
    assert trio.current_time() - start >= 180


async def test_the_time_in_which_finish_is_retried_is_no_silence(
    autojump_clock: MockClock,
) -> None:
    failures = iter([OSError()])

    def finish(count: int) -> int:
        for failure in failures:
            raise failure
        return count

    items = [(0, ("a", 0.0)), *((float(n), ("a", float(n))) for n in range(4, 9))]
    keyed = at_times(items).key_by(key, errors=ps.retry(2, ps.Backoff(20, jitter=False)))
    windows = keyed.window(ps.tumbling(1), time=time).aggregate(
        int, lambda count, _: count + 1, lambda a, b: a + b, finish
    )
    async with windows.to(ps.collect()).open() as run:
        assert [window.start for window in await run.result()] == [0, 4, 5, 6, 7, 8]
    assert run.report().stages[1].dropped == 0


async def test_windows_of_odd_widths_end_in_a_silence(autojump_clock: MockClock) -> None:
    """Where the end of a window is rounded, the stage must neither spin nor leave it open."""
    items = [(n * 0.7, ("a", n * 0.7 + 1e9)) for n in range(50)]
    stream = at_times(items, until=100).key_by(key)
    counts = await seen_of(stream.window(ps.tumbling(0.1), time=time, silence=0.3).count())
    assert sum(count for *_, count in counts) == 50


# Trio's clock


async def test_without_times_windows_end_by_the_clock(autojump_clock: MockClock) -> None:
    await trio.sleep(-trio.current_time() % 10)
    start = trio.current_time()
    source = at_times([(1, "a"), (9.5, "b"), (9.75, "a"), (10, "a"), (35, "b")], until=100)
    windows = source.key_by(lambda item: item).window(ps.tumbling(10)).count()
    assert await seen_of(windows) == [
        (10, "a", start, start + 10, 2),
        (10, "b", start, start + 10, 1),
        (20, "a", start + 10, start + 20, 1),
        (40, "b", start + 30, start + 40, 1),
    ]


async def test_sessions_by_the_clock(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    source = at_times([(0, "a"), (4, "a"), (4, "b"), (8, "a"), (13, "a")], until=100)
    windows = source.key_by(lambda item: item).window(ps.session(5)).count()
    assert await seen_of(windows) == [
        (9, "b", start + 4, start + 9, 1),
        (13, "a", start, start + 13, 3),
        (18, "a", start + 13, start + 18, 1),
    ]


async def test_windows_by_count_go_out_when_they_are_full(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    source = at_times([(0, "a"), (1, "b"), (2, "a"), (3, "a"), (4, "b"), (5, "c")], until=9)
    windows = source.key_by(lambda item: item).window(ps.by_count(2)).collect()
    assert await seen_of(windows) == [
        (2, "a", start, start + 2, ["a", "a"]),
        (4, "b", start + 1, start + 4, ["b", "b"]),
        (9, "a", start + 3, start + 3, ["a"]),
        (9, "c", start + 5, start + 5, ["c"]),
    ]


# Bounds

KINDS = [ps.tumbling(10), ps.sliding(10, 5), ps.session(10), ps.by_count(10)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_beyond_max_keys_windows_go_out_early_and_nothing_is_lost(kind: Any) -> None:
    items = [("a", 5.0), ("b", 5.0), ("a", 6.0), ("c", 6.0), ("b", 7.0)]
    stream = ps.from_iterable(items).key_by(key, max_keys=2).window(kind, time=time).collect()
    async with stream.to(ps.collect()).open() as run:
        windows = await run.result()
    keys = list(dict.fromkeys((window.key, len(window.value)) for window in windows))
    assert keys == [("b", 1), ("a", 2), ("c", 1)], "b was touched longest ago, then a; b came again"
    assert [window.value for window in windows if window.key == "b"][-1] == [("b", 7.0)]
    stage = run.report().stages[1]
    assert (stage.evicted, stage.dropped, stage.abandoned, stage.held) == (2, 0, 0, 0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_keys_left_alone_go_out_early(autojump_clock: MockClock, kind: Any) -> None:
    source = at_times([(0, ("a", 5.0)), (1, ("b", 5.5)), (2, ("a", 6.0))], until=100)
    stream = source.key_by(key, idle=3).window(kind, time=time, silence=None).count()
    seen = Seen()
    async with stream.to(ps.for_each(seen)).open() as run:
        await trio.sleep(50)
        assert run.stats().stages[1].held == 0
    assert {(after, of) for after, of, *_ in seen.windows} == {(4, "b"), (5, "a")}
    assert run.report().stages[1].evicted == 2


async def test_keys_whose_windows_have_ended_take_no_room() -> None:
    items = [(str(n), float(n)) for n in range(1000)]
    stream = ps.from_iterable(items).key_by(key, max_keys=10).window(ps.tumbling(10), time=time)
    async with stream.count().to(ps.count()).open() as run:
        assert await run.result() == 1000
    assert run.report().stages[1].evicted == 0


@pytest.mark.parametrize(
    "kind", [ps.tumbling(1), ps.sliding(1, 1), ps.session(1), ps.by_count(9)], ids=str
)
async def test_keys_are_let_go_of_by_their_last_item(kind: Any) -> None:
    order = ["a", "b", "a", "c", "d", "e", "f", "a"]
    stream = ps.from_iterable([(each, 0.0) for each in order]).key_by(key, max_keys=4)
    windows = await stream.window(kind, time=time).count().to(ps.collect()).run()
    assert [(each.key, each.value) for each in windows[:3]] == [("b", 1), ("a", 2), ("c", 1)]


@pytest.mark.parametrize("kind", [ps.tumbling(60), ps.session(60), ps.by_count(99)], ids=str)
async def test_no_key_is_idle_while_windows_wait_to_be_taken(
    autojump_clock: MockClock, kind: Any
) -> None:
    async def busy(window: ps.Window[str, int]) -> ps.Window[str, int]:
        await trio.sleep(10 if window.key != "a" else 0)
        return window

    others = [(1, (each, 0.0)) for each in "bcdefg"]
    source = at_times([*others, *((float(n), ("a", 0.0)) for n in range(1, 50, 2))])
    windows = source.key_by(key, idle=3).window(kind, time=time, silence=None).count()
    async with windows.buffer(1).map_async(busy, 1).to(ps.collect()).open() as run:
        counts = {window.key: window.value for window in await run.result()}
    assert counts == {"a": 25} | dict.fromkeys("bcdefg", 1)
    assert run.report().stages[1].evicted == 6


# Aggregates


def test_an_aggregate_of_ones_own() -> None:
    items = [("a", n / 2) for n in range(20)]
    stream = ps.from_iterable(items).key_by(key).window(ps.sliding(4, 2), time=time)
    means = stream.aggregate(
        lambda: (0, 0.0),
        lambda state, item: (state[0] + 1, state[1] + item[1]),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
        lambda state: state[1] / state[0],
    )
    assert {(window.start, window.value) for window in items_of(means)} == {
        (-2.0, 0.75),
        (0.0, 1.75),
        (2.0, 3.75),
        (4.0, 5.75),
        (6.0, 7.75),
        (8.0, 8.75),
    }


def test_items_are_collected_slice_by_slice() -> None:
    items = [("a", 3.0), ("a", 1.0), ("b", 1.0), ("a", 2.0), ("a", 0.0)]
    stream = ps.from_iterable(items).key_by(key).window(ps.sliding(4, 2), time=time, lateness=9)
    whole = [window for window in items_of(stream.collect()) if window.start == 0]
    assert [(window.key, [item[1] for item in window.value]) for window in whole] == [
        ("a", [1.0, 0.0, 3.0, 2.0]),
        ("b", [1.0]),
    ]


@pytest.mark.parametrize("kind", [ps.tumbling(4), ps.sliding(4, 2), ps.session(2), ps.by_count(9)])
def test_accumulators_may_be_changed_in_place(kind: Any) -> None:
    def add(numbers: list[float], item: Item) -> list[float]:
        numbers.append(item[1])
        return numbers

    def merge(numbers: list[float], others: list[float]) -> list[float]:
        numbers.extend(others)
        return numbers

    items = [("a", n / 2) for n in (0, 1, 2, 6, 4, 5, 3, 9, 8, 7, 20)]
    stream = ps.from_iterable(items).key_by(key)
    lateness = 0 if str(kind).startswith("by") else 3
    windows = stream.window(kind, time=time, lateness=lateness)
    by_hand = items_of(windows.aggregate(list[float], add, merge))
    collected = items_of(windows.collect())
    assert by_hand == [
        ps.Window(each.key, each.start, each.end, [item[1] for item in each.value])
        for each in collected
    ]


def test_sums_begin_with_the_first_item() -> None:
    words = ps.from_iterable(["ab", "a", "bc", "b"]).key_by(lambda word: word[0])
    assert items_of(words.window(ps.by_count(9), time=lambda _: 0).sum()) == [
        ps.Window("a", 0.0, 0.0, "aba"),
        ps.Window("b", 0.0, 0.0, "bcb"),
    ]


# Errors


class Fails:
    """A function that fails the first times it is called with a bad item."""

    def __init__(self, then: Callable[..., Any], times: int = 10**9) -> None:
        self._then = then
        self._left = times

    def __call__(self, *args: Any) -> Any:
        if any(arg == ("a", 3.0) or arg == [("a", 3.0)] for arg in args) and self._left:
            self._left -= 1
            raise ValueError("bad")
        return self._then(*args)


def failing_key(stream: ps.Stream[Item], kind: Any, times: int, errors: Any) -> Any:
    keyed = stream.key_by(Fails(key, times), errors=errors)
    return keyed.window(kind, time=time, silence=None).collect()


def failing_time(stream: ps.Stream[Item], kind: Any, times: int, errors: Any) -> Any:
    windows = stream.key_by(key).window(kind, time=Fails(time, times), errors=errors, silence=None)
    return windows.collect()


def failing_add(stream: ps.Stream[Item], kind: Any, times: int, errors: Any) -> Any:
    windows = stream.key_by(key).window(kind, time=time, errors=errors, silence=None)
    add = Fails(lambda items, item: [*items, item], times)
    return windows.aggregate(list[Item], add, lambda a, b: a + b)


def failing_finish(stream: ps.Stream[Item], kind: Any, times: int, errors: Any) -> Any:
    windows = stream.key_by(key).window(kind, time=time, errors=errors, silence=None)
    finish = Fails(lambda items: items, times)
    return windows.aggregate(
        list[Item], lambda items, item: [*items, item], lambda a, b: a + b, finish
    )


FAILING = [failing_key, failing_time, failing_add, failing_finish]
BAD = [("a", 1.0), ("b", 2.0), ("a", 3.0), ("a", 4.0), ("b", 5.0)]
WITHOUT_IT = {("a", 1.0): 1, ("b", 2.0): 1, ("a", 4.0): 1, ("b", 5.0): 1}
ONE_EACH = [ps.tumbling(1), ps.sliding(1, 1), ps.session(1), ps.by_count(1)]


def in_windows(windows: list[ps.Window[str, list[Item]]]) -> list[Item]:
    return sorted((item for window in windows for item in window.value), key=time)


@pytest.mark.parametrize("build", FAILING)
@pytest.mark.parametrize("kind", ONE_EACH, ids=str)
def test_a_failing_function_ends_the_run_by_default(build: Any, kind: Any) -> None:
    with pytest.raises(ps.StageError, match="ValueError: bad") as caught:
        items_of(build(ps.from_iterable(BAD), kind, 99, "raise"))
    assert str(caught.value.stage).startswith("key_by(")
    assert "('a', 3.0)" in str(caught.value.item_repr)


@pytest.mark.parametrize("build", FAILING)
@pytest.mark.parametrize("kind", ONE_EACH, ids=str)
async def test_skipped_errors_leave_out_the_item(build: Any, kind: Any) -> None:
    async with build(ps.from_iterable(BAD), kind, 99, "skip").to(ps.collect()).open() as run:
        assert in_windows(await run.result()) == list(WITHOUT_IT)
    stage = run.report().stages[1]
    assert (stage.items_in, stage.skipped, stage.errors, stage.abandoned) == (5, 1, 1, 0)


@pytest.mark.parametrize("build", FAILING)
@pytest.mark.parametrize("kind", ONE_EACH, ids=str)
async def test_a_failing_function_is_called_again(
    autojump_clock: MockClock, build: Any, kind: Any
) -> None:
    stream = build(ps.from_iterable(BAD), kind, 2, ps.retry(3))
    async with stream.to(ps.collect()).open() as run:
        assert in_windows(await run.result()) == BAD
    stage = run.report().stages[1]
    assert (stage.retried, stage.skipped, stage.held) == (2, 0, 0)


@pytest.mark.parametrize("build", FAILING)
@pytest.mark.parametrize("kind", ONE_EACH, ids=str)
async def test_failed_items_go_to_the_dead_letters(build: Any, kind: Any) -> None:
    letters: list[ps.DeadLetter[Any]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    async with build(ps.from_iterable(BAD), kind, 99, errors).to(ps.collect()).open() as run:
        assert in_windows(await run.result()) == list(WITHOUT_IT)
    assert [type(letter.error) for letter in letters] == [ValueError]
    failed = letters[0].item
    if isinstance(failed, ps.Window):
        assert failed.value in ([("a", 3.0)], [[("a", 3.0)]])
    else:
        assert failed == ("a", 3.0)
    assert run.report().stages[1].dead_lettered == 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_an_item_left_out_is_not_held_and_its_key_takes_no_room(
    autojump_clock: MockClock, kind: Any
) -> None:
    source = at_times([(0, ("a", 3.0)), (0, ("b", 4.0)), (1, ("c", 4.0))], until=1000)
    windows = source.key_by(key, max_keys=2).window(kind, time=time, silence=None, errors="skip")
    add = Fails(lambda items, item: [*items, item])
    stream = windows.aggregate(list[Item], add, lambda a, b: a + b)
    async with stream.to(ps.collect()).open() as run:
        await trio.sleep(2)
        stage = run.stats().stages[1]
        assert (stage.held, stage.skipped, stage.evicted) == (2, 1, 0)
        await run.stop()


def test_an_unhashable_key_is_an_error_on_its_item() -> None:
    items: list[Any] = ["a", ["b"]]
    stream = ps.from_iterable(items).key_by(lambda item: item).window(ps.by_count(3)).count()
    with pytest.raises(ps.StageError, match=r"failed on item \['b'\]: TypeError"):
        items_of(stream)


def test_sessions_stay_apart_where_they_cant_be_merged() -> None:
    def no_merge(a: list[Item], b: list[Item]) -> list[Item]:
        raise ValueError("no")

    items = [("a", 1.0), ("a", 7.0), ("a", 4.0), ("a", 7.5)]
    windows = (
        ps.from_iterable(items)
        .key_by(key)
        .window(ps.session(5), time=time, lateness=9, errors="skip")
    )
    merged = windows.aggregate(list[Item], lambda items, item: [*items, item], no_merge)
    assert [window.value for window in items_of(merged)] == [
        [("a", 1.0)],
        [("a", 7.0), ("a", 7.5)],
    ]


# Ends


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_cancelled_the_items_of_open_windows_are_abandoned(
    autojump_clock: MockClock, kind: Any
) -> None:
    source = at_times([(0, ("a", 1.0)), (0, ("b", 2.0)), (0, ("a", 3.0))], until=1000)
    stream = source.key_by(key).window(kind, time=time, silence=None).count()
    with trio.CancelScope() as scope:
        async with stream.to(ps.collect()).open() as run:
            await trio.sleep(1)
            assert run.stats().stages[1].held == 3
            scope.cancel()
    stage = run.report().stages[1]
    assert (stage.items_in, stage.items_out, stage.abandoned) == (3, 0, 3)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_items_whose_windows_have_gone_out_are_held_no_more(
    autojump_clock: MockClock, kind: Any
) -> None:
    items = [(0.0, ("a", float(n))) for n in range(25)]
    stream = at_times(items, until=1000).key_by(key).window(kind, time=time, silence=None).count()
    async with stream.to(ps.collect()).open() as run:
        await trio.sleep(1)
        held = {"tumbling(10)": 5, "sliding(10, 5)": 10, "session(10)": 25, "by_count(10)": 5}
        assert run.stats().stages[1].held == held[str(kind)]
        await run.stop()
    stage = run.report().stages[1]
    assert (stage.held, stage.abandoned) == (0, 0)


async def test_cancelled_while_windows_are_sent_what_is_in_them_is_abandoned() -> None:
    async def stuck(_: object) -> None:
        await trio.sleep_forever()

    items = [("a", float(n)) for n in range(1000)]
    stream = ps.from_iterable(items).key_by(key).window(ps.tumbling(100), time=time).count()
    with trio.CancelScope() as scope:
        async with stream.buffer(2).to(ps.for_each(stuck)).open() as run:
            await wait_all_tasks_blocked()
            scope.cancel()
    stage = run.report().stages[1]
    assert stage.items_out >= 3
    assert stage.absorbed <= 100 * stage.items_out
    assert stage.abandoned >= 1000 - 100 * stage.items_out
    assert stage.items_in == stage.items_out + stage.absorbed + stage.abandoned


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_told_to_stop_the_windows_go_out(autojump_clock: MockClock, kind: Any) -> None:
    source = at_times([(0, ("a", 1.0)), (0, ("b", 2.0)), (0, ("a", 3.0))], until=1000)
    stream = source.key_by(key).window(kind, time=time, silence=None).sum(time)
    async with stream.to(ps.collect()).open() as run:
        await trio.sleep(1)
        await run.stop()
        assert {(each.key, each.value) for each in await run.result()} >= {("a", 4.0), ("b", 2.0)}


async def test_windows_that_nobody_takes_hold_back_the_source() -> None:
    async def stuck(_: object) -> None:
        await trio.sleep_forever()

    items = ((str(n), float(n)) for n in range(100_000))
    stream = ps.from_iterable(items).key_by(key).window(ps.tumbling(1), time=time).count()
    async with stream.buffer(10).to(ps.for_each(stuck)).open() as run:
        await wait_all_tasks_blocked()
        source, windows, *_ = run.stats().stages
        assert source.items_out < 5000
        assert windows.items_out < 2000
        await run.stop(0)


async def test_the_end_of_many_windows_lets_other_tasks_run() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    items = ((n, 0.0) for n in range(60_000))
    stream = ps.from_iterable(items).key_by(lambda item: item[0])
    windows = stream.window(ps.tumbling(1), time=lambda item: item[1]).count()
    before: list[int] = []

    def note(_: object) -> None:
        before.append(turns)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await windows.to(ps.for_each(note)).run()
        nursery.cancel_scope.cancel()
    assert len(before) == 60_000
    assert before[-1] - before[0] >= 10, "all windows end together, but not in one go"


# Options

WINDOW = ps.from_iterable([("a", 1.0)]).key_by(key)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: ps.tumbling(0), "tumbling: seconds must be more than 0"),
        (lambda: ps.tumbling(inf), "tumbling: seconds must be a number"),
        (lambda: ps.sliding(5, 6), "sliding: step must be at most size"),
        (lambda: ps.sliding(5, 0), "sliding: step must be more than 0"),
        (lambda: ps.sliding(1, 0.000_07), "sliding: size 1 and step 7e-05 have too small"),
        (lambda: ps.session(-1), "session: gap must be a number"),
        (lambda: ps.by_count(0), "by_count: n must be a whole number of at least 1"),
        (lambda: WINDOW.window(60), "window: kind must be tumbling"),  # type: ignore[arg-type]
        (lambda: WINDOW.window(ps.tumbling(1), time=3), "window: time must be a function"),  # type: ignore[arg-type]
        (lambda: WINDOW.window(KINDS[0], time=time, lateness=-1), "window: lateness must be"),
        (lambda: WINDOW.window(KINDS[0], time=time, silence=0), "window: silence must be more"),
        (lambda: WINDOW.window(KINDS[0], time=time, late=3), "window: late must be a sink"),  # type: ignore[arg-type]
        (lambda: WINDOW.window(KINDS[0], lateness=1), "lateness and late go with time"),
        (lambda: WINDOW.window(KINDS[0], late=ps.drain()), "lateness and late go with time"),
        (lambda: WINDOW.window(KINDS[3], time=time, lateness=1), "go with windows by time"),
        (lambda: WINDOW.window(KINDS[0], errors="ignore"), "window: errors must be"),  # type: ignore[arg-type]
        (lambda: WINDOW.window(KINDS[0]).aggregate(0, max, max), "zero must be a function"),  # type: ignore[call-overload]
        (lambda: WINDOW.window(KINDS[0]).sum(1), "sum: f must be a function"),  # type: ignore[call-overload]
    ],
)
def test_options_are_refused(build: Callable[[], object], problem: str) -> None:
    with pytest.raises(ps.PipelineError) as caught:
        build()
    assert problem in str(caught.value)


def test_a_stage_says_what_it_does() -> None:
    windows = WINDOW.window(ps.sliding(60, 10), time=time)
    assert repr(windows) == "<WindowedStream key_by(key).sliding(60, 10)>"
    assert repr(windows.count()) == "<Stream key_by(key).sliding(60, 10).count>"
