"""All runs of a server: what is kept, for how long, within which bounds, and what is let go."""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock as Clock

import penstock as ps
from penstock_server import Limits, Server
from penstock_server.jobs import Job, JobNotRunning, JobRun, Jobs, TooManyJobs
from penstock_server.jobs.kept import Kept
from penstock_server.refusals import KeyReused
from penstock_server.stats import job_stats


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Jobs]:
    jobs = server.hub.jobs
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        yield jobs
        nursery.cancel_scope.cancel()


def begun(jobs: Jobs, job: Job[Any], body: object = None) -> JobRun:
    run = jobs.start(job, body)
    run.begin()
    return run


async def finished(jobs: Jobs, job: Job[Any], body: object = None) -> JobRun:
    run = begun(jobs, job, body)
    await run.over()
    return run


def quick(server: Server, name: str = "quick", size: int = 1, **options: Any) -> Job[Any]:
    return server.job(name, **options)(lambda body: ps.from_iterable(["x" * size]))


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


# For how long


async def test_each_job_keeps_its_runs_for_a_time_of_its_own(autojump_clock: Clock) -> None:
    server = Server()
    kept = [quick(server, f"keep{keep}", keep=keep) for keep in (0, 10, 30)]
    forever = quick(server, "forever", keep=float("inf"))
    async with running(server) as jobs:
        runs = [await finished(jobs, job) for job in (*kept, forever)]
        for moment, left in ((1, 3), (8, 3), (2, 2), (18, 2), (2, 1), (1e6, 1)):
            await trio.sleep(moment)
            there = [run for run in runs if jobs.find(run.job.name, run.id) is run]
            assert there == runs[-left:]


async def test_a_run_that_runs_is_never_forgotten(autojump_clock: Clock) -> None:
    server = Server()
    job = server.job("long", keep=1, detach=None)(lambda: ps.every(3600, 3))
    async with running(server) as jobs:
        run = begun(jobs, job)
        await trio.sleep(7100)
        assert jobs.find("long", run.id) is run
        await run.over()
        await trio.sleep(2)
        assert jobs.find("long", run.id) is None


# How much


async def test_past_the_bytes_the_oldest_go(autojump_clock: Clock) -> None:
    server = Server(limits=Limits(kept_jobs_bytes=1 << 20))
    big, small = quick(server, "big", 100_000), quick(server, "small", 10)
    async with running(server) as jobs:
        first = await finished(jobs, small)
        runs = [await finished(jobs, big) for _ in range(8)]
        await settled()
        assert jobs.find("small", first.id) is None
        kept = [run for run in runs if jobs.find("big", run.id) is not None]
        assert kept == runs[-5:]  # twice 100,000 bytes each, in JSON and in MessagePack


async def test_one_that_is_larger_than_the_room_is_kept_alone(autojump_clock: Clock) -> None:
    server = Server(limits=Limits(kept_jobs_bytes=1000))
    job = quick(server)
    async with running(server) as jobs:
        first, second = [await finished(jobs, job) for _ in range(2)]
        await settled()
        assert jobs.find("quick", first.id) is None
        assert jobs.find("quick", second.id) is second


async def test_small_events_count_for_what_they_really_take(autojump_clock: Clock) -> None:
    """A thousand numbers are two thousand bytes in a log, and two hundred thousand in Python."""
    server = Server()
    job = server.job("numbers")(lambda: ps.from_iterable([1] * 1000))
    async with running(server) as jobs:
        await finished(jobs, job)
        tracemalloc.start()
        run = await finished(jobs, job)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert run.size / 2 < taken < run.size * 2


async def test_what_is_forgotten_early_is_gone(autojump_clock: Clock) -> None:
    """Its time had not come; nothing may hold on to it until then."""
    server = Server(limits=Limits(kept_jobs_bytes=200_000))
    job = quick(server, "big", 50_000, keep=3600)
    async with running(server) as jobs:
        seen = [weakref.ref(await finished(jobs, job)) for _ in range(10)]
        await settled()
        gc.collect()
        assert [ref() is None for ref in seen] == [True] * 9 + [False]


async def test_short_runs_leave_nothing(autojump_clock: Clock) -> None:
    server = Server()
    job = quick(server, "quick", 1000, keep=0)
    async with running(server) as jobs:

        async def some(number: int) -> int:
            for _ in range(number):
                run = begun(jobs, job)
                jobs.remember(run, "", run.id, b"")
                await run.over()
                del run  # from Python 3.13 on this frame outlives the call for a while
            await trio.sleep(10)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start(1)
        before = await some(50)
        after = await some(150)
        tracemalloc.stop()
        assert after - before < 20_000
        assert not [each for each in gc.get_objects() if isinstance(each, JobRun)]
        assert jobs.counted["quick", "done"] == 200


async def test_statistics_are_cheap_however_much_is_kept(autojump_clock: Clock) -> None:
    server = Server()
    job, other = quick(server), quick(server, "other")
    slow = server.job("slow")(lambda: ps.every(1))
    async with running(server) as jobs:
        runs = [begun(jobs, job) for _ in range(100)]
        for run in runs:
            await run.over()
        last = [await finished(jobs, other) for _ in range(3)]
        now = begun(jobs, slow)
        await settled()
        stats = json.loads(json.dumps(job_stats(server.hub), allow_nan=False))
        assert (len(stats["quick"]["runs"]), stats["quick"]["done"]) == (50, 100)
        assert [each["id"] for each in stats["other"]["runs"]] == [run.id for run in last[::-1]]
        assert jobs.runs("slow", 5) == [now]
        assert stats["slow"]["runs"][0]["pipeline"]["outcome"] == "running"
        assert stats["other"]["runs"][0]["pipeline"]["outcome"] == "done"


