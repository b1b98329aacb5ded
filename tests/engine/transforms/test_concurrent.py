from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

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

    items = ps.from_iterable(range(1000)).buffer(1)  # so that none is taken but what is asked for
    stream = items.map_async(first_is_slow, 3, ordered=ordered)
    async with stream.to(ps.drain()).open() as run:
        for _ in range(99):
            await trio.sleep(1)
            stage = run.stats().stages[-2]
            assert stage.held <= 6
        assert stage.items_out == (0 if ordered else 999)


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
    with pytest.raises(ps.StageError, match=r"map_async\(abs\) failed on item 1: .* use map,"):
        await stream.to(ps.collect()).run()


class Lanes:
    """An async function whose calls take the seconds that come with the items, (key, seconds)."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.most = 0
        self.begun: list[tuple[str, float]] = []

    async def __call__(self, item: tuple[str, float]) -> tuple[str, float]:
        key, seconds = item
        assert not self.running[key], "two calls of a key overlap"
        self.running[key] += 1
        self.most = max(self.most, self.running.total())
        self.begun.append(item)
        try:
            await trio.sleep(seconds)
        finally:
            self.running[key] -= 1
        return item


def first(item: tuple[str, float]) -> str:
    return item[0]


async def test_items_of_a_key_wait_for_each_other_while_other_keys_run_on(
    autojump_clock: MockClock,
) -> None:
    items = [("a", 5.0), ("a", 1.0), ("b", 2.0), ("b", 1.0), ("c", 1.0)]
    lanes = Lanes()
    stream = ps.from_iterable(items).map_async(lanes, 3, ordered=False, key=first)
    results = await stream.to(ps.collect()).run()
    assert results == [("c", 1.0), ("b", 2.0), ("b", 1.0), ("a", 5.0), ("a", 1.0)]
    assert trio.current_time() == pytest.approx(6, abs=0.1)
    assert lanes.most == 3


async def test_with_a_key_and_in_order_the_results_keep_the_order_of_all_items(
    autojump_clock: MockClock,
) -> None:
    items = [("a", 5.0), ("a", 1.0), ("b", 2.0), ("b", 1.0), ("c", 1.0)]
    lanes = Lanes()
    results = await ps.from_iterable(items).map_async(lanes, 3, key=first).to(ps.collect()).run()
    assert results == items
    assert lanes.begun == [items[0], items[2], items[4], items[3], items[1]]


async def test_a_key_that_fills_the_pool_holds_up_the_others_until_one_is_through(
    autojump_clock: MockClock,
) -> None:
    lanes = Lanes()
    items = [*[("hot", 10.0)] * 4, ("cold", 1.0)]
    times: dict[str, list[float]] = {"hot": [], "cold": []}

    def note(item: tuple[str, float]) -> None:
        times[item[0]].append(trio.current_time())

    stream = ps.from_iterable(items).map_async(lanes, 2, ordered=False, key=first)
    await stream.to(ps.for_each(note)).run()
    assert times["hot"] == pytest.approx([10, 20, 30, 40], abs=0.1)
    assert times["cold"] == pytest.approx([11], abs=0.1)


async def test_keys_take_turns_where_all_workers_are_busy(autojump_clock: MockClock) -> None:
    lanes = Lanes()
    items = [("a", 1.0), ("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)]
    await ps.from_iterable(items).map_async(lanes, 2, key=first).to(ps.drain()).run()
    # The next of "a" goes behind those that were in line before it could run.
    assert [key for key, _ in lanes.begun] == ["a", "b", "c", "a", "d"]


async def test_a_key_is_forgotten_when_nothing_of_it_is_left() -> None:
    keys = 10_000
    stream = ps.from_iterable(range(keys)).map_async(same, 3, key=lambda n: n, ordered=False)
    assert sorted(await stream.to(ps.collect()).run()) == list(range(keys))


def unhashable_at_three(item: int) -> Any:
    return [item] if item == 3 else item % 2


def failing_at_three(item: int) -> int:
    if item == 3:
        raise KeyError(item)
    return item % 2


@pytest.mark.parametrize("key", [unhashable_at_three, failing_at_three])
@pytest.mark.parametrize("ordered", [True, False])
async def test_a_key_function_that_fails_is_a_failure_on_the_item(key: Any, ordered: bool) -> None:
    numbers = ps.from_iterable(range(5))
    with pytest.raises(ps.StageError, match=r"map_async\(same\) failed on item 3: (Type|Key)Error"):
        await numbers.map_async(same, 2, key=key, ordered=ordered).to(ps.drain()).run()
    stream = numbers.map_async(same, 2, key=key, ordered=ordered, errors="skip")
    async with stream.to(ps.collect()).open() as run:
        assert sorted(await run.result()) == [0, 1, 2, 4]
    assert run.report().stages[1].skipped == 1


async def test_a_key_function_is_called_again_while_later_items_wait(
    autojump_clock: MockClock,
) -> None:
    attempts: list[int] = []

    def key(item: int) -> int:
        attempts.append(item)
        if attempts.count(1) == 1 and item == 1:
            raise OSError
        return 0

    again = ps.retry(2, ps.Backoff(4, 4, jitter=False))
    stream = ps.from_iterable(range(4)).map_async(same, 4, key=key, ordered=False, errors=again)
    async with stream.to(ps.collect()).open() as run:
        assert await run.result() == [0, 1, 2, 3]
    assert attempts == [0, 1, 1, 2, 3]
    assert trio.current_time() == pytest.approx(4, abs=0.1)
    assert run.report().stages[1].retried == 1


async def test_a_call_that_failed_is_made_again_in_its_turn(autojump_clock: MockClock) -> None:
    calls: list[str] = []

    async def call(item: str) -> str:
        calls.append(item)
        await trio.sleep(1)
        if item == "a1" and calls.count(item) < 3:
            raise OSError("gone")
        return item

    again = ps.retry(3, ps.Backoff(2, 2, jitter=False))
    stream = ps.from_iterable(["a1", "a2", "b1"]).map_async(
        call, 2, ordered=False, key=lambda item: item[0], errors=again
    )
    async with stream.to(ps.collect()).open() as run:
        assert await run.result() == ["b1", "a1", "a2"]
    assert calls == ["a1", "b1", "a1", "a1", "a2"]
    assert run.report().stages[1].retried == 2


@pytest.mark.parametrize("ordered", [True, False])
async def test_failed_items_go_to_the_dead_letters(
    autojump_clock: MockClock, ordered: bool
) -> None:
    async def odd_only(item: int) -> int:
        await trio.sleep(1 / (item + 1))
        if item % 2 == 0:
            raise ValueError("even")
        return item

    letters: list[ps.DeadLetter[int]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    stream = ps.from_iterable(range(6)).map_async(odd_only, 3, ordered=ordered, errors=errors)
    async with stream.to(ps.collect()).open() as run:
        assert sorted(await run.result()) == [1, 3, 5]
    assert sorted((letter.item, letter.attempts) for letter in letters) == [(0, 1), (2, 1), (4, 1)]
    assert run.report().stages[1].dead_lettered == 3


async def test_quick_calls_let_others_run() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def busy(_item: int) -> None:
        sum(range(5000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await ps.from_iterable(range(1000)).map_async(busy, 500).to(ps.drain()).run()
        nursery.cancel_scope.cancel()
    assert turns > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f": 3}, "map_async: f must be a function, got 3"),
        ({"concurrency": 0}, "map_async: concurrency must be a whole number of at least 1"),
        ({"key": 3}, "map_async: key must be a function, got 3"),
        ({"key": same}, "map_async: key must be an ordinary function, but same is async"),
        ({"errors": "ignore"}, "map_async: errors must be 'raise', 'skip', retry"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ps.PipelineError, match=message):
        given: dict[str, Any] = {"f": same, "concurrency": 1} | options
        ps.from_iterable([1]).map_async(**given)
