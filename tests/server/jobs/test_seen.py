"""What is to be seen of jobs: ``/stats``, ``/metrics``, the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock as Clock

from penstock.cli import main

from .bench import NDJSON, Bench, lines, refused, settled


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench().serving() as bench:
        yield bench


async def stats(bench: Bench) -> Any:
    _, body = await bench.driver.fetch("GET", "/stats", {"accept": "application/json"})
    return msgspec.json.decode(body)["jobs"]


async def test_statistics(autojump_clock: Clock, bench: Bench) -> None:
    cancelled = await bench.start("count", {"to": 9, "each": 1})
    await bench.driver.fetch("DELETE", cancelled)
    await bench.start("count", {"to": 2})
    await settled()
    async with bench.post("count", {"to": 9, "each": 3}, NDJSON) as response:
        path = response.headers["location"]
        assert (await response.lines())[0]["type"] == "subscribed"
        assert (await response.lines())[0]["data"] == 0
        seen = await stats(bench)
        run = bench.run_at(path)
    assert set(seen) == {"count", "far", "echo", "hello", "fail"}
    count = seen["count"]
    named = ("running", "max_running", "started", "done", "failed", "cancelled")
    assert [count[each] for each in named] == [1, 100, 3, 1, 0, 1]
    now, done, _ = count["runs"]
    pipeline = now.pop("pipeline")
    assert now == {
        "id": run.id,
        "status": "running",
        "seconds": 3,
        "cursor": str(run.topic.cursor),
        "events": 1,
        "readers": 1,
        "error": None,
    }
    assert (pipeline["outcome"], pipeline["stages"][0]["items_out"]) == ("running", 1)
    assert {"seconds", "bottleneck", "buffers"} <= set(pipeline)
    assert (done["status"], done["pipeline"]["outcome"]) == ("done", "done")
    assert seen["hello"]["runs"] == []


@pytest.mark.expect_error_log
async def test_a_failed_run_in_the_statistics(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.post("fail", None, NDJSON) as response:
        await lines(response)
    (failed,) = (await stats(bench))["fail"]["runs"]
    assert (failed["status"], failed["seconds"]) == ("failed", 2)
    assert failed["error"] == "The job failed; the server's log has the error."
    assert failed["pipeline"]["outcome"] == "failed"


async def test_metrics(autojump_clock: Clock, bench: Bench) -> None:
    running = await bench.start("count", {"to": 9, "each": 1})
    cancelled = await bench.start("count", {"to": 9, "each": 1})
    await bench.driver.fetch("DELETE", cancelled)
    await bench.start("count", {"to": 2})
    await settled()
    _, text = await bench.driver.fetch("GET", "/metrics")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.labels.get("job") == "count"
    }
    assert found == {
        ("penstock_jobs_running", "count"): 1,
        ("penstock_jobs_max_running", "count"): 100,
        ("penstock_jobs_started_total", "count"): 3,
        ("penstock_jobs_ended_total", "count", "done"): 1,
        ("penstock_jobs_ended_total", "count", "failed"): 0,
        ("penstock_jobs_ended_total", "count", "cancelled"): 1,
    }
    # An id is a secret of who was given it.
    assert running.rpartition("/")[2] not in text.decode()


async def test_runs_are_no_topics(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("count", {"to": 2})
    _, _, job, id_ = path.split("/")
    await refused(bench, 404, "GET", f"/topics/{job}.{id_}")
    _, body = await bench.driver.fetch("GET", "/topics")
    assert msgspec.json.decode(body)["topics"] == []
    _, body = await bench.driver.fetch("GET", "/asyncapi.json")
    assert id_ not in body.decode()
    response, body = await bench.driver.fetch("GET", "/health/ready")
    assert (response.status, msgspec.json.decode(body)["status"]) == (200, "ready")


CONFIG = """
from penstock import every
from penstock_server import Server

server = Server()


@server.topic("ticks")
def ticks():
    return every(1)


@server.job("whole")
def whole(body):
    return every(body)
"""


def test_the_check_finds_a_job_without_a_function(tmp_path: Path) -> None:
    path = tmp_path / "jobs_to_check.py"
    path.write_text(CONFIG)
    result = CliRunner().invoke(main, ["check", str(path)])
    assert (result.exit_code, "whole" in result.output) == (0, False)
    path = tmp_path / "jobs_to_refuse.py"
    path.write_text(CONFIG + "\nempty = server.job('empty')\n")
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 1
    assert "job 'empty': has no function; decorate" in result.output
    assert f"{path.name}:17" in result.output
