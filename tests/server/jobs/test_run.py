"""One run: how it ends, whenever and by whomever, and what it leaves behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock as Clock

import penstock as ps
from penstock_server import Event, Server
from penstock_server.jobs import JobRun
from penstock_server.log import Trimmed

EVENTS = 5


class Lab:
    """A job whose producer says what it did."""

    def __init__(self, **options: Any) -> None:
        self.server = Server()
        self.opened = 0
        self.closed = 0
        lab = self

        @ps.producer
        async def produced(body: object) -> AsyncIterator[object]:
            lab.opened += 1
            try:
                for number in range(EVENTS):
                    await trio.sleep(1)
                    if number == body:
                        raise ValueError("what the user got wrong")
                    yield number
            finally:
                lab.closed += 1

        self.job = self.server.job("j", **options)(produced)

    def run(self, body: object = None) -> JobRun:
        return JobRun(self.job, "r1", body)


def data_of(run: JobRun) -> list[Any]:
    """The names or the data of all its events."""
    events = run.topic.log.read(0, 1000)
    assert not isinstance(events, Trimmed)
    return [each.name or int(each.json) for each in events]


def check_over(lab: Lab, run: JobRun) -> None:
    """What holds of any run that has ended, however."""
    assert lab.opened == lab.closed
    assert run.status != "running"
    assert run.topic.log.bounds().ended
    assert run.ended <= trio.current_time()
    assert (run.error is not None) == (data_of(run)[-1:] == ["error"])
    stats = run.stats()
    assert stats is None or stats.outcome != "running"


async def test_done(autojump_clock: Clock) -> None:
    lab = Lab()
    run = lab.run()
    assert (run.status, run.path, run.stats()) == ("running", "/jobs/j/r1", None)
    run.begin()
    began = trio.current_time()
    await run.execute()
    await run.over()
    check_over(lab, run)
    assert (run.status, data_of(run)) == ("done", list(range(EVENTS)))
    assert run.ended == began + EVENTS
    stats = run.stats()
    assert stats is not None
    assert (stats.outcome, stats.stages[0].items_out) == ("done", EVENTS)


@pytest.mark.expect_error_log
async def test_failed(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab()
    run = lab.run(3)
    run.begin()
    await run.execute()
    check_over(lab, run)
    assert (run.status, data_of(run)) == ("failed", [0, 1, 2, "error"])
    assert run.error is not None
    assert "wrong" not in str(run.error)
    (record,) = caplog.records
    assert record.getMessage().startswith("job j: run r1 failed: ")
    assert "what the user got wrong" in record.getMessage()


@pytest.mark.expect_error_log
@pytest.mark.parametrize(
    "given",
    [
        lambda: 3,
        lambda: 1 / 0,
        lambda: ps.from_iterable([1]).to(ps.collect()),
        lambda: ps.from_iterable([object()]),
        lambda: ps.from_iterable([Event(1, "a\nb")]),
        lambda: ps.from_iterable([float("nan")]),
        lambda: ps.from_iterable(["x" * 2000]),
        lambda: ps.from_iterable([1]).map(lambda n: [][n]),
    ],
    ids=["no stream", "raises", "pipeline", "object", "name", "nan", "too large", "in a stage"],
)
async def test_whatever_the_function_does_the_run_ends(autojump_clock: Clock, given: Any) -> None:
    job = Server().job("j", retain_bytes=1000)(given)
    run = JobRun(job, "r1", None)
    run.begin()
    await run.execute()
    assert (run.status, data_of(run)) == ("failed", ["error"])
    assert run.topic.log.bounds().ended


@pytest.mark.expect_error_log
async def test_an_event_that_no_log_could_hold_says_what_to_do(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    job = Server().job("j", retain_bytes=1000)(lambda: ps.from_iterable(["x" * 2000]))
    run = JobRun(job, "r1", None)
    run.begin()
    await run.execute()
    assert "raise retain or retain_bytes" in caplog.text


@pytest.mark.expect_error_log
async def test_cleanup_that_fails_is_told(autojump_clock: Clock) -> None:
    @ps.producer
    async def produced() -> AsyncIterator[int]:
        try:
            yield 0
            await trio.sleep_forever()
        finally:
            raise ValueError("the cleanup")

    run = JobRun(Server().job("j")(produced), "r1", None)
    run.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        await trio.sleep(1)
        run.cancel()
    assert (run.status, data_of(run)) == ("failed", [0, "error"])


async def test_it_waits_to_begin(autojump_clock: Clock) -> None:
    lab = Lab()
    run = lab.run()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        await trio.sleep(100)
        assert (lab.opened, run.status) == (0, "running")
        with run.expecting_reader(), run.expecting_reader():
            pass
        await run.over()
    check_over(lab, run)
    assert (run.status, lab.opened, data_of(run)) == ("cancelled", 0, [])


async def test_one_of_two_who_were_to_read_it_is_left(autojump_clock: Clock) -> None:
    lab = Lab()
    run = lab.run()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        with run.expecting_reader():
            with run.expecting_reader():
                pass
            await trio.testing.wait_all_tasks_blocked()
            assert not run.topic.log.bounds().ended
            run.begin()
        await run.over()
    assert run.status == "done"


async def test_a_shut_down_is_told_and_only_of_a_run_that_runs(autojump_clock: Clock) -> None:
    lab = Lab()
    run, done = lab.run(), lab.run()
    done.begin()
    await done.execute()
    run.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        await trio.sleep(2.5)
        run.shut_down()
        done.shut_down()
    check_over(lab, run)
    assert (run.status, data_of(run)) == ("cancelled", [0, 1, "error"])
    assert run.error is not None
    assert run.error["status"] == 503
    assert (done.status, done.error) == ("done", None)


async def test_the_end_comes_first(autojump_clock: Clock) -> None:
    """A run that is cancelled right when it is done, is done."""
    lab = Lab()
    run = lab.run()
    run.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        run.topic.log.watch(lambda: run.cancel() if run.status == "done" else None)
        await run.over()
    assert run.status == "done"


async def test_patience_for_those_who_were_told_to_come_back(autojump_clock: Clock) -> None:
    lab = Lab()
    run = lab.run()
    run.begin()
    leave = run.topic.audience.enter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        await trio.sleep(0.5)
        run.be_patient(2)
        leave()
        await trio.sleep(1)
        leave = run.topic.audience.enter()
        await trio.sleep(2)
        assert not run.topic.log.bounds().ended
        leave()
        left = trio.current_time()
        await run.over()
        assert trio.current_time() == left
    assert run.status == "cancelled"


async def test_a_reader_that_is_gone_at_once(autojump_clock: Clock) -> None:
    """Before anybody could look after it."""
    lab = Lab()
    run = lab.run()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.execute)
        await trio.testing.wait_all_tasks_blocked()
        run.begin()
        run.topic.audience.enter()()
        with trio.fail_after(EVENTS - 1):
            await run.over()
    check_over(lab, run)
    assert run.status == "cancelled"


async def test_what_is_kept_of_a_finished_run_is_its_log(autojump_clock: Clock) -> None:
    class Body:
        """Something of the request's."""

    body = Body()
    job = Server().job("j")(lambda body: ps.from_iterable([1]).map(lambda _: str(body)))
    run = JobRun(job, "r1", body)
    seen = weakref.ref(body)
    del body
    run.begin()
    await run.execute()
    gc.collect()
    assert seen() is None
    assert run.topic.log.bounds().last == 1


