"""Who is connected, what they were sent, and what went wrong on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from ..counters import TRANSPORTS
from ..hub import Hub
from .families import counted_by, counter, gauge, histogram


def delivery_families(hub: Hub) -> Iterator[Metric]:
    """Connections, events in and out, and every outcome that is not a delivery."""
    yield from _connections(hub)
    yield from _traffic(hub)
    yield from _outcomes(hub)


def _connections(hub: Hub) -> Iterator[Metric]:
    now = Counter[str](each.transport for each in hub.connections if each.is_traffic)
    yield gauge(
        "penstock_connections",
        "Clients that read right now.",
        ["transport"],
        (((transport,), now[transport]) for transport in TRANSPORTS),
    )
    counters = hub.counters
    yield counted_by(
        "penstock_connections_opened", "Clients that came.", "transport", counters.connected
    )
    yield counted_by(
        "penstock_disconnects",
        "Connections that the server closed.",
        "reason",
        counters.disconnected,
    )


def _traffic(hub: Hub) -> Iterator[Metric]:
    counters = hub.counters
    yield counter(
        "penstock_events_published",
        "Events that clients published and the server stored.",
        [],
        [((), hub.published)],
    )
    yield counted_by(
        "penstock_publications_refused",
        "Publications that were not stored.",
        "reason",
        counters.refused,
    )
    yield counted_by(
        "penstock_events_delivered", "Events sent to clients.", "transport", counters.events_out
    )
    yield counted_by(
        "penstock_delivered_bytes", "Bytes sent to clients.", "transport", counters.bytes_out
    )
    yield histogram(
        "penstock_delivery_lag_seconds",
        "Time from an event's append to the write of its bytes.",
        counters.lag,
    )


def _outcomes(hub: Hub) -> Iterator[Metric]:
    counters = hub.counters
    yield counted_by("penstock_gaps", "Gaps that readers were told of.", "reason", counters.gaps)
    yield counter(
        "penstock_events_conflated",
        "Events that a newer one of their key replaced.",
        [],
        [((), counters.conflated)],
    )
    yield counter(
        "penstock_events_skipped",
        "Events that slow readers missed, and were told of.",
        [],
        [((), counters.skipped)],
    )
    yield counter(
        "penstock_stalls",
        "Times that a peer took no byte while there was something to send.",
        [],
        [((), counters.stalls)],
    )
