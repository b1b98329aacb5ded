"""Pipelines are started again with backoff, end their topic's log, and drain when told to stop."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import penstock as ps
from penstock.wire import Cursor
from penstock_server import Server, Topic
from penstock_server.supervisor import Supervisor

NOTHING: dict[str, Cursor] = {}
BACKOFF = ps.Backoff(initial=1, maximum=4, jitter=False)


def supervised(source: Callable[[], ps.Stream[Any]], accepts: Any = None) -> Supervisor:
    topic: Topic[Any] = Server().topic("t", accepts=accepts)
    return Supervisor(topic(source), BACKOFF)


def stored(supervisor: Supervisor) -> list[Any]:
    events = supervisor.topic.log.read(0, 10_000)
    assert isinstance(events, list)
    return [msgspec.json.decode(event.json) for event in events]


def fail(item: object) -> object:
    raise ValueError(f"no {item}")


async def test_a_topic_without_a_pipeline_is_open() -> None:
    supervisor = Supervisor(Server().topic("t", accepts=object))
    assert supervisor.state == "open"
    await supervisor.supervise(NOTHING)
    assert supervisor.state == "open"


@pytest.mark.expect_error_log
async def test_a_pipeline_that_fails_is_started_again_with_growing_waits(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[float] = []

    def source() -> ps.Stream[Any]:
        starts.append(trio.current_time())
        return ps.from_iterable([1]).map(fail)

    supervisor = supervised(source)
    with trio.move_on_after(16):
        await supervisor.supervise(NOTHING)
    assert starts == [0, 1, 3, 7, 11, 15]
    assert supervisor.topic.restarts == len(starts)
    assert supervisor.last_error is not None
    assert "ValueError: no 1" in supervisor.last_error
    assert "topic t: its pipeline failed and starts again in 2.0 s" in caplog.text


@pytest.mark.expect_error_log
async def test_after_a_long_healthy_run_the_waits_start_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ends: list[float] = []
    starts: list[float] = []

    def source() -> ps.Stream[Any]:
        starts.append(trio.current_time())
        # Two quick failures, a long run, and quick failures again.
        ticks = ps.every(100, count=2).skip(1) if len(starts) == 3 else ps.from_iterable([1])
        return ticks.map(note_end_and_fail)

    def note_end_and_fail(item: object) -> object:
        ends.append(trio.current_time())
        return fail(item)

    with trio.move_on_after(112):
        await supervised(source).supervise(NOTHING)
    waits = [start - end for start, end in zip(starts[1:], ends, strict=False)]
    assert waits == [1, 2, 1, 2, 4]


@pytest.mark.expect_error_log
async def test_a_function_that_gives_no_stream_is_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    given: list[Any] = [None, ps.from_iterable([1])]
    supervisor = supervised(lambda: given.pop(0))
    await supervisor.supervise(NOTHING)
    assert supervisor.state == "ended"
    assert stored(supervisor) == [1]


@pytest.mark.expect_error_log
async def test_the_states(autojump_clock: trio.testing.MockClock) -> None:
    def first_fails() -> ps.Stream[Any]:
        ticks = ps.every(2, count=2)
        return ticks if supervisor.topic.restarts else ticks.skip(1).map(fail)

    supervisor = supervised(first_fails)
    seen = [supervisor.state]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.supervise, NOTHING)
        for _ in range(3):
            await trio.sleep(1.25)
            seen.append(supervisor.state)
    assert [*seen, supervisor.state] == ["waiting", "running", "restarting", "running", "ended"]


async def test_a_finite_pipeline_ends_the_log(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = supervised(lambda: ps.from_iterable(range(3)))
    await supervisor.supervise(NOTHING)
    assert supervisor.state == "ended"
    assert supervisor.topic.log.bounds().ended
    assert stored(supervisor) == [0, 1, 2]


async def test_unless_clients_may_publish_to_it(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = supervised(lambda: ps.from_iterable(range(3)), accepts=object)
    await supervisor.supervise(NOTHING)
    assert supervisor.state == "ended"
    assert not supervisor.topic.log.bounds().ended
    await supervisor.topic.publish(3)


async def slowly(item: Any) -> Any:
    await trio.sleep(1)
    return item


async def test_stopping_drains_what_is_in_flight(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = supervised(lambda: ps.every(0.1).map_async(slowly, concurrency=100))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.supervise, NOTHING)
        await trio.sleep(2.05)
        before = len(stored(supervisor))
        await supervisor.stop(10)
        assert trio.current_time() == pytest.approx(3, abs=0.1)
    assert before < 12
    assert stored(supervisor) == list(range(21))
    assert supervisor.state == "stopped"
    assert not supervisor.topic.log.bounds().ended, "it goes on after a restart of the server"


async def test_stopping_cuts_off_after_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async def for_ever(item: int) -> int:
        await trio.sleep_forever()
        return item

    supervisor = supervised(lambda: ps.every(1).map_async(for_ever, concurrency=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.supervise, NOTHING)
        await trio.sleep(1)
        await supervisor.stop(5)
    assert trio.current_time() == 6
    assert supervisor.state == "stopped"


@pytest.mark.expect_error_log
async def test_stopping_while_it_waits_to_restart_ends_it_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    supervisor = supervised(lambda: ps.from_iterable([1]).map(fail))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.supervise, NOTHING)
        await trio.sleep(1.5)
        await supervisor.stop(5)
    assert trio.current_time() == 1.5
    assert supervisor.state == "stopped"
    assert supervisor.topic.restarts == 2


async def test_stopped_before_it_started_it_never_runs() -> None:
    supervisor = supervised(lambda: ps.from_iterable([1]))
    await supervisor.stop(5)
    await supervisor.supervise(NOTHING)
    assert supervisor.state == "stopped"
    assert stored(supervisor) == []


@pytest.mark.expect_error_log
async def test_a_failure_while_draining_is_said_and_not_followed_by_a_restart(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervised(lambda: ps.every(10).map_async(slowly, concurrency=2).map(fail))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.supervise, NOTHING)
        await trio.sleep(0.5)
        await supervisor.stop(5)
    assert supervisor.state == "stopped"
    assert supervisor.topic.restarts == 0
    assert "ValueError: no 0" in (supervisor.last_error or "")
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "starts again" not in errors[0]


async def test_cancelled_the_pipeline_has_cleaned_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    cleaned = False

    @ps.producer
    async def numbers() -> AsyncIterator[int]:
        nonlocal cleaned
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            cleaned = True

    with trio.move_on_after(1):
        await supervised(numbers).supervise(NOTHING)
    assert cleaned
