"""``flat_map_async`` and ``switch_map``: streams within a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps

STEADY = ps.Backoff(2, 2, jitter=False)


class Inner:
    """Async generators that count how many are open, and note which were closed, and when."""

    def __init__(self, items: int = 3, seconds: float = 1.0) -> None:
        self.items = items
        self.seconds = seconds
        self.open = 0
        self.most = 0
        self.closed: list[int] = []
        self.given = 0

    async def __call__(self, outer: int) -> AsyncGenerator[tuple[int, int], None]:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            for n in range(self.items):
                await trio.sleep(self.seconds)
                self.given += 1
                yield outer, n
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.25)
            self.open -= 1
            self.closed.append(outer)


async def failing_at_two(outer: int) -> AsyncIterator[tuple[int, int]]:
    for n in range(3):
        await trio.sleep(1)
        if outer == 1 and n == 2:
            raise ValueError("no two")
        yield outer, n


def not_a_stream(outer: int) -> Any:
    return [outer]


class TestFlatMapAsync:
    async def test_items_come_as_they_are_there(self, autojump_clock: MockClock) -> None:
        inner = Inner()
        stream = ps.from_iterable([0, 1]).flat_map_async(inner, 2)
        results = await stream.to(ps.collect()).run()
        assert [n for _, n in results] == [0, 0, 1, 1, 2, 2]
        assert sorted(results) == [(outer, n) for outer in range(2) for n in range(3)]

    async def test_in_order_all_of_one_come_before_the_next(
        self, autojump_clock: MockClock
    ) -> None:
        inner = Inner()
        stream = ps.from_iterable(range(6)).flat_map_async(inner, 3, ordered=True)
        results = await stream.to(ps.collect()).run()
        assert results == [(outer, n) for outer in range(6) for n in range(3)]
        assert inner.most == 3

    @pytest.mark.parametrize("ordered", [True, False])
    @pytest.mark.parametrize("concurrency", [1, 2, 5])
    async def test_no_more_than_concurrency_are_open(
        self, autojump_clock: MockClock, concurrency: int, ordered: bool
    ) -> None:
        inner = Inner()
        stream = ps.from_iterable(range(10)).flat_map_async(inner, concurrency, ordered=ordered)
        assert len(await stream.to(ps.collect()).run()) == 30
        assert inner.most == concurrency
        assert sorted(inner.closed) == list(range(10))

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_an_inner_stream_may_be_a_stream(self, ordered: bool) -> None:
        stream = ps.from_iterable(range(5)).flat_map_async(
            lambda n: ps.from_iterable(range(n)).map(str), 2, ordered=ordered
        )
        results = await stream.to(ps.collect()).run()
        assert sorted(results) == sorted(str(m) for n in range(5) for m in range(n))

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_backpressure_reaches_the_inner_streams(
        self, autojump_clock: MockClock, ordered: bool
    ) -> None:
        inner = Inner(items=100_000, seconds=0)

        async def stuck(_item: object) -> None:
            await trio.sleep_forever()

        stream = ps.from_iterable(range(100)).flat_map_async(inner, 4, ordered=ordered)
        async with stream.to(ps.for_each(stuck)).open() as run:
            await wait_all_tasks_blocked()
            assert 0 < inner.given < 5000
            assert inner.open == 4
            await run.stop(0)
        assert inner.open == 0

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_ended_early_every_finally_runs(
        self, autojump_clock: MockClock, ordered: bool
    ) -> None:
        inner = Inner()
        stream = ps.from_iterable(range(10)).flat_map_async(inner, 3, ordered=ordered).take(2)
        assert len(await stream.to(ps.collect()).run()) == 2
        assert inner.open == 0
        assert sorted(inner.closed) == [0, 1, 2]

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_a_failing_inner_stream_names_its_item(
        self, autojump_clock: MockClock, ordered: bool
    ) -> None:
        stream = ps.from_iterable(range(3)).flat_map_async(failing_at_two, 3, ordered=ordered)
        with pytest.raises(ps.StageError, match="failed on item 1: ValueError: no two"):
            await stream.to(ps.collect()).run()

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_the_rest_of_a_failed_inner_stream_is_skipped(
        self, autojump_clock: MockClock, ordered: bool
    ) -> None:
        stream = ps.from_iterable(range(3)).flat_map_async(
            failing_at_two, 3, ordered=ordered, errors="skip"
        )
        async with stream.to(ps.collect()).open() as run:
            results = await run.result()
        assert sorted(results) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
        assert run.report().stages[1].skipped == 1

    async def test_a_failed_inner_stream_starts_anew(self, autojump_clock: MockClock) -> None:
        starts: list[int] = []

        async def flaky(outer: int) -> AsyncIterator[int]:
            starts.append(outer)
            yield outer
            if len(starts) == 1:
                raise OSError
            yield outer + 1

        again = ps.retry(2, STEADY)
        stream = ps.from_iterable([5]).flat_map_async(flaky, 1, errors=again)
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == [5, 5, 6]  # what it has sent is not taken back
        assert run.report().stages[1].retried == 1

    async def test_the_dead_letter_holds_the_outer_item(self, autojump_clock: MockClock) -> None:
        letters: list[ps.DeadLetter[int]] = []
        errors = ps.retry(2, STEADY, then=ps.dead_letter(ps.for_each(letters.append)))
        stream = ps.from_iterable(range(3)).flat_map_async(failing_at_two, 3, errors=errors)
        await stream.to(ps.drain()).run()
        assert [(letter.item, letter.attempts) for letter in letters] == [(1, 2)]
        assert type(letters[0].error) is ValueError

    async def test_an_error_of_an_inner_stage_is_raised_as_it_is(self) -> None:
        stream = ps.from_iterable([7]).flat_map_async(
            lambda n: ps.from_iterable([n]).map(lambda m: m // 0), 2
        )
        with pytest.raises(ps.StageError) as caught:
            await stream.to(ps.collect()).run()
        assert (caught.value.stage, caught.value.item_repr) == ("map(<lambda>)", "7")
        assert type(caught.value.__cause__) is ZeroDivisionError

    @pytest.mark.parametrize("ordered", [True, False])
    async def test_what_fails_behind_it_is_no_failure_of_an_inner_stream(
        self, autojump_clock: MockClock, ordered: bool
    ) -> None:
        inner = Inner()

        def fail(_item: object) -> None:
            raise KeyError("behind")

        stream = ps.from_iterable(range(3)).flat_map_async(
            inner, 2, ordered=ordered, errors=ps.retry(5, STEADY, then="skip")
        )
        with pytest.raises(ps.StageError, match="tap"):
            await stream.tap(fail).to(ps.drain()).run()
        assert inner.open == 0
        assert sorted(inner.closed) == [0, 1]

    @pytest.mark.parametrize("operator", ["flat_map_async", "switch_map"])
    async def test_a_function_that_gives_no_stream(self, operator: str) -> None:
        numbers = ps.from_iterable([1])
        stream = (
            numbers.flat_map_async(not_a_stream, 1)
            if operator == "flat_map_async"
            else numbers.switch_map(not_a_stream)
        )
        with pytest.raises(ps.StageError, match=r"must give a Stream or an async iterable.* list"):
            await stream.to(ps.drain()).run()

    async def test_an_iterable_whose_iterator_is_a_generator_is_closed(
        self, autojump_clock: MockClock
    ) -> None:
        closed: list[bool] = []

        class Items:
            async def __aiter__(self) -> AsyncIterator[int]:
                try:
                    for n in range(10):
                        yield n
                finally:
                    closed.append(True)

        stream = ps.from_iterable([0]).flat_map_async(lambda _: Items(), 1).take(2)
        assert await stream.to(ps.collect()).run() == [0, 1]
        assert closed == [True]


class TestSwitchMap:
    async def test_a_new_item_ends_the_inner_stream_before(self, autojump_clock: MockClock) -> None:
        inner = Inner(items=5)
        stream = ps.every(2.5, count=3).switch_map(inner)
        async with stream.to(ps.collect()).open() as run:
            results = await run.result()
        assert [item for item in results if item[0] < 2] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert [item for item in results if item[0] == 2] == [(2, n) for n in range(5)]
        assert run.report().stages[1].dropped == 2

    async def test_the_finally_has_run_before_the_next_begins(
        self, autojump_clock: MockClock
    ) -> None:
        inner = Inner(items=5)
        await ps.every(2.5, count=4).switch_map(inner).to(ps.drain()).run()
        assert inner.most == 1
        assert inner.closed == [0, 1, 2, 3]

    async def test_of_items_that_come_together_the_last_gets_a_stream(
        self, autojump_clock: MockClock
    ) -> None:
        inner = Inner(items=2)
        stream = ps.from_iterable(range(9)).switch_map(inner)
        async with stream.to(ps.collect()).open() as run:
            results = await run.result()
        assert results[-2:] == [(8, 0), (8, 1)]
        stage = run.report().stages[1]
        assert stage.dropped == 8

    async def test_nothing_of_a_superseded_stream_is_sent_after_the_switch(
        self, autojump_clock: MockClock
    ) -> None:
        order: list[int] = []

        async def slow(item: tuple[int, int]) -> None:
            order.append(item[0])
            await trio.sleep(0.7)

        inner = Inner(items=4, seconds=0.1)
        stream = ps.every(1, count=4).switch_map(inner).buffer(1)
        await stream.to(ps.for_each(slow)).run()
        assert order == sorted(order)
        assert order[-1] == 3

    async def test_it_takes_a_stream(self, autojump_clock: MockClock) -> None:
        stream = ps.every(10, count=2).switch_map(lambda n: ps.every(1, count=2).map(lambda m: n))
        assert await stream.to(ps.collect()).run() == [0, 0, 1, 1]

    async def test_a_failure_is_dealt_with_as_errors_says(self, autojump_clock: MockClock) -> None:
        ticks = ps.every(10, count=3)
        with pytest.raises(ps.StageError, match="failed on item 1: ValueError: no two"):
            await ticks.switch_map(failing_at_two).to(ps.drain()).run()
        stream = ticks.switch_map(failing_at_two, errors="skip")
        async with stream.to(ps.collect()).open() as run:
            assert len(await run.result()) == 8
        assert run.report().stages[1].skipped == 1

    async def test_a_wait_for_another_attempt_ends_with_the_switch(
        self, autojump_clock: MockClock
    ) -> None:
        long = ps.Backoff(1000, 1000, jitter=False)
        stream = ps.every(10, count=3).switch_map(failing_at_two, errors=ps.retry(2, long))
        async with stream.to(ps.collect()).open() as run:
            assert len(await run.result()) == 8
        assert trio.current_time() < 100
        assert run.report().stages[1].dropped == 1

    async def test_a_dead_letter_on_its_way_is_let_through(self, autojump_clock: MockClock) -> None:
        letters: list[int] = []

        async def keep(letter: ps.DeadLetter[int]) -> None:
            await trio.sleep(30)
            letters.append(letter.item)

        async def fail(item: int) -> AsyncIterator[int]:
            await trio.sleep(1)
            raise OSError(item)
            yield item

        errors = ps.dead_letter(ps.for_each(keep))
        await ps.every(10, count=3).switch_map(fail, errors=errors).to(ps.drain()).run()
        assert letters == [0, 1, 2]

    async def test_cancelled_the_inner_stream_is_closed(self) -> None:
        inner = Inner(seconds=3600)
        with trio.CancelScope() as scope:
            async with ps.from_iterable([1]).switch_map(inner).to(ps.drain()).open():
                await wait_all_tasks_blocked()
                scope.cancel()
        assert inner.closed == [1]


async def answer(item: int) -> int:
    return item


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f": 3}, "flat_map_async: f must be a function, got 3"),
        ({"f": answer}, "flat_map_async: f must give an async iterable or a Stream"),
        ({"concurrency": 0}, "flat_map_async: concurrency must be a whole number of at least 1"),
        ({"errors": "ignore"}, "flat_map_async: errors must be 'raise', 'skip', retry"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ps.PipelineError, match=message):
        given: dict[str, Any] = {"f": failing_at_two, "concurrency": 1} | options
        ps.from_iterable([1]).flat_map_async(**given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f": 3}, "switch_map: f must be a function, got 3"),
        ({"f": answer}, "switch_map: f must give an async iterable or a Stream"),
        ({"errors": "ignore"}, "switch_map: errors must be 'raise', 'skip', retry"),
    ],
)
def test_wrong_options_of_switch_map(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ps.PipelineError, match=message):
        ps.from_iterable([1]).switch_map(**{"f": failing_at_two} | options)
