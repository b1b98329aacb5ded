from __future__ import annotations

from collections.abc import Callable, Iterator
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


async def slowly(tick: int) -> int:
    await trio.sleep(2.5)
    return tick


@ps.transform
async def slowly_on(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for tick in receive:
        await send(await slowly(tick))


SLOW: dict[str, Callable[[ps.Stream[int]], ps.Pipeline[object]]] = {
    "transform": lambda ticks: ticks.via(slowly_on).to(ps.drain()),
    "sink": lambda ticks: ticks.to(ps.for_each(slowly)),
    "behind an element operator": lambda ticks: ticks.map(abs).to(ps.for_each(slowly)),
}


@pytest.mark.parametrize("ticks", [ps.every(1, count=20), ps.every(1, count=20).restart()])
@pytest.mark.parametrize("case", SLOW)
async def test_a_slow_stage_finds_no_old_ticks(
    autojump_clock: MockClock, case: str, ticks: ps.Stream[int]
) -> None:
    """The ticks that came due while it was busy are left out, not queued in its channel."""
    start = trio.current_time()
    lags: list[float] = []

    def note(tick: int) -> None:
        lags.append(trio.current_time() - start - tick)

    await SLOW[case](ticks.tap(note)).run()
    assert len(lags) <= 9
    assert all(lag < 1 for lag in lags[:-1])


async def test_a_buffer_that_was_asked_for_holds_ticks(autojump_clock: MockClock) -> None:
    seen: list[int] = []

    async def slow(tick: int) -> None:
        seen.append(tick)
        await trio.sleep(2.5)

    await ps.every(1, count=6).buffer(10).to(ps.for_each(slow)).run()
    assert seen == [0, 1, 2, 3, 4, 5]


async def test_ticks_beside_a_busy_stream_get_their_turn(autojump_clock: MockClock) -> None:
    def busy() -> Iterator[int]:
        while True:
            yield -1

    stream = ps.merge(ps.from_iterable(busy()), ps.every(1)).filter(lambda n: n >= 0)
    assert await stream.take(1).to(ps.collect()).run() == [0]


async def test_branches_that_meet_again_do_not_wait_for_each_other(
    autojump_clock: MockClock,
) -> None:
    a, b = ps.every(1, count=3).broadcast(2)
    assert await a.zip(b.map(str)).to(ps.collect()).run() == [(0, "0"), (1, "1"), (2, "2")]


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
