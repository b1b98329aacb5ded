from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps
from penstock._spec import StepControl, StepSink


class Broken(Exception):
    pass


def break_on(bad: Any) -> Any:
    def check(item: Any) -> Any:
        if item == bad:
            raise Broken(f"got {item}")
        return item

    return check


async def forever(_item: Any) -> None:
    await trio.sleep_forever()


async def same(item: int) -> int:
    return item


numbers = ps.from_iterable(range(10))
failing = numbers.map(break_on(3)).to(ps.collect())


@ps.producer
async def endless(log: list[str] | None = None) -> AsyncIterator[int]:
    n = 0
    try:
        while True:
            yield n
            n += 1
    finally:
        if log is not None:
            log.append("closed")


class TestErrors:
    async def test_one_failure_is_one_stage_error_with_stage_item_line_and_cause(self) -> None:
        with pytest.raises(ps.StageError) as caught:
            await failing.run()
        error = caught.value
        assert (error.stage, error.item_repr) == ("map(check)", "3")
        assert error.where is not None
        assert error.where.file == __file__
        assert type(error.__cause__) is Broken
        assert error.cause is error.__cause__

    @pytest.mark.parametrize(
        "pipeline",
        [
            ps.from_iterable(range(9)).map_async(same, 2).map(break_on(3)).to(ps.collect()),
            ps.from_iterable(range(9)).buffer(2).map(break_on(3)).to(ps.collect()),
            ps.from_iterable(range(9)).batch(1).flat_map(break_on([3])).to(ps.collect()),
            ps.from_iterable(range(9)).to(ps.for_each(break_on(3))),
            ps.from_iterable(range(9)).to(ps.for_each(break_on(3), concurrency=3)),
            ps.from_iterable(range(9)).to(ps.fold(0, lambda _, item: break_on(3)(item))),
            ps.from_iterable(range(9)).map_blocking(break_on(3), 2).to(ps.collect()),
            ps.from_iterable(range(9)).map(break_on(3)).to(ps.for_each(same)),
        ],
        ids=lambda pipeline: repr(pipeline._node.inputs[0].name + ", " + pipeline._node.name),
    )
    async def test_the_cause_of_a_failure_is_the_users_error_everywhere(
        self, pipeline: ps.Pipeline[Any]
    ) -> None:
        with pytest.raises(ps.StageError) as caught:
            await pipeline.run()
        assert caught.value.item_repr in ("3", "[3]")
        assert type(caught.value.__cause__) is Broken

    async def test_a_failing_async_function_names_its_item(self) -> None:
        async def fail(item: int) -> int:
            return 1 // (item - 3)

        with pytest.raises(ps.StageError) as caught:
            await numbers.map_async(fail, 1).to(ps.collect()).run()
        assert (caught.value.stage, caught.value.item_repr) == ("map_async(fail)", "3")
        assert type(caught.value.__cause__) is ZeroDivisionError

    async def test_several_failures_come_as_one_flat_group(self) -> None:
        @ps.producer
        async def stubborn(name: str) -> AsyncIterator[int]:
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                raise Broken(name)

        streams = ps.merge(stubborn("a"), stubborn("b"), numbers.map(break_on(5)))
        with pytest.raises(ExceptionGroup) as caught:
            await streams.to(ps.collect()).run()
        errors = caught.value.exceptions
        assert all(isinstance(error, ps.StageError) for error in errors)
        assert sorted(str(error.__cause__) for error in errors) == ["a", "b", "got 5"]

    async def test_a_nursery_inside_a_producer_does_not_wrap_its_error(self) -> None:
        async def fail() -> None:
            raise Broken

        @ps.producer
        async def with_nursery() -> AsyncIterator[int]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                yield 1
                await trio.sleep_forever()

        with pytest.raises(ps.StageError) as caught:
            await with_nursery().to(ps.collect()).run()
        assert caught.value.stage == "with_nursery"
        assert type(caught.value.__cause__) is Broken

    async def test_an_error_beside_a_cancellation_is_still_named(self) -> None:
        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Broken

        @ps.producer
        async def with_nursery() -> AsyncIterator[int]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_cancelled)
                nursery.start_soon(trio.sleep_forever)
                yield 1
                await trio.sleep_forever()

        with trio.CancelScope() as scope:
            with pytest.raises(ps.StageError) as caught:
                async with with_nursery().to(ps.collect()).open():
                    await wait_all_tasks_blocked()
                    scope.cancel()
            assert caught.value.stage == "with_nursery"
            assert type(caught.value.__cause__) is Broken

    async def test_a_failure_in_cleanup_is_not_lost_to_a_cancellation(self) -> None:
        @ps.producer
        async def bad_cleanup() -> AsyncIterator[int]:
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                raise Broken

        with trio.CancelScope() as scope, pytest.raises(ps.StageError, match="bad_cleanup"):
            async with bad_cleanup().to(ps.collect()).open():
                await wait_all_tasks_blocked()
                scope.cancel()

    async def test_a_full_buffer_that_may_not_wait_fails_in_its_own_name(self) -> None:
        for source in (numbers, numbers.buffer(5), endless()):
            with pytest.raises(ps.StageError) as caught:
                await source.buffer(3, "fail").to(ps.for_each(forever)).run()
            assert caught.value.stage == "buffer"
            assert type(caught.value.__cause__) is ps.BufferOverflow

    async def test_a_failing_key_of_a_buffer_names_buffer_and_item(self) -> None:
        pipeline = numbers.buffer(20, "conflate", key=break_on(4)).to(ps.collect())
        with pytest.raises(ps.StageError) as caught:
            await pipeline.run()
        assert (caught.value.stage, caught.value.item_repr) == ("buffer(check)", "4")

    async def test_a_failing_iterable_names_its_producer(self) -> None:
        def broken() -> Iterator[int]:
            yield 1
            raise Broken

        with pytest.raises(ps.StageError, match=r"^from_iterable failed: Broken"):
            await ps.from_iterable(broken()).to(ps.collect()).run()

    @pytest.mark.parametrize("exit_type", [KeyboardInterrupt, SystemExit])
    def test_an_exit_comes_as_itself(self, exit_type: type[BaseException]) -> None:
        def leave(_item: int) -> None:
            raise exit_type

        with pytest.raises(exit_type):
            ps.run(numbers.tap(leave).to(ps.collect()))
        with pytest.raises(exit_type):
            ps.run(numbers.buffer(2).to(ps.for_each(leave, concurrency=2)))

    async def test_an_error_of_the_body_keeps_its_context(self) -> None:
        with pytest.raises(KeyError) as caught:
            async with numbers.to(ps.for_each(forever)).open():
                try:
                    raise Broken
                except Broken:
                    raise KeyError  # noqa: B904 - the implicit context is what is tested
        assert type(caught.value.__context__) is Broken
        assert caught.value.__suppress_context__ is False


