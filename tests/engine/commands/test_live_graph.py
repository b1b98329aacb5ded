"""From a server's ``/stats`` to graphs with figures."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

import penstock as ps
from penstock._commands.live_graph import NoStats, as_graph, pipelines_in


@pytest.fixture
async def run() -> ps.RunStats:
    pipeline = (
        ps.from_iterable(range(40))
        .map(lambda n: 1 // (n % 4), errors="skip")
        .buffer(8)
        .map_async(_same, 2)
        .to(ps.count())
    )
    async with pipeline.open() as run:
        await run.result()
    return replace(run.stats(), outcome="running", bottleneck="map_async(_same)")


async def _same(item: int) -> int:
    return item


def as_served(run: ps.RunStats, **changes: Any) -> dict[str, Any]:
    given = {"state": "running", "restarts": 0, "last_error": None, **asdict(run), **changes}
    for stage in given["stages"]:
        stage["where"] = "pipelines.py:3"
    return {"title": "Works", "pipelines": {"level": given}}


async def test_a_pipeline_is_read_as_it_was_written(run: ps.RunStats) -> None:
    (level,) = pipelines_in(as_served(run))
    assert (level.topic, level.state) == ("level", "running")
    assert level.stats is not None
    assert [replace(each, where=None) for each in run.stages] == list(level.stats.stages)
    assert level.stats.buffers == run.buffers
    assert (level.stats.bottleneck, level.stats.seconds) == (run.bottleneck, run.seconds)


async def test_a_state_tells_of_restarts_and_why(run: ps.RunStats) -> None:
    served = as_served(run, state="restarting", restarts=3, last_error="no")
    assert pipelines_in(served)[0].state == "restarting, 3 restarts, last error: no"


async def test_one_that_never_ran_has_no_run() -> None:
    waiting = {"state": "waiting", "restarts": 0, "last_error": None}
    (level,) = pipelines_in({"pipelines": {"level": waiting}})
    assert (level.state, level.stats) == ("waiting", None)


async def test_another_version_may_have_other_fields(run: ps.RunStats) -> None:
    served = as_served(run)
    for stage in served["pipelines"]["level"]["stages"]:
        del stage["held_the_loop"]
        stage["colour"] = "blue"
    (level,) = pipelines_in(served)
    assert level.stats is not None
    assert [stage.held_the_loop for stage in level.stats.stages] == [0] * 5


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "stats",
        {},
        {"pipelines": []},
        {"pipelines": {"a": 1}},
        {"pipelines": {"a": {}}},
        {"pipelines": {"a": {"state": 1, "restarts": "many", "last_error": None}}},
        {
            "pipelines": {
                "a": {
                    "state": "running",
                    "restarts": 0,
                    "last_error": None,
                    "seconds": 1,
                    "outcome": "running",
                    "bottleneck": None,
                    "buffers": [],
                    "stages": [{"name": 7}],
                }
            }
        },
    ],
)
def test_what_is_no_stats_is_refused(given: object) -> None:
    with pytest.raises(NoStats):
        pipelines_in(given)


async def test_the_graph_has_rates_fills_and_the_bottleneck(run: ps.RunStats) -> None:
    held = replace(run, buffers=tuple(replace(each, held=5) for each in run.buffers))
    later = replace(
        held,
        seconds=run.seconds + 2,
        stages=tuple(
            replace(stage, items_out=stage.items_out and stage.items_out + 30, absorbed=60)
            for stage in run.stages
        ),
    )
    graph = as_graph(later, held)
    assert graph.text("level") == (
        "level\n"
        "task 1: from_iterable (15/s) → map(<lambda>) (15/s, 10 skipped) ⇒ 5 of 8 ⇒ task 2\n"
        "task 2: buffer (15/s) → map_async(_same) (15/s) ◀ bottleneck → count (15/s)\n"
    )
    assert 'n1 -->|"5 of 8"| n2' in graph.mermaid()
    assert 'n3["map_async(_same)<br/>15/s"]:::bottleneck' in graph.mermaid()
    assert graph.mermaid().count("classDef bottleneck ") == 1
    dot = graph.dot()
    assert 'n3 [label="map_async(_same)\\n15/s", style=filled, fillcolor="#f6c344"];' in dot
    assert 'n1 -> n2 [label="5 of 8"];' in dot


async def test_after_a_restart_rates_are_those_that_the_run_has_itself(run: ps.RunStats) -> None:
    before = replace(run, seconds=run.seconds + 100)
    notes = [node.note for node in as_graph(run, before).nodes]
    assert notes == [node.note for node in as_graph(run).nodes]
    assert all("/s" in note for note in notes)
