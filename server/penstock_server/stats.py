"""What ``GET /topics`` and ``GET /stats`` say: plain values that JSON holds, all of them finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import islice
from math import ceil
from typing import Any

import trio

import penstock as ps

from .connections import Connection
from .counters import Histogram
from .hub import Hub
from .jobs import JobRun
from .process import process_stats


def topic_list(hub: Hub) -> list[dict[str, Any]]:
    """Every topic: name, cursor, retained events, subscribers, publishable, schema."""
    topics: list[dict[str, Any]] = []
    for topic in hub.topics.values():
        bounds = topic.log.bounds()
        topics.append(
            {
                "name": topic.name,
                "cursor": str(topic.cursor),
                "retained": bounds.last - bounds.first + 1,
                "subscribers": len(topic.audience),
                "publishable": topic.publishable,
                "schema": topic.schema,
            }
        )
    return topics


def template_list(hub: Hub) -> list[dict[str, Any]]:
    """Every template: its name with the parts in braces, how many topics of it there are."""
    return [
        {
            "name": template.name,
            "instances": len(template.instances),
            "max_instances": template.options.max_instances,
            "publishable": template.publishable,
            "schema": template.schema,
        }
        for template in hub.catalogue.templates.values()
    ]


def server_stats(hub: Hub, most: int | None = None) -> dict[str, Any]:
    """The whole server: pipelines with every stage and buffer, topics, connections, counters, the
    event loop and the process. Times in seconds, sizes in bytes, lags of connections in events.

    Of topics there are `most` at the most, those declared first; ``topics_left_out`` is the rest.
    """
    lags = max_lags(hub)
    topics = dict(islice(hub.topics.items(), most))
    return {
        "title": hub.title,
        "version": ps.__version__,
        "uptime": round(uptime(hub), 3),
        "status": hub.status,
        "published": hub.published,
        "stored": _stored(hub),
        "pipelines": {name: _pipeline(hub, name) for name, topic in topics.items() if topic.source},
        "topics": {name: _topic(hub, name, lags.get(name, 0)) for name in topics},
        "topics_left_out": len(hub.topics) - len(topics),
        "jobs": job_stats(hub),
        "connections": _connections(hub),
        "counters": _counters(hub),
        "delivery_lag": _histogram(hub.counters.lag),
        "loop_delay": {
            **_histogram(hub.loop_delay.histogram),
            "recent": max(hub.loop_delay.recent, default=0.0),
        },
        "process": _process(),
    }


def topic_states(hub: Hub) -> dict[str, str]:
    """The state of each topic's pipeline, for load balancers: a template has one, ``restarting``
    where one of its topics is.
    """
    states: dict[str, str] = {}
    for name, supervisor in hub.supervisors.items():
        label = supervisor.topic.template or name
        if states.get(label) != "restarting":
            states[label] = supervisor.state
    return states


def uptime(hub: Hub) -> float:
    """Seconds since the server started; 0 where it does not run."""
    return trio.current_time() - hub.started if hub.running else 0.0


def max_lags(hub: Hub) -> dict[str, int]:
    """How many events the slowest reader of each topic is behind; topics that are read."""
    lags: dict[str, int] = {}
    for connection in hub.connections:
        for name, reader in connection.readers.items():
            lags[name] = max(lags.get(name, 0), reader.lag)
    return lags


def _pipeline(hub: Hub, name: str) -> dict[str, Any]:
    supervisor = hub.supervisors[name]
    stats = hub.run_stats(name)
    return {
        "state": supervisor.state,
        "restarts": supervisor.topic.restarts,
        "last_error": supervisor.last_error,
        **({} if stats is None else _run(stats)),
    }


_RUNS_SHOWN = 50
_OUTCOMES = ("started", "done", "failed", "cancelled")


def job_stats(hub: Hub) -> dict[str, Any]:
    """Every job: how many runs there were and are, and the latest of them."""
    jobs = hub.jobs
    return {
        name: {
            "running": jobs.running_of(name),
            "max_running": job.options.max_running,
            **{each: jobs.counted[name, each] for each in _OUTCOMES},
            "runs": [_job_run(run) for run in jobs.runs(name, _RUNS_SHOWN)],
        }
        for name, job in jobs.declared.items()
    }


def _job_run(run: JobRun) -> dict[str, Any]:
    pipeline = run.stats()
    return {
        "id": run.id,
        "status": run.status,
        "seconds": round(min(run.ended, trio.current_time()) - run.started, 3),
        "cursor": str(run.topic.cursor),
        "events": run.topic.log.bounds().last,
        "readers": len(run.topic.audience),
        "error": None if run.error is None else run.error["detail"],
        "pipeline": None if pipeline is None else _run(pipeline),
    }


# There may be hundreds of runs; `dataclasses.asdict` takes ten times as long.
_STAGE = [each.name for each in fields(ps.StageStats) if each.name != "where"]
_BUFFER = [each.name for each in fields(ps.BufferStats)]


def _run(stats: ps.RunStats) -> dict[str, Any]:
    stages = [
        {
            **{name: getattr(stage, name) for name in _STAGE},
            "task": stage.task + 1,  # as in the graph
            "where": None if stage.where is None else str(stage.where),
        }
        for stage in stats.stages
    ]
    return {
        "seconds": round(stats.seconds, 3),
        "outcome": stats.outcome,
        "bottleneck": stats.bottleneck,
        "stages": stages,
        "buffers": [{name: getattr(each, name) for name in _BUFFER} for each in stats.buffers],
    }


def _topic(hub: Hub, name: str, max_lag: int) -> dict[str, Any]:
    topic = hub.topics[name]
    bounds = topic.log.bounds()
    return {
        "cursor": str(topic.cursor),
        "first": bounds.first,
        "last": bounds.last,
        "bytes": bounds.size,
        "ended": bounds.ended,
        "subscribers": len(topic.audience),
        "max_lag": max_lag,
        "publishable": topic.publishable,
        "template": topic.template,
    }


def _stored(hub: Hub) -> int:
    """Events that came into the topics, by pipelines and publications, since the server started."""
    live = sum(topic.log.bounds().last for topic in hub.topics.values())
    return live + sum(hub.counters.retired_events.values())


def _connections(hub: Hub) -> dict[str, Any]:
    lags: dict[str, list[int]] = {}
    counted = [connection for connection in hub.connections if connection.is_traffic]
    for connection in counted:
        lags.setdefault(connection.transport, []).append(_lag(connection))
    return {
        "total": len(counted),
        "watching": len(hub.connections) - len(counted),
        "by_transport": {transport: len(each) for transport, each in lags.items()},
        "lag": {transport: _spread(sorted(each)) for transport, each in lags.items()},
    }


def _lag(connection: Connection) -> int:
    """How many events a connection is behind in the topic where it is worst."""
    return max((reader.lag for reader in connection.readers.values()), default=0)


def _spread(rising: Sequence[int]) -> dict[str, int]:
    """Percentiles (nearest rank) and the greatest of values that there are."""
    ranks = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    percentiles = {name: rising[ceil(rank * len(rising)) - 1] for name, rank in ranks.items()}
    return {**percentiles, "max": rising[-1]}


def _counters(hub: Hub) -> dict[str, Any]:
    counters = hub.counters
    return {
        "connected": dict(counters.connected),
        "disconnected": dict(counters.disconnected),
        "events_out": dict(counters.events_out),
        "bytes_out": dict(counters.bytes_out),
        "gaps": dict(counters.gaps),
        "conflated": counters.conflated,
        "skipped": counters.skipped,
        "stalls": counters.stalls,
        "refused": dict(counters.refused),
    }


def _histogram(seen: Histogram) -> dict[str, float]:
    """Percentiles are the bounds of buckets."""
    return {
        "count": seen.count,
        "p50": seen.quantile(0.5),
        "p99": seen.quantile(0.99),
        "max": seen.max,
    }


def _process() -> dict[str, Any]:
    now = process_stats()
    return {"rss": now.rss, "open_files": now.open_files, "cpu_seconds": round(now.cpu_seconds, 3)}