class TestFailureInsideOpen:
    async def test_a_body_that_waits_for_the_result_gets_the_error_there(self) -> None:
        async with failing.open() as run:
            with pytest.raises(ps.StageError):
                await run.result()
        assert run.report().outcome == "failed"

    async def test_a_body_that_does_something_else_is_cancelled(self) -> None:
        reached_end = False
        with pytest.raises(ps.StageError):
            async with failing.open():
                await trio.sleep_forever()
                reached_end = True
        assert not reached_end

    async def test_a_body_that_gave_up_waiting_is_cancelled(
        self, autojump_clock: MockClock
    ) -> None:
        async def fail_late(_item: int) -> None:
            await trio.sleep(5)
            raise Broken

        with pytest.raises(ps.StageError):
            async with numbers.to(ps.for_each(fail_late)).open() as run:
                with trio.move_on_after(1):
                    await run.result()
                await trio.sleep(1000)
        assert trio.current_time() < 10

    async def test_a_wait_given_up_at_the_moment_of_the_failure_still_cancels_the_body(
        self, autojump_clock: MockClock
    ) -> None:
        impatience = trio.CancelScope()

        def fail_as_the_body_gives_up(_item: int) -> None:
            impatience.cancel()
            raise Broken

        with pytest.raises(ps.StageError):
            async with numbers.to(ps.for_each(fail_as_the_body_gives_up)).open() as run:
                with impatience:
                    await run.result()
                await trio.sleep(1000)
        assert trio.current_time() < 1

    async def test_a_body_that_is_over_waits_for_the_error(self) -> None:
        with pytest.raises(ps.StageError):
            async with failing.open():
                pass

    async def test_the_errors_of_body_and_run_come_together(self) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with failing.open():
                try:
                    await trio.sleep_forever()
                finally:
                    raise KeyError("body")
        assert {type(error) for error in caught.value.exceptions} == {KeyError, ps.StageError}

    async def test_an_error_that_was_delivered_is_not_raised_again(self) -> None:
        with pytest.raises(KeyError):
            async with failing.open() as run:
                try:
                    await run.result()
                except ps.StageError as error:
                    raise KeyError from error