async def test_ten_thousand_that_are_kept_are_not_looked_through() -> None:
    server = Server()
    jobs = [server.job(name, keep=keep) for name, keep in (("a", 1000), ("b", 5))]
    kept = Kept(1 << 30)
    runs = [JobRun(jobs[number % 2], str(number), None) for number in range(10_000)]
    for number, run in enumerate(runs):
        run.ended = float(number)
        assert kept.put(run) == []
    started = time.perf_counter()
    for _ in range(1000):
        assert next(kept.latest_of("a")) is runs[-2]
        assert kept.find("b", "9999") is runs[-1]
        assert kept.find("b", "0") is None
        assert kept.next_expiry() == 6
        assert kept.expire(5) == []
    assert time.perf_counter() - started < 0.5
    assert len(kept.expire(9999)) == 4997 + 4500
    assert len(kept) == 503


# How many


async def test_as_many_as_may_run(autojump_clock: Clock) -> None:
    server = Server(limits=Limits(max_jobs_running=3))
    two = server.job("two", max_running=2)(lambda: ps.every(1))
    other = server.job("other")(lambda: ps.every(1))
    async with running(server) as jobs:
        first, _ = begun(jobs, two), begun(jobs, two)
        with pytest.raises(TooManyJobs, match="the job two runs 2 times already"):
            jobs.start(two, None)
        begun(jobs, other)
        with pytest.raises(TooManyJobs, match="3 jobs are running already"):
            jobs.start(other, None)
        first.cancel()
        await first.over()
        await settled()
        assert (jobs.running, jobs.running_of("two")) == (2, 1)
        begun(jobs, other)
    assert jobs.running == 0


async def test_the_runs_that_run_come_first(autojump_clock: Clock) -> None:
    server = Server()
    job = server.job("j")(lambda body: ps.every(1, body))
    async with running(server) as jobs:
        long = [begun(jobs, job, 100) for _ in range(2)]
        short = [await finished(jobs, job, 1) for _ in range(3)]
        await settled()
        assert jobs.runs("j", 9) == [*long[::-1], *short[::-1]]
        assert jobs.runs("j", 3) == [*long[::-1], short[2]]


# Keys


async def test_a_key_leads_to_its_run_as_long_as_that_is_there(autojump_clock: Clock) -> None:
    server = Server()
    job = quick(server, keep=10)
    async with running(server) as jobs:
        run = begun(jobs, job)
        jobs.remember(run, "me", "k", b"1")
        assert jobs.repeated("quick", "me", "k", b"1") is run
        assert jobs.repeated("quick", "you", "k", b"1") is None
        assert jobs.repeated("slow", "me", "k", b"1") is None
        with pytest.raises(KeyReused):
            jobs.repeated("quick", "me", "k", b"2")
        await trio.sleep(11)
        assert jobs.repeated("quick", "me", "k", b"2") is None


# The end


async def test_no_job_starts_before_or_after(autojump_clock: Clock) -> None:
    server = Server()
    job = quick(server)
    jobs = server.hub.jobs
    with pytest.raises(JobNotRunning, match="starting or going away"):
        jobs.start(job, None)
    async with running(server):
        await finished(jobs, job)
        await jobs.stop(10)
        with pytest.raises(JobNotRunning):
            jobs.start(job, None)
    with pytest.raises(JobNotRunning):
        jobs.start(job, None)


async def test_stopping_takes_no_longer_than_the_runs(autojump_clock: Clock) -> None:
    server = Server()
    job = server.job("j", detach=None)(lambda body: ps.every(1, body))
    async with running(server) as jobs:
        runs = [begun(jobs, job, 3), begun(jobs, job, 5)]
        before = trio.current_time()
        await jobs.stop(100)
        assert trio.current_time() - before == pytest.approx(4)
        assert [run.status for run in runs] == ["done", "done"]


async def test_stopping_cancels_what_does_not_end(autojump_clock: Clock) -> None:
    server = Server()

    @ps.producer
    async def stubborn() -> AsyncIterator[int]:
        try:
            await trio.sleep_forever()
            yield 0
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1000)

    job = server.job("j", detach=None)(lambda: ps.every(1))
    late = server.job("late", detach=None)(stubborn)
    async with running(server) as jobs:
        run, worse, unread = begun(jobs, job), begun(jobs, late), jobs.start(job, None)
        await settled()
        before = trio.current_time()
        await jobs.stop(8)
        assert trio.current_time() - before == pytest.approx(8)
        assert [run.ended - before, unread.ended - before] == pytest.approx([6, 6])
        assert run.error is not None
        assert run.error["title"] == "Server Shutting Down"
        assert worse.status == "running"
        await worse.over()
        assert jobs.running == 0


async def test_a_server_that_is_cut_off_cancels_its_runs(autojump_clock: Clock) -> None:
    server = Server()
    closed: list[int] = []

    @ps.producer
    async def produced() -> AsyncIterator[int]:
        try:
            await trio.sleep_forever()
            yield 0
        finally:
            closed.append(1)

    job = server.job("j", detach=None)(produced)
    async with running(server) as jobs:
        run = begun(jobs, job)
        await settled()
    assert (run.status, closed, jobs.running) == ("cancelled", [1], 0)
    assert jobs.counted["j", "cancelled"] == 1
