"""The pipelines: their states and restarts, every stage, every buffer.

Stages and buffers count from the start of a run: a restart begins anew at 0, which Prometheus takes
for the reset that it is. The topics of a template come and go, so only their states and restarts
are given, added up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar, get_args

from prometheus_client.core import Metric

import penstock as ps

from ..hub import Hub
from ..supervisor import State
from .families import Row, counter, gauge
from .topics import label_of

S = TypeVar("S", ps.StageStats, ps.BufferStats)

_STATES: tuple[str, ...] = tuple(state for state in get_args(State) if state != "open")


_LOSSES: tuple[tuple[str, str, Callable[[ps.StageStats], float]], ...] = (
    ("retries", "Calls made again after a failure.", lambda s: s.retried),
    ("dead_letters", "Items sent to the sink for those that failed.", lambda s: s.dead_lettered),
    ("late_items", "Items that came too late for their window.", lambda s: s.late),
    ("dropped_items", "Items thrown away by a policy.", lambda s: s.dropped),
    ("evicted_keys", "Keys let go of to keep within bounds.", lambda s: s.evicted),
)


def pipeline_families(hub: Hub) -> Iterator[Metric]:
    """States, restarts, stages and buffers of every topic that has a pipeline."""
    yield from _states(hub)
    runs = _runs(hub)
    yield from _stages([(topic, stage) for topic, run in runs for stage in run.stages])
    yield from _buffers([(topic, buffer) for topic, run in runs for buffer in run.buffers])


def _states(hub: Hub) -> Iterator[Metric]:
    states: dict[str, Counter[str]] = {}
    restarts = Counter[str](hub.counters.retired_restarts)
    for supervisor in hub.supervisors.values():
        if supervisor.topic.source is not None:
            label = label_of(supervisor.topic)
            states.setdefault(label, Counter())[supervisor.state] += 1
            restarts[label] += supervisor.topic.restarts
    yield gauge(
        "penstock_pipeline_state",
        "How many of the topic's pipelines are in this state: 1 or 0, but for a template.",
        ["topic", "state"],
        (((label, state), counts[state]) for label, counts in states.items() for state in _STATES),
    )
    yield counter(
        "penstock_pipeline_restarts",
        "Failures after which the pipeline was started again.",
        ["topic"],
        (((label,), count) for label, count in restarts.items()),
    )


def _runs(hub: Hub) -> list[tuple[str, ps.RunStats]]:
    """The run of each topic that is no template's."""
    return [
        (name, stats)
        for name, supervisor in hub.supervisors.items()
        if label_of(supervisor.topic) == name and (stats := hub.run_stats(name)) is not None
    ]


def _stages(stages: list[tuple[str, ps.StageStats]]) -> Iterator[Metric]:
    def rows(value: Callable[[ps.StageStats], float]) -> Iterator[Row]:
        return (((topic, stage.name), value(stage)) for topic, stage in stages)

    labels = ["topic", "stage"]
    yield counter(
        "penstock_stage_items_in", "Items sent to it.", labels, rows(lambda s: s.items_in)
    )
    yield counter(
        "penstock_stage_items_out", "Items given on.", labels, rows(lambda s: s.items_out)
    )
    yield counter(
        "penstock_stage_errors", "Failures of the function.", labels, rows(lambda s: s.errors)
    )
    yield counter(
        "penstock_stage_skipped_items",
        "Items left out because they failed.",
        labels,
        rows(lambda s: s.skipped),
    )
    for name, what, value in _LOSSES:
        yield counter(f"penstock_stage_{name}", what, labels, rows(value))
    yield gauge(
        "penstock_stage_held_items",
        "Items in front of it and in its hands right now.",
        labels,
        rows(lambda s: s.held),
    )
    yield counter(
        "penstock_stage_busy_seconds", "Time spent working.", labels, rows(lambda s: s.busy)
    )
    yield counter(
        "penstock_stage_held_the_loop",
        "Times that it kept all other tasks waiting for over 0.1 s.",
        labels,
        rows(lambda s: s.held_the_loop),
    )


def _buffers(buffers: list[tuple[str, ps.BufferStats]]) -> Iterator[Metric]:
    def rows(value: Callable[[ps.BufferStats], float]) -> Iterator[Row]:
        return (((topic, buffer.before), value(buffer)) for topic, buffer in buffers)

    labels = ["topic", "before"]
    yield gauge("penstock_buffer_items", "Items in it right now.", labels, rows(lambda b: b.held))
    yield gauge(
        "penstock_buffer_capacity_items", "Items it can hold.", labels, rows(lambda b: b.capacity)
    )
    yield gauge(
        "penstock_buffer_peak_items", "The most it has held.", labels, rows(lambda b: b.peak)
    )
    yield counter(
        "penstock_buffer_dropped_items",
        "Items thrown away by its overflow policy.",
        labels,
        rows(lambda b: b.dropped),
    )
    yield counter(
        "penstock_buffer_send_wait_seconds",
        "Time that the stages before it waited for room.",
        labels,
        rows(lambda b: b.send_wait),
    )
    yield counter(
        "penstock_buffer_receive_wait_seconds",
        "Time that the stage behind it waited for items.",
        labels,
        rows(lambda b: b.receive_wait),
    )
