from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps


async def test_ticks_come_on_time_and_delays_do_not_add_up(autojump_clock: MockClock) -> None:
    times: list[tuple[int, float]] = []
    start = trio.current_time()

    async def note(tick: int) -> None:
        times.append((tick, trio.current_time() - start))
        await trio.sleep(0.3)

    await ps.every(1, count=5).to(ps.for_each(note)).run()
    assert [tick for tick, _ in times] == [0, 1, 2, 3, 4]
    assert [time for _, time in times] == pytest.approx([0, 1, 2, 3, 4])


async def test_of_the_missed_ticks_only_the_latest_is_sent(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    seen: list[tuple[int, float]] = []

    @ps.transform
    async def stall_once(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
        async for tick in receive:
            seen.append((tick, trio.current_time() - start))
            if tick == 0:
                await trio.sleep(5.5)
            await send(tick)

    await ps.every(1, count=9).buffer(1, "conflate").via(stall_once).to(ps.drain()).run()
    assert seen == [(0, 0), (5, 5.5), (6, 6), (7, 7), (8, 8)]


@pytest.mark.parametrize("between", [lambda s: s, lambda s: s.buffer(5)], ids=["fused", "apart"])
async def test_a_stage_that_holds_the_loop_gets_no_burst(
    autojump_clock: MockClock, between: Callable[[ps.Stream[int]], ps.Stream[int]]
) -> None:
    seen: list[tuple[int, float]] = []
    start = trio.current_time()

    def note_and_stall(tick: int) -> None:
        seen.append((tick, trio.current_time() - start))
        autojump_clock.jump(3.5 if tick == 0 else 0)

    await ps.every(1, count=6).via(between).tap(note_and_stall).to(ps.drain()).run()
    assert seen == [(0, 0), (3, 3.5), (4, 4), (5, 5)]


async def test_the_last_tick_comes_however_late(autojump_clock: MockClock) -> None:
    stall = ps.every(1, count=4).tap(lambda _: autojump_clock.jump(100))
    assert await stall.to(ps.collect()).run() == [0, 3]


async def test_without_count_it_goes_on_until_it_is_ended(autojump_clock: MockClock) -> None:
    assert await ps.every(3600).take(3).to(ps.collect()).run() == [0, 1, 2]


async def test_a_count_of_none_at_all(autojump_clock: MockClock) -> None:
    assert await ps.every(1, count=0).to(ps.collect()).run() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "every: seconds must be more than 0"),
        (("1",), "every: seconds must be a number of seconds"),
        ((1, -1), "every: count must be a whole number of at least 0"),
    ],
)
def test_wrong_options(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ps.PipelineError, match=message):
        ps.every(*arguments)