class TestOpen:
    async def test_the_result_is_there_as_often_as_asked(self) -> None:
        async with numbers.to(ps.count()).open() as run:
            assert await run.result() == 10
            assert await run.result() == 10
        assert await run.result() == 10

    async def test_leaving_the_body_waits_for_the_end(self) -> None:
        written: list[int] = []
        async with numbers.to(ps.for_each(written.append)).open():
            pass
        assert written == list(range(10))

    async def test_an_error_of_the_body_cancels_the_run(self) -> None:
        log: list[str] = []
        with pytest.raises(KeyError):
            async with endless(log).to(ps.count()).open() as run:
                await trio.lowlevel.checkpoint()
                raise KeyError
        assert log == ["closed"]
        assert run.report().outcome == "cancelled"

    async def test_a_cancelled_wait_for_the_result_leaves_the_run_alone(
        self, autojump_clock: MockClock
    ) -> None:
        async with ps.every(1, count=3).to(ps.collect()).open() as run:
            with trio.move_on_after(0.5) as gave_up:
                await run.result()
            assert gave_up.cancelled_caught
            assert await run.result() == [0, 1, 2]

    async def test_stats_are_live(self) -> None:
        async with endless().to(ps.count()).open() as run:
            while run.stats().stages[0].items_out < 100:
                await trio.lowlevel.checkpoint()
            assert run.stats().outcome == "running"
            await run.stop()

    async def test_nothing_is_left_for_the_garbage_collector_to_close(self) -> None:
        async with endless().map(str).open() as items:
            await items.chunk()
        gc.collect()  # an async generator that is still open would warn, which is an error here


class TestStop:
    async def test_the_producers_end_and_the_rest_drains(self) -> None:
        log: list[str] = []
        async with endless(log).map_async(same, 3).to(ps.collect()).open() as run:
            while run.stats().stages[-1].items_in < 50:
                await trio.lowlevel.checkpoint()
            await run.stop()
            result = await run.result()
        assert result == list(range(len(result)))
        assert len(result) >= 50
        assert log == ["closed"]
        report = run.report()
        assert report.outcome == "stopped"
        assert sum(stage.abandoned for stage in report.stages) == 0

    async def test_what_a_source_is_sending_still_goes_out(self) -> None:
        gate = trio.Event()
        written = []

        async def write(item: int) -> None:
            await gate.wait()
            written.append(item)

        pipeline = ps.from_iterable(range(1000)).buffer(4).to(ps.for_each(write))
        async with pipeline.open() as run, trio.open_nursery() as nursery:
            await wait_all_tasks_blocked()
            sent = run.stats().stages[0].items_out
            nursery.start_soon(run.stop)
            await wait_all_tasks_blocked()
            gate.set()
        assert 4 < sent < 1000
        assert written == list(range(sent))

    async def test_several_tasks_of_a_producer_may_be_sending(self) -> None:
        gate = trio.Event()
        written = []

        @ps.producer
        async def two_hands(send: ps.Sender[str]) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send.chunk, ["left"] * 8)
                nursery.start_soon(send.chunk, ["right"] * 5)

        async def write(item: str) -> None:
            await gate.wait()
            written.append(item)

        pipeline = two_hands().buffer(1).to(ps.for_each(write))
        async with pipeline.open() as run, trio.open_nursery() as nursery:
            await wait_all_tasks_blocked()
            nursery.start_soon(run.stop)
            await wait_all_tasks_blocked()
            gate.set()
        assert sorted(written) == ["left"] * 8 + ["right"] * 5

    async def test_after_the_deadline_what_is_left_is_cancelled(
        self, autojump_clock: MockClock
    ) -> None:
        async with numbers.to(ps.for_each(forever)).open() as run:
            await wait_all_tasks_blocked()
            started = trio.current_time()
            await run.stop(deadline=5)
            assert trio.current_time() - started == pytest.approx(5)
            with pytest.raises(ps.RunStopped, match="more time to drain"):
                await run.result()
        assert run.report().outcome == "stopped"
        assert run.report().stages[-1].abandoned == 10

    async def test_stopping_before_anything_ran_gives_an_empty_result(self) -> None:
        async with numbers.to(ps.collect()).open() as run:
            await run.stop()
            assert await run.result() == []
        assert run.report().outcome == "stopped"

    async def test_stopping_twice_or_afterwards_is_harmless(self) -> None:
        async with numbers.to(ps.count()).open() as run:
            await run.result()
            await run.stop()
            await run.stop(0)
            assert await run.result() == 10

    async def test_a_cancelled_stop_goes_on_draining(self, autojump_clock: MockClock) -> None:
        async def slow(_item: int) -> None:
            await trio.sleep(1)

        async with ps.every(1).to(ps.for_each(slow)).open() as run:
            await trio.sleep(3.5)
            with trio.move_on_after(0):
                await run.stop()
        assert run.report().outcome == "stopped"


