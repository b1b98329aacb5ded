from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps

from .schedule import report_of, scheduled, singly, timed

Build: TypeAlias = Callable[[ps.Stream[Any]], ps.Stream[Any]]

THINNING: dict[str, Build] = {
    "debounce": lambda s: s.debounce(2),
    "throttle": lambda s: s.throttle(2),
    "throttle to the last": lambda s: s.throttle(2, keep="last"),
    "sample": lambda s: s.sample(2),
}
each_way = pytest.mark.parametrize("way", THINNING)


class TestDebounce:
    async def test_an_item_goes_on_once_no_other_came(self, autojump_clock: MockClock) -> None:
        stream = scheduled(*singly(1, 1.5, 3, 8, 9), end=20).debounce(2)
        assert await timed(stream) == [(5, 2), (11, 4), (20, "end")]

    async def test_the_last_one_goes_on_when_the_stream_ends(
        self, autojump_clock: MockClock
    ) -> None:
        assert await timed(scheduled(*singly(1, 2)).debounce(5)) == [(2, 1), (2, "end")]

    async def test_one_that_comes_just_when_the_time_is_up_is_another(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled(*singly(0, 2, 4)).debounce(2)
        assert await timed(stream) == [(2, 0), (4, 1), (4, 2), (4, "end")]

    async def test_what_comes_together_is_one_burst(self, autojump_clock: MockClock) -> None:
        stream = scheduled((0, range(1000)), (1, range(2000)), end=9).debounce(2)
        assert await timed(stream) == [(3, 1999), (9, "end")]


class TestThrottle:
    async def test_first_lets_none_pass_until_the_time_is_over(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled(*singly(1, 2, 2.9, 3, 4, 7)).throttle(2)
        assert await timed(stream) == [(1, 0), (3, 3), (7, 5), (7, "end")]

    async def test_last_gives_the_newest_when_the_time_is_over(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled(*singly(1, 2, 2.9, 4, 8)).throttle(2, keep="last")
        assert await timed(stream) == [(1, 0), (3, 2), (5, 3), (8, 4), (8, "end")]

    async def test_last_keeps_the_spacing_at_the_end(self, autojump_clock: MockClock) -> None:
        stream = scheduled(*singly(1, 2)).throttle(5, keep="last")
        assert await timed(stream) == [(1, 0), (6, 1), (6, "end")]

    async def test_last_is_the_last_of_a_chunk(self, autojump_clock: MockClock) -> None:
        stream = scheduled((0, "abc"), (1, "def")).throttle(2, keep="last")
        assert await timed(stream) == [(0, "a"), (2, "f"), (2, "end")]

    @pytest.mark.parametrize(("keep", "expected"), [("first", "ad"), ("last", "acf")])
    async def test_one_that_comes_just_when_the_time_is_up_belongs_to_the_next(
        self, autojump_clock: MockClock, keep: Any, expected: str
    ) -> None:
        stream = scheduled((0, "abc"), (2, "def")).throttle(2, keep)
        assert "".join(item for _, item in (await timed(stream))[:-1]) == expected

    async def test_each_run_starts_anew(self, autojump_clock: MockClock) -> None:
        pipeline = scheduled((0, [1, 2])).throttle(9).to(ps.collect())
        assert [await pipeline.run(), await pipeline.run()] == [[1], [1]]


class TestSample:
    async def test_the_newest_of_each_interval(self, autojump_clock: MockClock) -> None:
        stream = scheduled(*singly(0.5, 1, 3.5, 8), end=11).sample(2)
        assert await timed(stream) == [(2, 1), (4, 2), (10, 3), (11, "end")]

    async def test_the_last_one_goes_on_when_the_stream_ends(
        self, autojump_clock: MockClock
    ) -> None:
        assert await timed(scheduled(*singly(1, 4.5)).sample(2)) == [
            (2, 0),
            (4.5, 1),
            (4.5, "end"),
        ]

    async def test_one_that_comes_just_when_the_time_is_up_belongs_to_the_next(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled((1, "a"), (2, "b"), (4, "c"), end=9).sample(2)
        assert await timed(stream) == [(2, "a"), (4, "b"), (6, "c"), (9, "end")]

    async def test_times_do_not_drift(self, autojump_clock: MockClock) -> None:
        stream = ps.every(0.1, count=3000).sample(0.7)
        times = [time for time, _ in await timed(stream)][:-2]
        assert times == [pytest.approx(0.7 * (n + 1)) for n in range(len(times))]
        assert len(times) == 428


@each_way
async def test_what_does_not_go_on_is_counted_as_dropped(
    autojump_clock: MockClock, way: str
) -> None:
    items = scheduled((0, range(300)), (1, range(300)), (2.5, [1]), (9, [1, 2]), end=30)
    stage = (await report_of(THINNING[way](items)))[way.partition(" ")[0]]
    assert stage.items_in == 603
    assert stage.items_in == stage.items_out + stage.dropped
    assert 2 <= stage.items_out <= 5


@each_way
@pytest.mark.parametrize("items", [[], [1]])
async def test_short_streams(autojump_clock: MockClock, way: str, items: list[int]) -> None:
    assert await THINNING[way](ps.from_iterable(items)).to(ps.collect()).run() == items


@each_way
async def test_held_up_by_the_stages_behind_it_holds_up_those_before(
    autojump_clock: MockClock, way: str
) -> None:
    async def stuck(_: int) -> None:
        await trio.sleep_forever()

    items = scheduled(*singly(*range(0, 15_000, 10)))
    async with THINNING[way](items).buffer(1).to(ps.for_each(stuck)).open() as run:
        await trio.sleep(15_000)
        assert run.stats().stages[0].items_out < 1100
        await run.stop(0)


@pytest.mark.parametrize("way", ["debounce", "throttle to the last", "sample"])
async def test_what_it_holds_is_told_and_abandoned_when_cancelled(way: str) -> None:
    with trio.CancelScope() as scope:
        stream = THINNING[way](scheduled((0, range(10)), end=3600))
        async with stream.to(ps.collect()).open() as run:
            await wait_all_tasks_blocked()
            stage = run.stats().stages[1]
            assert (stage.held, stage.items_out + stage.dropped) == (1, 9)
            scope.cancel()
    stage = run.report().stages[1]
    assert (stage.held, stage.abandoned) == (0, 1)


@each_way
async def test_an_error_before_it_is_not_held_back(autojump_clock: MockClock, way: str) -> None:
    @ps.producer
    async def broken(send: ps.Sender[int]) -> None:
        await send(1)
        raise OSError("gone")

    with pytest.raises(ps.StageError, match="broken failed: OSError: gone"):
        await THINNING[way](broken()).to(ps.collect()).run()
    assert trio.current_time() == 0


async def test_stopped_it_gives_on_what_it_holds(autojump_clock: MockClock) -> None:
    async with ps.every(1).debounce(5).to(ps.collect()).open() as run:
        await trio.sleep(3.5)
        await run.stop()
        assert await run.result() == [3]


@pytest.mark.parametrize("operator", ["debounce", "throttle", "sample"])
@pytest.mark.parametrize(
    ("seconds", "problem"),
    [(0, "must be more than 0"), (-1, "must be a number"), ("1", "must be a number")],
)
def test_wrong_seconds(operator: str, seconds: Any, problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=f"{operator}: seconds {problem}"):
        getattr(ps.from_iterable([1]), operator)(seconds)


def test_throttle_keeps_the_first_or_the_last() -> None:
    keep: Any = "newest"
    with pytest.raises(ps.PipelineError, match="throttle: keep must be one of 'first', 'last'"):
        ps.from_iterable([1]).throttle(1, keep)
