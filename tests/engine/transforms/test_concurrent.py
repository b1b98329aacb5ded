from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps


class Gauge:
    """An async function that counts its calls in flight."""

    def __init__(self, seconds: float = 1) -> None:
        self.seconds = seconds
        self.running = 0
        self.most = 0
        self.cleaned_up: list[int] = []

    async def __call__(self, item: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.running -= 1
            self.cleaned_up.append(item)
        return item


async def same(item: int) -> int:
    return item


async def stuck(_item: int) -> None:
    await trio.sleep_forever()


async def later_is_quicker(item: int) -> int:
    await trio.sleep(10 - item)
    return item


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025])
async def test_every_item_is_answered(size: int, ordered: bool) -> None:
    stream = ps.from_iterable(range(size)).map_async(same, 7, ordered=ordered)
    answers = await stream.to(ps.collect()).run()
    assert (answers if ordered else sorted(answers)) == list(range(size))


async def test_ordered_keeps_the_order_of_the_items(autojump_clock: MockClock) -> None:
    stream = ps.from_iterable(range(5)).map_async(later_is_quicker, 5)
    assert await stream.to(ps.collect()).run() == [0, 1, 2, 3, 4]


async def test_unordered_gives_answers_as_they_are_done(autojump_clock: MockClock) -> None:
    stream = ps.from_iterable(range(5)).map_async(later_is_quicker, 5, ordered=False)
    assert await stream.to(ps.collect()).run() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("concurrency", [1, 2, 10])
async def test_no_more_than_concurrency_calls_at_a_time(
    autojump_clock: MockClock, concurrency: int
) -> None:
    gauge = Gauge()
    await ps.from_iterable(range(20)).map_async(gauge, concurrency).to(ps.drain()).run()
    assert gauge.most == concurrency
    assert trio.current_time() == pytest.approx(20 / concurrency)


@pytest.mark.parametrize("ordered", [True, False])
async def test_at_most_twice_concurrency_items_are_taken_and_not_passed_on(
    autojump_clock: MockClock, ordered: bool
) -> None:
    async def first_is_slow(item: int) -> int:
        await trio.sleep(100 if item == 0 else 0.1)
        return item

    stream = ps.from_iterable(range(1000)).map_async(first_is_slow, 3, ordered=ordered)
    async with stream.to(ps.drain()).open() as run:
        for _ in range(99):
            await trio.sleep(1)
            stage = run.stats().stages[1]
            assert stage.items_in - stage.items_out <= 6
        assert run.stats().stages[1].items_in == (6 if ordered else 1000)


async def test_results_that_nobody_takes_hold_back_the_source(autojump_clock: MockClock) -> None:
    stream = ps.from_iterable(range(1000)).buffer(10).map_async(same, 2).buffer(10)
    async with stream.to(ps.for_each(stuck)).open() as run:
        await wait_all_tasks_blocked()
        assert run.stats().stages[0].items_out < 100
        await run.stop(0)


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_failing_call_is_named_and_cancels_the_others(
    autojump_clock: MockClock, ordered: bool
) -> None:
    gauge = Gauge(5)

    async def call(item: int) -> int:
        if item == 2:
            await trio.sleep(1)
            raise OSError("gone")
        return await gauge(item)

    stream = ps.from_iterable(range(10)).map_async(call, 3, ordered=ordered)
    with pytest.raises(ps.StageError, match=r"map_async\(call\) failed on item 2: OSError: gone"):
        await stream.to(ps.collect()).run()
    assert sorted(gauge.cleaned_up) == [0, 1]
    assert gauge.running == 0


@pytest.mark.parametrize("ordered", [True, False])
async def test_skipped_errors_leave_out_the_item_and_are_counted(
    autojump_clock: MockClock, ordered: bool
) -> None:
    async def odd_only(item: int) -> int:
        await trio.sleep(1 / (item + 1))
        if item % 2 == 0:
            raise ValueError
        return item

    stream = ps.from_iterable(range(10)).map_async(odd_only, 3, ordered=ordered, errors="skip")
    async with stream.to(ps.collect()).open() as run:
        assert sorted(await run.result()) == [1, 3, 5, 7, 9]
    stage = run.report().stages[1]
    assert (stage.items_in, stage.items_out, stage.skipped) == (10, 5, 5)


async def test_cancelled_calls_run_their_finally() -> None:
    gauge = Gauge(3600)
    with trio.CancelScope() as scope:
        async with ps.from_iterable(range(10)).map_async(gauge, 4).to(ps.drain()).open():
            await wait_all_tasks_blocked()
            scope.cancel()
    assert sorted(gauge.cleaned_up) == [0, 1, 2, 3]


async def test_answers_arrive_one_by_one_where_items_do(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    times: list[float] = []

    @ps.producer
    async def ticks() -> AsyncIterator[int]:
        for n in range(3):
            yield n
            await trio.sleep(10)

    def note(_answer: int) -> None:
        times.append(trio.current_time() - start)

    await ticks().map_async(Gauge(1), 4).to(ps.for_each(note)).run()
    assert times == [1, 11, 21]


async def test_a_function_that_is_not_async_is_a_failure_of_the_stage() -> None:
    stream = ps.from_iterable([1]).map_async(abs, 1)  # type: ignore[arg-type, var-annotated]  # that is what is tested
    with pytest.raises(ps.StageError, match=r"map_async\(abs\) failed on item 1: TypeError"):
        await stream.to(ps.collect()).run()
