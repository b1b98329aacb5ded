"""The logs: what was appended, what is kept, who reads and how far behind.

A template stands for all of its topics, so that the number of labels is that of the declarations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import Metric

from ..hub import Hub
from ..stats import max_lags
from ..topics import Topic
from .families import counter, gauge


@dataclass
class _Sum:
    """All topics of one label, added up."""

    appended: int = 0
    retained: int = 0
    size: int = 0
    subscribers: int = 0
    lag: int = 0
    instances: int = 0


def label_of(topic: Topic[Any]) -> str:
    """What a topic is called in the metrics: its name, or its template's."""
    return topic.name if topic.template is None else topic.template


def topic_families(hub: Hub) -> Iterator[Metric]:
    """Events and bytes of the logs, and their readers."""
    sums = _sums(hub)
    yield counter(
        "penstock_topic_events",
        "Events appended to the topic's log.",
        ["topic"],
        (((label,), each.appended) for label, each in sums.items()),
    )
    yield gauge(
        "penstock_topic_retained_events",
        "Events that the log holds.",
        ["topic"],
        (((label,), each.retained) for label, each in sums.items()),
    )
    yield gauge(
        "penstock_topic_retained_bytes",
        "Bytes that the log holds.",
        ["topic"],
        (((label,), each.size) for label, each in sums.items()),
    )
    yield gauge(
        "penstock_topic_subscribers",
        "Connections that read the topic.",
        ["topic"],
        (((label,), each.subscribers) for label, each in sums.items()),
    )
    yield gauge(
        "penstock_topic_max_lag_events",
        "Events that the slowest reader is behind.",
        ["topic"],
        (((label,), each.lag) for label, each in sums.items()),
    )
    yield gauge(
        "penstock_topic_instances",
        "Topics that there are of this declaration: more than 1 only for a template.",
        ["topic"],
        (((label,), each.instances) for label, each in sums.items()),
    )


def _sums(hub: Hub) -> dict[str, _Sum]:
    lags = max_lags(hub)
    sums = {template: _Sum() for template in hub.catalogue.templates}
    for template, events in hub.counters.retired_events.items():
        sums[template] = _Sum(appended=events)
    for topic in hub.topics.values():
        each = sums.setdefault(label_of(topic), _Sum())
        bounds = topic.log.bounds()
        each.appended += bounds.last
        each.retained += bounds.last - bounds.first + 1
        each.size += bounds.size
        each.subscribers += len(topic.audience)
        each.lag = max(each.lag, lags.get(topic.name, 0))
        each.instances += 1
    return sums