async def test_a_forgotten_run_lets_go_of_its_events_unless_it_is_read() -> None:
    job = Server().job("j")(lambda: ps.from_iterable(["x" * 1000] * 20))
    run = JobRun(job, "r1", None)
    run.begin()
    await run.execute()
    assert run.size > 40_000
    leave = run.topic.audience.enter()
    run.let_go()
    assert run.topic.log.bounds().first == 1
    leave()
    run.let_go()
    assert run.topic.log.bounds().first == 20


# The sweep


class CancelAtStep(trio.abc.Instrument):
    """Cancels before the n-th step that any task takes."""

    def __init__(self, step: int, how: str) -> None:
        self._left = step
        self._how = how
        self.run: JobRun | None = None
        self.scope = trio.CancelScope()

    @property
    def fired(self) -> bool:
        return self._left <= 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.run is not None:
            self._left -= 1
            if not self._left:
                if self._how == "from outside":
                    self.scope.cancel("the sweep is at this step")
                else:
                    getattr(self.run, self._how)()


async def run_and_cancel(instrument: CancelAtStep, lab: Lab) -> JobRun:
    """Run a job beside a reader that comes and goes; the run, which is over."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    run = lab.run()
    with instrument.scope:
        async with trio.open_nursery() as nursery:
            instrument.run = run
            nursery.start_soon(run.execute)
            with run.expecting_reader():
                await trio.lowlevel.checkpoint()
                run.begin()
            leave = run.topic.audience.enter()
            await trio.sleep(2.5)
            leave()
            await run.over()
    instrument.run = None
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    check_over(lab, run)
    return run


def runs_of(how: str, **options: Any) -> Iterator[tuple[JobRun, bool]]:
    """The run cancelled at each step; last, the one that was over before its step came."""
    for step in count(1):
        assert step < 1000, "it never gets through"
        instrument = CancelAtStep(step, how)
        lab = Lab(**options)
        clock = Clock(autojump_threshold=0)
        run = trio.run(run_and_cancel, instrument, lab, clock=clock, instruments=[instrument])
        yield run, instrument.fired
        if not instrument.fired:
            return


@pytest.mark.parametrize("how", ["from outside", "cancel", "shut_down"])
@pytest.mark.parametrize("slow", ["block", "skip"])
def test_cancelled_at_any_step_nothing_is_left_behind(how: str, slow: str) -> None:
    *cancelled, (last, fired) = runs_of(how, slow=slow, detach=10)
    assert (last.status, fired) == ("done", False)
    assert len(cancelled) > 20
    seen = {run.status for run, _ in cancelled}
    assert seen <= {"cancelled", "done"}
    for run, _ in cancelled:
        data = data_of(run)
        told = data[-1:] == ["error"]
        assert told == (how == "shut_down" and run.status == "cancelled")
        assert data[: len(data) - told] == list(range(len(data) - told))