class TestOutcomes:
    async def test_done(self) -> None:
        async with numbers.to(ps.count()).open() as run:
            pass
        assert run.report().outcome == "done"
        assert run.report().error is None

    async def test_failed_says_why(self) -> None:
        async with failing.open() as run:
            with pytest.raises(ps.StageError):
                await run.result()
        assert run.report().error is not None
        assert str(run.report()).endswith(str(run.report().error))
        assert "got 3" in str(run.report())

    async def test_cancelled_from_outside(self) -> None:
        log: list[str] = []
        with trio.CancelScope() as scope:
            async with endless(log).to(ps.for_each(forever)).open() as run:
                await wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        assert run.report().outcome == "cancelled"
        assert log == ["closed"]

    async def test_cancelled_while_it_was_stopping(self) -> None:
        with trio.CancelScope() as scope:
            async with numbers.to(ps.for_each(forever)).open() as run:
                await wait_all_tasks_blocked()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run.stop)
                    await wait_all_tasks_blocked()
                    scope.cancel()
        assert run.report().outcome == "cancelled"


class TestProgress:
    async def test_it_is_told_ten_times_a_second_and_once_at_the_end(
        self, autojump_clock: MockClock
    ) -> None:
        seen: list[ps.RunStats] = []
        await ps.every(0.5, count=3).to(ps.count()).run(progress=seen.append)
        assert 10 <= len(seen) <= 12
        assert [stats.outcome for stats in seen[-2:]] == ["running", "done"]
        assert seen[-1].stages[-1].items_in == 3

    async def test_its_error_ends_the_run(self) -> None:
        def fail(_stats: ps.RunStats) -> None:
            raise Broken

        with pytest.raises(Broken):
            await endless().to(ps.count()).run(progress=fail)


def test_run_from_synchronous_code() -> None:
    assert ps.run(numbers.to(ps.fold(0, lambda total, n: total + n))) == 45


async def test_take_ends_an_endless_producer_behind_any_stages() -> None:
    for between in (
        endless,
        lambda log: endless(log).buffer(3),
        lambda log: endless(log).map_async(same, 2),
        lambda log: endless(log).batch(1).flat_map(lambda batch: batch),
        lambda log: endless(log).map_blocking(abs, 1).map(abs),
    ):
        log: list[str] = []
        assert await between(log).take(5).to(ps.collect()).run() == [0, 1, 2, 3, 4]
        assert log == ["closed"]


async def test_take_does_not_flush_what_was_held_before_it() -> None:
    seen: list[list[int]] = []
    stream = ps.from_iterable(range(8)).batch(3).tap(seen.append).take(2)
    assert await stream.to(ps.collect()).run() == [[0, 1, 2], [3, 4, 5]]
    assert seen == [[0, 1, 2], [3, 4, 5]]
    assert await numbers.take(5).batch(3).to(ps.collect()).run() == [[0, 1, 2], [3, 4]]


async def test_a_sink_that_wants_no_more_gets_no_more() -> None:
    seen: list[list[int]] = []

    def start(control: StepControl) -> Any:
        def consume(items: list[list[int]]) -> None:
            seen.extend(items)
            control.finish()

        return consume, lambda: seen[0]

    first: ps.Sink[list[int], list[int]] = ps.Sink("first", StepSink(start))
    # By the chunk: 0, then 1 and 2, then four more, three of which batch still holds.
    assert await ps.from_iterable(range(8)).batch(4).to(first).run() == [0, 1, 2, 3]
    assert seen == [[0, 1, 2, 3]]


async def test_a_stream_used_twice_runs_twice() -> None:
    first_three = numbers.take(3).batch(2)
    assert sorted(await first_three.merge(first_three).to(ps.collect()).run()) == [
        [0, 1],
        [0, 1],
        [2],
        [2],
    ]
