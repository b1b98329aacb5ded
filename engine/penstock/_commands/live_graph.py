"""The pipelines of a running server, from what its ``/stats`` says to graphs with figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, cast

import msgspec

from penstock._graph import Graph, GraphEdge, GraphNode
from penstock._stats import BufferStats, RunStats, StageStats

from .table import notes, rate_text


class NoStats(Exception):
    """What isn't the ``/stats`` of a penstock server."""


@dataclass(frozen=True, slots=True)
class LivePipeline:
    """The pipeline of a topic: its state in words, and its run, where it has one."""

    topic: str
    state: str
    stats: RunStats | None


def pipelines_in(stats: object) -> list[LivePipeline]:
    """The pipelines that a server's ``/stats`` has, in its order.

    Counts that it doesn't know (an older server's) are 0. Raises `NoStats`.
    """
    try:
        return [_pipeline(*each) for each in cast("Any", stats)["pipelines"].items()]
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # of msgspec, too
        raise NoStats from error


def _pipeline(topic: str, given: dict[str, Any]) -> LivePipeline:
    restarts = given["restarts"]
    state = given["state"] + (f", {restarts:,} restarts" if restarts else "")
    if given["last_error"]:
        state += f", last error: {given['last_error']}"
    if "stages" not in given:
        return LivePipeline(topic, state, None)
    run = RunStats(
        seconds=given["seconds"],
        outcome=given["outcome"],
        stages=tuple(_known(each, StageStats) for each in given["stages"]),
        buffers=tuple(_known(each, BufferStats) for each in given["buffers"]),
        bottleneck=given["bottleneck"],
    )
    return LivePipeline(topic, state, run)


def _known(given: dict[str, Any], kind: type[Any]) -> Any:
    names = {each.name for each in fields(kind)}
    known = {name: given.get(name, 0) for name in names}
    if "where" in names:
        known["where"] = None
    return msgspec.convert(known, kind)


def as_graph(now: RunStats, before: RunStats | None = None) -> Graph:
    """A run as a graph with rates, fills and the bottleneck.

    Rates are those since ``before``, an earlier state of the same run, and else its own.
    """
    first = min((stage.task for stage in now.stages), default=0)  # a server's is 1
    numbers = {stage.name: number for number, stage in enumerate(now.stages)}
    rates = _rates(now, before)
    nodes = tuple(
        GraphNode(
            stage.name,
            stage.task - first,
            None,
            ", ".join([f"{rate_text(rate)}/s", *notes(stage)]),
            stage.name == now.bottleneck,
        )
        for stage, rate in zip(now.stages, rates, strict=True)
    )
    return Graph(nodes, tuple(_edges(now, numbers)))


def _edges(now: RunStats, numbers: dict[str, int]) -> Iterator[GraphEdge]:
    for number, stage in enumerate(now.stages[1:]):
        if stage.task == now.stages[number].task:
            yield GraphEdge(number, number + 1, None, None)
    for buffer in now.buffers:
        for sender in buffer.after:
            if sender in numbers and buffer.before in numbers:
                source, target = numbers[sender], numbers[buffer.before]
                yield GraphEdge(source, target, buffer.capacity, None, buffer.held)


def _rates(now: RunStats, before: RunStats | None) -> list[float]:
    names = [stage.name for stage in now.stages]
    seconds = 0.0 if before is None else now.seconds - before.seconds
    if before is None or seconds <= 0 or [stage.name for stage in before.stages] != names:
        return [stage.rate for stage in now.stages]
    return [
        max(0.0, _moved(new) - _moved(old)) / seconds
        for new, old in zip(now.stages, before.stages, strict=True)
    ]


def _moved(stage: StageStats) -> int:
    """Items that got on: a sink gives none."""
    return stage.items_out or stage.absorbed
