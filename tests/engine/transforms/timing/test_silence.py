from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import penstock as ps

from .schedule import scheduled, singly, timed


async def test_items_that_come_in_time_go_on_at_once(autojump_clock: MockClock) -> None:
    stream = scheduled(*singly(1, 2.9, 4.8), end=6).timeout(2)
    assert await timed(stream) == [(1, 0), (2.9, 1), (4.8, 2), (6, "end")]


async def test_silence_is_a_failure_of_the_stage(autojump_clock: MockClock) -> None:
    seen: list[int] = []
    stream = scheduled(*singly(1, 2), end=60).timeout(2.5).tap(seen.append)
    with pytest.raises(
        ps.StageError, match=r"^timeout failed: TooSlowError: no item came for 2\.5 seconds"
    ) as caught:
        await stream.to(ps.drain()).run()
    assert type(caught.value.cause) is trio.TooSlowError
    assert trio.current_time() == 4.5
    assert seen == [0, 1]


async def test_the_first_item_has_as_long(autojump_clock: MockClock) -> None:
    with pytest.raises(ps.StageError, match="timeout failed"):
        await ps.every(10).skip(1).timeout(9).to(ps.drain()).run()
    assert trio.current_time() == 9


async def test_one_that_comes_just_when_the_time_is_up_is_late(autojump_clock: MockClock) -> None:
    with pytest.raises(ps.StageError, match="timeout failed"):
        await scheduled(*singly(0, 2)).timeout(2).to(ps.drain()).run()


async def test_a_stream_that_ends_is_not_silent(autojump_clock: MockClock) -> None:
    assert await ps.from_iterable([1]).timeout(1).to(ps.collect()).run() == [1]


async def test_time_in_which_the_stages_behind_hold_it_up_does_not_count(
    autojump_clock: MockClock,
) -> None:
    async def slow(_: int) -> None:
        await trio.sleep(100)

    await scheduled(*singly(*range(6))).timeout(2).buffer(1).to(ps.for_each(slow)).run()
    assert trio.current_time() == 600


@pytest.mark.parametrize("size", [0, 1, 1024, 1025])
async def test_everything_comes_in_order(autojump_clock: MockClock, size: int) -> None:
    stream = ps.from_iterable(range(size)).timeout(1)
    assert await stream.to(ps.collect()).run() == list(range(size))


async def test_it_waits_until_its_turn_has_come(autojump_clock: MockClock) -> None:
    stream = ps.concat(ps.every(1, count=9), ps.every(1, count=3).timeout(2))
    assert await stream.to(ps.count()).run() == 12


def test_wrong_seconds() -> None:
    with pytest.raises(ps.PipelineError, match="timeout: seconds must be more than 0"):
        ps.from_iterable([1]).timeout(0)
