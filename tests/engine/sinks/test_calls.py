from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("size", [0, 1, 1024, 1025])
async def test_a_plain_function_is_called_for_each_item(concurrency: int, size: int) -> None:
    seen: list[int] = []
    await ps.from_iterable(range(size)).to(ps.for_each(seen.append, concurrency)).run()
    assert sorted(seen) == list(range(size))


async def test_an_async_function_is_awaited_in_order(autojump_clock: MockClock) -> None:
    seen: list[int] = []

    async def note(item: int) -> None:
        await trio.sleep(1 / (item + 1))
        seen.append(item)

    await ps.from_iterable(range(5)).to(ps.for_each(note)).run()
    assert seen == [0, 1, 2, 3, 4]


async def test_no_more_than_concurrency_calls_at_a_time(autojump_clock: MockClock) -> None:
    running = most = 0

    async def call(_item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    await ps.from_iterable(range(20)).to(ps.for_each(call, concurrency=4)).run()
    assert most == 4
    assert trio.current_time() == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_failing_call_is_named_and_cancels_the_others(
    autojump_clock: MockClock, concurrency: int
) -> None:
    cleaned_up = []

    async def call(item: int) -> None:
        try:
            await trio.sleep(10 if item == 0 and concurrency > 1 else 1)
            if item == 1:
                raise OSError("gone")
        finally:
            cleaned_up.append(item)

    with pytest.raises(ps.StageError, match=r"for_each\(call\) failed on item 1: OSError: gone"):
        await ps.from_iterable(range(2)).to(ps.for_each(call, concurrency)).run()
    assert sorted(cleaned_up) == [0, 1]


async def test_quick_plain_calls_let_others_run() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    def call(_item: int) -> None:
        sum(range(5000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await ps.from_iterable(range(1000)).to(ps.for_each(call)).run()
        nursery.cancel_scope.cancel()
    assert turns > 20


class Flaky:
    """Fails on each third item, at its first calls with it."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls: list[int] = []
        self.done: list[int] = []

    async def __call__(self, item: int) -> None:
        self.calls.append(item)
        await trio.lowlevel.checkpoint()
        if item % 3 == 0 and self.calls.count(item) <= self.times:
            raise OSError(item)
        self.done.append(item)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_failures_are_skipped_and_counted(
    autojump_clock: MockClock, concurrency: int
) -> None:
    f = Flaky(1)
    pipeline = ps.from_iterable(range(9)).to(ps.for_each(f, concurrency, errors="skip"))
    async with pipeline.open() as run:
        await run.result()
    assert sorted(f.done) == [1, 2, 4, 5, 7, 8]
    assert run.report().stages[-1].skipped == 3


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_failed_calls_are_made_again(autojump_clock: MockClock, concurrency: int) -> None:
    f = Flaky(2)
    again = ps.retry(3, ps.Backoff(1, 1, jitter=False))
    pipeline = ps.from_iterable(range(9)).to(ps.for_each(f, concurrency, errors=again))
    async with pipeline.open() as run:
        await run.result()
    assert sorted(f.done) == list(range(9))
    assert run.report().stages[-1].retried == 6


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_failed_items_go_to_the_dead_letters(
    autojump_clock: MockClock, concurrency: int
) -> None:
    letters: list[ps.DeadLetter[int]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    sink = ps.for_each(Flaky(1), concurrency, errors=errors)
    async with ps.from_iterable(range(9)).to(sink).open() as run:
        await run.result()
    assert sorted(letter.item for letter in letters) == [0, 3, 6]
    assert sum(stage.dead_lettered for stage in run.report().stages) == 3


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_calls_in_flight_are_abandoned_when_cancelled(
    autojump_clock: MockClock, concurrency: int
) -> None:
    async def stuck(_item: int) -> None:
        await trio.sleep_forever()

    pipeline = ps.from_iterable(range(20)).to(ps.for_each(stuck, concurrency))
    async with pipeline.open() as run:
        await trio.sleep(1)
        await run.stop(0)
    stage = run.report().stages[-1]
    assert stage.abandoned == stage.items_in == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "for_each: f must be a function, got 3"),
        ((print, 0), "for_each: concurrency must be a whole number of at least 1"),
    ],
)
def test_wrong_options(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ps.PipelineError, match=message):
        ps.for_each(*arguments)
