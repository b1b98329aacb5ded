"""Jobs follow their file: the next run is of the new code, those that run go on."""

from __future__ import annotations

import builtins
from typing import Any

import msgspec
import trio
from trio.testing import MockClock as Clock

from penstock_server.jobs import JobRun
from penstock_server.log import Trimmed

from .test_reloader import Bench
from .test_reloader import bench as bench

CONFIG = """
    @server.topic("a")
    def a():
        return ps.every(1)

    @server.job("count", detach=None)
    def count(to):
        return ps.every(1, to).map(lambda n: ["old", n])
"""


def start(bench: Bench, job: str, body: object = None) -> JobRun:
    jobs = bench.server.hub.jobs
    run = jobs.start(jobs.declared[job], body)
    run.begin()
    return run


def data_of(run: JobRun) -> list[Any]:
    events = run.topic.log.read(0, 1000)
    assert not isinstance(events, Trimmed)
    return [msgspec.json.decode(each.json) for each in events]


async def test_the_next_run_is_of_the_new_code(autojump_clock: Clock, bench: Bench) -> None:
    bench.write(CONFIG)
    async with bench.running():
        before = start(bench, "count", 12)
        bench.edit('"old"', '"new"')
        await bench.settle("a unchanged (1 topic kept); from the next run on: job count")
        after = start(bench, "count", 2)
        await before.over()
        await after.over()
    assert data_of(before) == [["old", n] for n in range(12)]
    assert data_of(after) == [["new", n] for n in range(2)]


async def test_code_beside_the_file_counts_too(autojump_clock: Clock, bench: Bench) -> None:
    helpers = bench.folder / f"{bench.path.stem}_helpers.py"
    helpers.write_text("WORD = 'old'\n")
    bench.write(f"""
        from {helpers.stem} import WORD

        @server.job("say")
        def say():
            return ps.from_iterable([WORD])
    """)
    async with bench.running():
        first = start(bench, "say")
        await first.over()
        helpers.write_text("WORD = 'newer'\n")
        await bench.settle("nothing changed (0 topics kept); from the next run on: job say")
        second = start(bench, "say")
        await second.over()
    assert [data_of(first), data_of(second)] == [["old"], ["newer"]]


async def test_jobs_are_added_and_removed(autojump_clock: Clock, bench: Bench) -> None:
    bench.write(CONFIG)
    async with bench.running():
        run = start(bench, "count", 20)
        bench.edit('"count", detach=None', '"number", max_running=7')
        await bench.settle("a unchanged (1 topic kept); from the next run on: job number")
        jobs = bench.server.hub.jobs
        assert list(jobs.declared) == list(bench.server.jobs) == ["number"]
        assert jobs.declared["number"].options.max_running == 7
        other = start(bench, "number", 2)
        await run.over()
        await other.over()
        # Who knows where it is, can still read the run of a job that is no more.
        assert jobs.find("count", run.id) is run
        assert [run.status, other.status] == ["done", "done"]


async def test_options_and_the_type_of_the_body(autojump_clock: Clock, bench: Bench) -> None:
    bench.write("""
        @server.job("j", accepts=int, keep=100)
        def j(number):
            return ps.from_iterable([number])
    """)
    async with bench.running():
        run = start(bench, "j", 1)
        await run.over()
        bench.edit("accepts=int, keep=100", "accepts=str, keep=1")
        await bench.settle("nothing changed (0 topics kept); from the next run on: job j")
        job = bench.server.hub.jobs.declared["j"]
        assert job.schema == {"type": "string"}
        # What is kept of it is kept as long as is said now.
        other = start(bench, "j", "x")
        await other.over()
        await trio.sleep(2)
        assert bench.server.hub.jobs.find("j", run.id) is None


async def test_a_job_without_a_function_is_refused(autojump_clock: Clock, bench: Bench) -> None:
    bench.write(CONFIG)
    async with bench.running():
        text = bench.path.read_text()
        bench.path.write_text(f"{text}later = server.job('later')\n")
        await trio.sleep(4)
        assert "job 'later': has no function" in bench.said.pop(0)
        bench.path.write_text(f"{text}later = server.job('later')(lambda: ps.every(1, 1))\n")
        await bench.settle("a unchanged (1 topic kept); from the next run on: jobs count, later")
        run = start(bench, "later")
        await run.over()
        assert run.status == "done"


async def test_what_the_lifespan_opens_is_there_for_the_runs_of_each_load(
    autojump_clock: Clock, bench: Bench
) -> None:
    log: list[str] = []
    builtins.__dict__["reload_jobs_log"] = log
    bench.write("""
        import builtins
        pool = []

        @server.lifespan
        async def life():
            pool.append("open")
            yield
            builtins.reload_jobs_log.append("left")
            pool.clear()

        @server.job("j", detach=None)
        def j(to):
            return ps.every(1, to).map(lambda n: pool[0] + "1")
    """)
    said = "nothing changed (0 topics kept); from the next run on: job j"
    try:
        async with bench.running():
            for number in (2, 3, 4):
                bench.edit(f'"{number - 1}"', f'"{number}"')
                await bench.settle(said)
                run = start(bench, "j", 6)
                if number == 3:
                    long = start(bench, "j", 30)
                    # The second load's was left with its last run.
                    assert log == []
            await run.over()
            assert data_of(run) == ["open4"] * 6
            assert log == ["left"]
            assert not long.topic.log.bounds().ended
            await long.over()
            assert data_of(long) == ["open3"] * 30
            await trio.sleep(1)
            assert log == ["left", "left"]
    finally:
        del builtins.__dict__["reload_jobs_log"]
    assert len(log) == 4
