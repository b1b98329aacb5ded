"""The server as a whole: its version and state, the event loop, the process.

The process's names are those that every Prometheus client uses, so that dashboards find them.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator

import trio
from prometheus_client.core import Metric

import penstock as ps

from ..hub import Hub
from ..process import process_stats
from ..stats import uptime
from .families import counter, gauge, histogram

_STATES = ("starting", "ready", "draining")


def process_families(hub: Hub) -> Iterator[Metric]:
    """Build, state, uptime, loop delay, memory, descriptors and processor time."""
    yield from _server(hub)
    yield histogram(
        "penstock_event_loop_delay_seconds",
        "How late the event loop woke a task whose time had come.",
        hub.loop_delay.histogram,
    )
    yield from _process()


def _server(hub: Hub) -> Iterator[Metric]:
    versions = {
        "version": ps.__version__,
        "python_version": platform.python_version(),
        "trio_version": trio.__version__,
    }
    yield gauge(
        "penstock_build_info",
        "What runs here; always 1.",
        versions,
        [(tuple(versions.values()), 1)],
    )
    yield gauge(
        "penstock_server_state",
        "1 for the state that the server is in.",
        ["state"],
        (((state,), state == hub.status) for state in _STATES),
    )
    yield gauge(
        "penstock_uptime_seconds", "Time since the server started.", [], [((), uptime(hub))]
    )


def _process() -> Iterator[Metric]:
    now = process_stats()
    yield gauge(
        "process_resident_memory_bytes", "Resident memory size in bytes.", [], [((), now.rss)]
    )
    yield gauge("process_open_fds", "Number of open file descriptors.", [], [((), now.open_files)])
    yield counter(
        "process_cpu_seconds",
        "Total user and system CPU time spent in seconds.",
        [],
        [((), now.cpu_seconds)],
    )
    yield gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        [],
        [((), now.started)],
    )
