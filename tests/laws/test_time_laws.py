"""Laws of the operators that look at the clock, for any items at any times.

Times are drawn in quarters of a second: sums are exact, and items often come just when a time is
up. What a reader behind the operator sees is compared with the law alone or with a reference that
knows the whole schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps

Schedule = list[tuple[float, int]]  # the time since the chunk before, and how many items come then
Timed = list[tuple[float, int]]  # the time, and the item
Operator = Callable[[ps.Stream[int]], ps.Stream[int]]

quarters = st.integers(0, 20).map(lambda n: n / 4)
schedules = st.lists(st.tuples(quarters, st.integers(1, 4)), max_size=8)
seconds = st.integers(1, 12).map(lambda n: n / 4)
ends = quarters

THINNING: dict[str, Callable[[float], Operator]] = {
    "debounce": lambda s: lambda items: items.debounce(s),
    "throttle": lambda s: lambda items: items.throttle(s),
    "throttle to the last": lambda s: lambda items: items.throttle(s, keep="last"),
    "sample": lambda s: lambda items: items.sample(s),
}
thinning = st.sampled_from(sorted(THINNING))


@dataclass
class Seen:
    items: Timed
    end: float
    stage: ps.StageStats


@ps.producer(chunked=True)
async def coming(
    send: ps.Sender[int], schedule: Schedule, end: float, *, together: bool = True
) -> None:
    number = 0
    for gap, size in schedule:
        await trio.sleep(gap)
        chunk = list(range(number, number + size))
        number += size
        for items in [chunk] if together else [[item] for item in chunk]:
            await send.chunk(items)
    await trio.sleep(end)


def arrivals(schedule: Schedule) -> Timed:
    """Each item with the time at which it comes."""
    time = 0.0
    items: Timed = []
    for gap, size in schedule:
        time += gap
        items += [(time, len(items) + n) for n in range(size)]
    return items


def end_of(schedule: Schedule, end: float) -> float:
    return sum(gap for gap, _ in schedule) + end


def observe(stream: ps.Stream[int], operator: Operator, pause: float = 0) -> Seen:
    """Run ``operator``; a reader with a pause takes its items singly, through a buffer of one."""
    seen: Timed = []

    def note(item: int) -> None:
        seen.append((trio.current_time(), item))

    async def note_and_wait(item: int) -> None:
        note(item)
        await trio.sleep(pause)

    async def main() -> Seen:
        behind = operator(stream)
        if pause:
            pipeline = behind.buffer(1).to(ps.for_each(note_and_wait))
        else:
            pipeline = behind.tap(note).to(ps.drain())
        async with pipeline.open() as run:
            await run.result()
        return Seen(seen, trio.current_time(), run.report().stages[1])

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@given(schedules, ends, st.integers(1, 4), seconds)
def test_rate_limit_gives_all_items_as_soon_as_the_window_allows(
    schedule: Schedule, end: float, n: int, per: float
) -> None:
    seen = observe(coming(schedule, end), lambda items: items.rate_limit(n, per)).items
    expected: Timed = []
    for number, (time, item) in enumerate(arrivals(schedule)):
        room = expected[number - n][0] + per if number >= n else time
        expected.append((max(time, room), item))
    assert seen == expected


@given(schedules, st.integers(1, 4), seconds, quarters)
def test_rate_limit_never_exceeds_n_in_any_window(
    schedule: Schedule, n: int, per: float, pause: float
) -> None:
    """As seen right behind it, whatever holds it up."""
    went: list[float] = []
    seen = observe(
        coming(schedule, 0),
        lambda items: items.rate_limit(n, per).tap(lambda _: went.append(trio.current_time())),
        pause,
    )
    assert [item for _, item in seen.items] == [item for _, item in arrivals(schedule)]
    assert all(later - earlier >= per for earlier, later in zip(went, went[n:], strict=False))


@given(schedules, ends, seconds)
def test_delay_shifts_every_item(schedule: Schedule, end: float, by: float) -> None:
    seen = observe(coming(schedule, end), lambda items: items.delay(by))
    assert seen.items == [(time + by, item) for time, item in arrivals(schedule)]
    last = arrivals(schedule)[-1][0] + by if schedule else 0
    assert seen.end == max(last, end_of(schedule, end))


@given(schedules, seconds, st.integers(1, 5), quarters)
def test_delay_keeps_all_items_in_order_and_none_comes_early(
    schedule: Schedule, by: float, most: int, pause: float
) -> None:
    seen = observe(coming(schedule, 0), lambda items: items.delay(by, max_held=most), pause)
    came = arrivals(schedule)
    assert [item for _, item in seen.items] == [item for _, item in came]
    assert all(later >= time + by for (later, _), (time, _) in zip(seen.items, came, strict=True))


@given(schedules, ends, seconds)
def test_debounce_gives_what_is_followed_by_silence(
    schedule: Schedule, end: float, quiet: float
) -> None:
    seen = observe(coming(schedule, end), lambda items: items.debounce(quiet)).items
    came = arrivals(schedule)
    over = end_of(schedule, end)
    followed = [*pairwise(came), *((each, (inf, -1)) for each in came[-1:])]
    assert seen == [
        (min(time + quiet, over), item)
        for (time, item), (following, _) in followed
        if following - time >= quiet
    ]


@given(schedules, ends, seconds)
def test_throttle_gives_the_first_after_each_interval(
    schedule: Schedule, end: float, least: float
) -> None:
    seen = observe(coming(schedule, end), lambda items: items.throttle(least)).items
    expected: Timed = []
    for time, item in arrivals(schedule):
        if not expected or time - expected[-1][0] >= least:
            expected.append((time, item))
    assert seen == expected


@given(schedules, ends, seconds)
def test_throttle_to_the_last_gives_the_newest_after_each_interval(
    schedule: Schedule, end: float, least: float
) -> None:
    seen = observe(coming(schedule, end), lambda items: items.throttle(least, keep="last")).items
    expected: Timed = []
    shut_until, held = -inf, -1
    for time, item in arrivals(schedule):
        if held >= 0 and time >= shut_until:
            expected.append((shut_until, held))
            shut_until, held = shut_until + least, -1
        if time >= shut_until:
            expected.append((time, item))
            shut_until = time + least
        else:
            held = item
    assert seen == expected + [(shut_until, held)] * (held >= 0)


@given(schedules, ends, seconds)
def test_sample_gives_the_newest_of_each_interval(
    schedule: Schedule, end: float, each: float
) -> None:
    seen = observe(coming(schedule, end), lambda items: items.sample(each)).items
    newest = {time // each: item for time, item in arrivals(schedule)}
    over = end_of(schedule, end)
    assert seen == [(min((n + 1) * each, over), item) for n, item in newest.items()]


@given(schedules, ends, seconds)
def test_timeout_fails_just_when_an_item_is_late(
    schedule: Schedule, end: float, most: float
) -> None:
    gaps = [*(gap for gap, _ in schedule), end]
    if max(gaps) < most:
        seen = observe(coming(schedule, end), lambda items: items.timeout(most))
        assert seen.items == arrivals(schedule)
    else:
        with pytest.raises(ps.StageError, match="timeout failed: TooSlowError"):
            observe(coming(schedule, end), lambda items: items.timeout(most))


@given(thinning, schedules, ends, seconds, quarters)
def test_thinning_gives_some_items_in_order_and_counts_the_others(
    name: str, schedule: Schedule, end: float, time: float, pause: float
) -> None:
    seen = observe(coming(schedule, end), THINNING[name](time), pause)
    items = [item for _, item in seen.items]
    came = [item for _, item in arrivals(schedule)]
    assert items == sorted(set(items) & set(came))
    assert (seen.stage.items_in, seen.stage.items_out) == (len(came), len(items))
    assert seen.stage.dropped == len(came) - len(items)
    assert (seen.stage.held, seen.stage.abandoned, seen.stage.absorbed) == (0, 0, 0)
    if name != "throttle":
        assert items[-1:] == came[-1:]


@given(
    st.one_of(
        thinning.map(lambda name: THINNING[name]),
        st.just(lambda s: lambda items: items.delay(s)),
        st.just(lambda s: lambda items: items.rate_limit(2, s)),
    ),
    schedules,
    ends,
    seconds,
)
def test_how_items_are_chunked_makes_no_difference(
    operator: Callable[[float], Operator], schedule: Schedule, end: float, time: float
) -> None:
    together = observe(coming(schedule, end), operator(time))
    singly = observe(coming(schedule, end, together=False), operator(time))
    assert (together.items, together.end) == (singly.items, singly.end)
    assert together.stage.dropped == singly.stage.dropped
