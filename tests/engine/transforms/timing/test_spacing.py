from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps

from .schedule import report_of, scheduled, singly, timed


async def stuck(_: object) -> None:
    await trio.sleep_forever()


CHUNKED: dict[str, tuple[Callable[[ps.Stream[int]], ps.Stream[int]], list[int]]] = {
    "rate_limit": (lambda s: s.rate_limit(400, per=1), [400, 400, 200]),
    "delay": (lambda s: s.delay(1), [1000]),
    "timeout": (lambda s: s.timeout(1), [1000]),
}


@pytest.mark.parametrize("operator", CHUNKED)
async def test_chunks_stay_chunks(autojump_clock: MockClock, operator: str) -> None:
    build, expected = CHUNKED[operator]
    lengths: list[int] = []

    @ps.transform
    async def note(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
        lengths.extend([len(items) async for items in receive.chunks()])

    await build(scheduled((0, range(1000)))).via(note).to(ps.drain()).run()
    assert lengths == expected


class TestRateLimit:
    async def test_n_go_at_once_and_as_many_when_the_time_is_over(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled((1, "abcdefg")).rate_limit(3, per=10)
        assert await timed(stream) == [
            *[(1, item) for item in "abc"],
            *[(11, item) for item in "def"],
            (21, "g"),
            (21, "end"),
        ]

    async def test_each_item_makes_room_a_time_after_it_went(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled((0, "a"), (4, "b"), (5, "cdef")).rate_limit(2, per=10)
        assert await timed(stream) == [
            (0, "a"),
            (4, "b"),
            (10, "c"),
            (14, "d"),
            (20, "e"),
            (24, "f"),
            (24, "end"),
        ]

    async def test_a_slow_stream_is_not_held_up(self, autojump_clock: MockClock) -> None:
        stream = scheduled(*singly(0, 1, 2, 7)).rate_limit(1)
        assert await timed(stream) == [(0, 0), (1, 1), (2, 2), (7, 3), (7, "end")]

    async def test_one_at_a_time_is_evenly_spaced(self, autojump_clock: MockClock) -> None:
        times = [time for time, _ in await timed(ps.from_iterable(range(50)).rate_limit(1, 0.25))]
        assert times[:-1] == [n * 0.25 for n in range(50)]

    async def test_time_that_the_stages_behind_took_is_not_made_up_for(
        self, autojump_clock: MockClock
    ) -> None:
        """What was held up goes in late, and from then on the time counts."""
        start = trio.current_time()
        seen: list[tuple[float, int]] = []

        async def slow_at_first(item: int) -> None:
            seen.append((trio.current_time() - start, item))
            await trio.sleep(10 if item == 0 else 0)

        stream = ps.from_iterable(range(5)).rate_limit(1, per=2).buffer(1)
        await stream.to(ps.for_each(slow_at_first)).run()
        assert seen == [(0, 0), (10, 1), (10, 2), (12, 3), (14, 4)]

    async def test_it_holds_up_the_source(self, autojump_clock: MockClock) -> None:
        stream = ps.from_iterable(range(100_000)).buffer(10).rate_limit(5, per=1)
        async with stream.to(ps.drain()).open() as run:
            await trio.sleep(9.5)
            source, _, stage, _ = run.stats().stages
            assert stage.items_out == 50
            assert source.items_out < 100
            assert stage.held == stage.items_in - 50
            await run.stop(0)
        stage = run.report().stages[2]
        assert stage.items_in == stage.items_out + stage.abandoned

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ((0,), "n must be a whole number of at least 1"),
            ((1.5,), "n must be a whole number"),
            ((1, 0), "per must be more than 0 seconds"),
        ],
    )
    def test_wrong_options(self, arguments: tuple[Any, ...], problem: str) -> None:
        with pytest.raises(ps.PipelineError, match=f"rate_limit: {problem}"):
            ps.from_iterable([1]).rate_limit(*arguments)


class TestDelay:
    async def test_each_item_comes_later_and_the_spacing_is_kept(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled(*singly(1, 1.5, 2, 7), end=20).delay(3)
        assert await timed(stream) == [(4, 0), (4.5, 1), (5, 2), (10, 3), (20, "end")]

    async def test_what_is_held_comes_after_the_end_of_the_source(
        self, autojump_clock: MockClock
    ) -> None:
        stream = scheduled((0, "ab"), (1, "c")).delay(100)
        assert await timed(stream) == [(100, "a"), (100, "b"), (101, "c"), (101, "end")]

    async def test_beyond_its_bound_it_takes_no_more(self, autojump_clock: MockClock) -> None:
        stream = scheduled(*[(0, [n]) for n in range(5)]).buffer(1).delay(10, max_held=2)
        assert await timed(stream) == [(10, 0), (10, 1), (20, 2), (20, 3), (30, 4), (30, "end")]

    async def test_the_bound_holds_up_the_source(self, autojump_clock: MockClock) -> None:
        stream = ps.from_iterable(range(100_000)).delay(3600, max_held=5000)
        async with stream.to(ps.drain()).open() as run:
            await trio.sleep(3000)
            source, stage, _ = run.stats().stages
            assert 5000 <= stage.held < 5000 + 3 * 1024
            assert source.items_out <= stage.held + 1024
            await run.stop(0)

    async def test_the_bound_holds_while_the_stages_behind_are_busy(
        self, autojump_clock: MockClock
    ) -> None:
        stream = ps.from_iterable(range(100_000)).delay(1, max_held=2000).buffer(1)
        async with stream.to(ps.for_each(stuck)).open() as run:
            await trio.sleep(1000)
            assert run.stats().stages[0].items_out < 2000 + 3 * 1024
            await run.stop(0)

    async def test_times_count_from_when_an_item_came_also_while_busy(
        self, autojump_clock: MockClock
    ) -> None:
        start = trio.current_time()
        seen: list[tuple[float, int]] = []

        async def slow_at_first(item: int) -> None:
            seen.append((trio.current_time() - start, item))
            await trio.sleep(3 if item == 0 else 0)

        stream = scheduled(*singly(0, 1, 2, 3, 4)).delay(5).buffer(1)
        await stream.to(ps.for_each(slow_at_first)).run()
        assert seen == [(5, 0), (8, 1), (8, 2), (8, 3), (9, 4)]

    async def test_what_it_holds_is_told_and_abandoned_when_cancelled(self) -> None:
        with trio.CancelScope() as scope:
            stream = scheduled((0, range(10)), end=3600).delay(60)
            async with stream.to(ps.collect()).open() as run:
                await wait_all_tasks_blocked()
                assert run.stats().stages[1].held == 10
                scope.cancel()
        assert run.report().stages[1].abandoned == 10

    async def test_stopped_it_gives_on_what_it_holds(self, autojump_clock: MockClock) -> None:
        async with ps.every(1).delay(60).to(ps.collect()).open() as run:
            await trio.sleep(2.5)
            await run.stop()
            assert await run.result() == [0, 1, 2]

    @pytest.mark.parametrize("size", [0, 1, 1024, 1025])
    async def test_everything_comes_in_order(self, autojump_clock: MockClock, size: int) -> None:
        stream = ps.from_iterable(range(size)).delay(0.5)
        assert await stream.to(ps.collect()).run() == list(range(size))

    async def test_nothing_is_dropped(self, autojump_clock: MockClock) -> None:
        stage = (await report_of(scheduled((0, "abc")).delay(1)))["delay"]
        assert (stage.items_in, stage.items_out, stage.dropped) == (3, 3, 0)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"seconds": 0}, "seconds must be more than 0"),
            ({"seconds": 1, "max_held": 0}, "max_held must be a whole number of at least 1"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], problem: str) -> None:
        with pytest.raises(ps.PipelineError, match=f"delay: {problem}"):
            ps.from_iterable([1]).delay(**options)
