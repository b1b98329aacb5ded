"""What ``GET /topics`` and ``GET /stats`` say."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import trio

import penstock as ps

from .hub import Hub


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
                "subscribers": len(topic.readers),
                "publishable": topic.publishable,
                "schema": topic.schema,
            }
        )
    return topics


def server_stats(hub: Hub) -> dict[str, Any]:
    """The whole server: pipelines with every stage and buffer, topics, connections."""
    return {
        "uptime": round(trio.current_time() - hub.started, 3),
        "status": hub.status,
        "published": hub.published,
        "pipelines": {
            name: _pipeline(hub, name) for name, topic in hub.topics.items() if topic.source
        },
        "topics": {name: _topic(hub, name) for name in hub.topics},
        "connections": _connections(hub),
    }


def _pipeline(hub: Hub, name: str) -> dict[str, Any]:
    supervisor = hub.supervisors[name]
    stats = hub.run_stats(name)
    return {
        "state": supervisor.state,
        "restarts": supervisor.topic.restarts,
        "last_error": supervisor.last_error,
        **({} if stats is None else _run(stats)),
    }


def _run(stats: ps.RunStats) -> dict[str, Any]:
    stages = [
        {**asdict(stage), "where": None if stage.where is None else str(stage.where)}
        for stage in stats.stages
    ]
    return {
        "seconds": round(stats.seconds, 3),
        "bottleneck": stats.bottleneck,
        "stages": stages,
        "buffers": [asdict(buffer) for buffer in stats.buffers],
    }


def _topic(hub: Hub, name: str) -> dict[str, Any]:
    topic = hub.topics[name]
    bounds = topic.log.bounds()
    lags = [
        connection.readers[name].lag for connection in hub.connections if name in connection.readers
    ]
    return {
        "cursor": str(topic.cursor),
        "first": bounds.first,
        "last": bounds.last,
        "bytes": bounds.size,
        "ended": bounds.ended,
        "subscribers": len(topic.readers),
        "max_lag": max(lags, default=0),
    }


def _connections(hub: Hub) -> dict[str, Any]:
    by_transport = Counter(connection.transport for connection in hub.connections)
    return {"total": len(hub.connections), "by_transport": dict(by_transport)}
