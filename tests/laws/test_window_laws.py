"""Laws of windows, for any items, times, keys and chunkings.

The references below are the definition, read aloud: they go through the items one by one, keep
everything in lists, and ask of each window whether it has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeAlias

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps

Item: TypeAlias = tuple[str, float, int]  # key, time, and a number of its own
Found: TypeAlias = tuple[str, float, float, tuple[int, ...]]  # key, start, end, the numbers in it

keys = st.sampled_from("abcd")
times = st.integers(-8, 60).map(lambda n: n / 2)
rows = st.lists(st.tuples(keys, times), max_size=40)
cuts = st.lists(st.integers(1, 7), min_size=1, max_size=6)
lateness = st.sampled_from([0.0, 0.5, 2.0, 5.0, 100.0])
sizes = st.sampled_from([0.5, 1.0, 3.0, 5.0])
slides = st.sampled_from([(1.0, 0.5), (3.0, 1.0), (3.0, 2.0), (5.0, 2.5), (2.0, 2.0), (7.0, 3.0)])


def key(item: Item) -> str:
    return item[0]


def time(item: Item) -> float:
    return item[1]


def number(item: Item) -> int:
    return item[2]


def numbered(rows: list[tuple[str, float]]) -> list[Item]:
    return [(of, at, count) for count, (of, at) in enumerate(rows)]


# What is expected


@dataclass
class Expected:
    windows: list[Found] = field(default_factory=list[Found])
    late: list[int] = field(default_factory=list[int])


def fixed_windows(items: list[Item], size: float, step: float, lateness: float) -> Expected:
    expected = Expected()
    open_windows: dict[float, list[Item]] = {}
    watermark = -inf
    for item in items:
        first = (time(item) - size) // step + 1
        starts = [(first + n) * step for n in range(int(size // step) + 2)]
        own = [start for start in starts if start <= time(item) < start + size]
        still_open = [start for start in own if start + size > watermark]
        if not still_open:
            expected.late.append(number(item))
        for start in still_open:
            open_windows.setdefault(start, []).append(item)
        watermark = max(watermark, time(item) - lateness)
        ended = sorted(start for start in open_windows if start + size <= watermark)
        for start in ended:
            expected.windows += by_key(open_windows.pop(start), start, start + size)
    for start in sorted(open_windows):
        expected.windows += by_key(open_windows[start], start, start + size)
    return expected


def by_key(items: list[Item], start: float, end: float) -> list[Found]:
    of: dict[str, list[int]] = {}
    for item in items:
        of.setdefault(key(item), []).append(number(item))
    return [(each, start, end, tuple(sorted(numbers))) for each, numbers in of.items()]


def sessions(items: list[Item], gap: float, lateness: float) -> Expected:
    expected = Expected()
    taken: list[Item] = []
    watermark = -inf
    for item in items:
        open_sessions = sessions_in([each for each in taken if key(each) == key(item)], gap)
        covered = any(start <= time(item) < end for _, start, end, _ in open_sessions)
        if covered or time(item) >= watermark:
            taken.append(item)
        else:
            expected.late.append(number(item))
        watermark = max(watermark, time(item) - lateness)
        ended = [found for found in sessions_in(taken, gap) if found[2] <= watermark]
        expected.windows += ended
        gone = {each for found in ended for each in found[3]}
        taken = [each for each in taken if number(each) not in gone]
    expected.windows += sessions_in(taken, gap)
    return expected


def sessions_in(items: list[Item], gap: float) -> list[Found]:
    found: list[Found] = []
    for of in {key(item) for item in items}:
        group: list[Item] = []
        for item in [*sorted((each for each in items if key(each) == of), key=time), None]:
            if group and (item is None or time(item) - time(group[-1]) >= gap):
                numbers = tuple(sorted(map(number, group)))
                found.append((of, time(group[0]), time(group[-1]) + gap, numbers))
                group = []
            if item is not None:
                group.append(item)
    return sorted(found, key=lambda each: (each[2], each[3][0]))


# What is found


@dataclass
class Outcome:
    windows: list[ps.Window[str, Any]]
    late: list[int]
    stage: ps.StageStats


def run(
    items: list[Item],
    cuts: list[int],
    build: Callable[[ps.Stream[Item], ps.Sink[Item, Any]], ps.Stream[ps.Window[str, Any]]],
) -> Outcome:
    """Send the items in chunks of the given sizes, over and over."""

    @ps.producer(chunked=True)
    async def source(send: ps.Sender[Item]) -> None:
        start = count = 0
        while start < len(items):
            size = cuts[count % len(cuts)]
            await send.chunk(items[start : start + size])
            start += size
            count += 1
            for _ in range(cuts[0] % 3):
                await trio.lowlevel.checkpoint()

    late: list[int] = []
    aside = ps.for_each(lambda item: late.append(number(item)))
    stream = build(source(), aside)

    async def outcome() -> Outcome:
        async with stream.to(ps.collect()).open() as running:
            windows = await running.result()
        return Outcome(windows, late, running.report().stages[1])

    return trio.run(outcome)


def collected(
    kind: Any, lateness: float, **bounds: Any
) -> Callable[[ps.Stream[Item], ps.Sink[Item, Any]], ps.Stream[ps.Window[str, Any]]]:
    return lambda stream, late: (
        stream.key_by(key, **bounds)
        .window(kind, time=time, lateness=lateness, late=late, silence=None)
        .collect()
    )


def found(windows: list[ps.Window[str, list[Item]]]) -> list[Found]:
    return [
        (each.key, each.start, each.end, tuple(sorted(map(number, each.value)))) for each in windows
    ]


def check(outcome: Outcome, expected: Expected, items: list[Item]) -> None:
    assert outcome.late == expected.late
    ends = [each.end for each in outcome.windows]
    assert ends == sorted(ends), "windows go out in the order of their ends"
    assert sorted(found(outcome.windows)) == sorted(expected.windows)
    assert len({(each.key, each.start, each.end) for each in outcome.windows}) == len(ends)
    stage = outcome.stage
    assert stage.items_in == len(items)
    assert stage.late == len(expected.late)
    assert (stage.held, stage.abandoned, stage.dropped, stage.evicted) == (0, 0, 0, 0)
    balance = stage.items_out + stage.absorbed + stage.late
    assert stage.items_in + stage.made == balance


@given(rows, cuts, sizes, lateness)
def test_tumbling_windows_are_those_of_the_reference(
    rows: list[tuple[str, float]], cuts: list[int], size: float, lateness: float
) -> None:
    items = numbered(rows)
    outcome = run(items, cuts, collected(ps.tumbling(size), lateness))
    expected = fixed_windows(items, size, size, lateness)
    check(outcome, expected, items)
    assert found(outcome.windows) == expected.windows, "keys in the order in which they came"
    in_one = [number(item) for each in outcome.windows for item in each.value]
    assert sorted(in_one + outcome.late) == list(range(len(items)))


@given(rows, cuts, slides, lateness)
def test_sliding_windows_are_those_of_the_reference(
    rows: list[tuple[str, float]], cuts: list[int], slide: tuple[float, float], lateness: float
) -> None:
    items = numbered(rows)
    outcome = run(items, cuts, collected(ps.sliding(*slide), lateness))
    check(outcome, fixed_windows(items, *slide, lateness), items)


@given(rows, cuts, sizes, lateness)
def test_sessions_are_those_of_the_reference(
    rows: list[tuple[str, float]], cuts: list[int], gap: float, lateness: float
) -> None:
    items = numbered(rows)
    outcome = run(items, cuts, collected(ps.session(gap), lateness))
    expected = sessions(items, gap, lateness)
    check(outcome, expected, items)
    assert found(outcome.windows) == expected.windows, "those that came first go first"


@given(rows, cuts, sizes)
def test_in_time_sessions_are_those_of_the_whole_list(
    rows: list[tuple[str, float]], cuts: list[int], gap: float
) -> None:
    items = numbered(rows)
    outcome = run(items, cuts, collected(ps.session(gap), lateness=100.0))
    assert found(outcome.windows) == sessions_in(items, gap)


@given(rows, cuts, st.integers(1, 5))
def test_windows_by_count_are_runs_of_each_key(
    rows: list[tuple[str, float]], cuts: list[int], n: int
) -> None:
    items = numbered(rows)
    outcome = run(
        items,
        cuts,
        lambda stream, _: stream.key_by(key).window(ps.by_count(n), time=time).collect(),
    )
    for of in "abcd":
        own = [item for item in items if key(item) == of]
        windows = [each for each in outcome.windows if each.key == of]
        assert [each.value for each in windows] == [
            own[start : start + n] for start in range(0, len(own), n)
        ]
        for each in windows:
            assert each.start == min(map(time, each.value))
            assert each.end == max(map(time, each.value))


KINDS = st.sampled_from([ps.tumbling(3), ps.sliding(5, 2), ps.session(2), ps.by_count(3)])


@given(rows, cuts, cuts, KINDS, st.sampled_from([0.0, 2.0]), st.integers(1, 5))
def test_the_same_for_every_chunking_whatever_is_evicted(
    rows: list[tuple[str, float]],
    cuts: list[int],
    others: list[int],
    kind: Any,
    lateness: float,
    max_keys: int,
) -> None:
    items = numbered(rows)
    in_time = lateness if str(kind)[:2] != "by" else 0.0

    def build(stream: ps.Stream[Item], late: Any) -> ps.Stream[ps.Window[str, list[Item]]]:
        sink = late if str(kind)[:2] != "by" else None
        keyed = stream.key_by(key, max_keys=max_keys)
        return keyed.window(kind, time=time, lateness=in_time, late=sink, silence=None).collect()

    once, again = run(items, cuts, build), run(items, others, build)
    assert once.windows == again.windows
    assert once.late == again.late
    assert once.stage.evicted == again.stage.evicted
    assert once.stage.evicted == 0 or max_keys < 4
    seen = Counter(number(item) for each in once.windows for item in each.value)
    assert set(seen) | set(once.late) == set(range(len(items))), "eviction loses nothing"


@given(rows, cuts, st.sampled_from([ps.tumbling(3), ps.sliding(5, 2), ps.session(2)]), lateness)
def test_the_aggregates_agree_on_what_is_in_a_window(
    rows: list[tuple[str, float]], cuts: list[int], kind: Any, lateness: float
) -> None:
    items = numbered(rows)

    def windows(
        of: Callable[[ps.WindowedStream[str, Item]], ps.Stream[ps.Window[str, Any]]],
    ) -> list[ps.Window[str, Any]]:
        def build(stream: ps.Stream[Item], _: Any) -> ps.Stream[ps.Window[str, Any]]:
            keyed = stream.key_by(key)
            return of(keyed.window(kind, time=time, lateness=lateness, silence=None))

        return run(items, cuts, build).windows

    plain = windows(lambda each: each.collect())
    by_hand = windows(
        lambda each: each.aggregate(
            tuple[int, ...], lambda numbers, item: (*numbers, number(item)), lambda a, b: a + b
        )
    )
    for window, count, total, numbers in zip(
        plain,
        windows(lambda each: each.count()),
        windows(lambda each: each.sum(number)),
        by_hand,
        strict=True,
    ):
        of = [number(item) for item in window.value]
        assert (count.key, count.start, count.end) == (window.key, window.start, window.end)
        assert (count.value, total.value) == (len(of), sum(of))
        assert list(numbers.value) == of


@given(
    st.lists(st.floats(-2e12, 2e12) | st.integers(-50, 50).map(lambda n: n * 0.1), max_size=30),
    st.sampled_from([0.1, 0.3, 1 / 3, 7.0, 0.001]),
    cuts,
)
def test_rounding_puts_each_item_into_one_window_that_holds_its_time(
    at: list[float], size: float, cuts: list[int]
) -> None:
    items = numbered([("a", each) for each in sorted(at)])
    outcome = run(items, cuts, collected(ps.tumbling(size), lateness=0.0))
    assert outcome.late == []
    assert [number(item) for each in outcome.windows for item in each.value] == [
        number(item) for item in items
    ]
    for window in outcome.windows:
        assert all(window.start <= time(item) < window.end for item in window.value)


quarters = st.integers(0, 20).map(lambda n: n / 4)


@given(
    st.lists(st.tuples(keys, quarters), max_size=20),
    st.lists(quarters.map(lambda seconds: seconds * 4), min_size=1, max_size=5),
    st.sampled_from([0.25, 1.0, 3.0]),
    st.sampled_from([ps.tumbling(0.5), ps.tumbling(3), ps.sliding(5, 2), ps.session(2)]),
)
def test_items_that_come_at_their_times_are_in_time_however_slow_the_stages_behind_are(
    gaps: list[tuple[str, float]], busy: list[float], silence: float, kind: Any
) -> None:
    """Each item's time is that at which it is made: a silence takes no watermark past it."""
    start = 0.0

    @ps.producer
    async def source(send: ps.Sender[Item]) -> None:
        for count, (of, gap) in enumerate(gaps):
            await trio.sleep(gap)
            await send((of, trio.current_time() - start, count))

    async def work(window: ps.Window[str, Any]) -> ps.Window[str, Any]:
        await trio.sleep(busy[window.value[0][2] % len(busy)])
        return window

    async def outcome() -> Outcome:
        nonlocal start
        start = trio.current_time()
        windows = source().key_by(key).window(kind, time=time, silence=silence).collect()
        async with windows.buffer(1).map_async(work, 1).to(ps.collect()).open() as running:
            sent = await running.result()
        return Outcome(sent, [], running.report().stages[1])

    found = trio.run(outcome, clock=MockClock(autojump_threshold=0))
    assert found.stage.dropped == 0
    numbers = {number(item) for each in found.windows for item in each.value}
    assert numbers == set(range(len(gaps)))
