"""The jobs: how many runs there are, and how those ended that there were."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from ..hub import Hub
from .families import counter, gauge

_OUTCOMES = ("done", "failed", "cancelled")


def job_families(hub: Hub) -> Iterator[Metric]:
    """Runs that run, and those that were started and have ended, of every job."""
    jobs = hub.jobs
    names = list(jobs.declared)
    yield gauge(
        "penstock_jobs_running",
        "Runs of the job right now.",
        ["job"],
        (((name,), jobs.running_of(name)) for name in names),
    )
    yield gauge(
        "penstock_jobs_max_running",
        "Runs of the job that there may be at a time.",
        ["job"],
        (((name,), job.options.max_running) for name, job in jobs.declared.items()),
    )
    yield counter(
        "penstock_jobs_started",
        "Runs of the job that were started.",
        ["job"],
        (((name,), jobs.counted[name, "started"]) for name in names),
    )
    yield counter(
        "penstock_jobs_ended",
        "Runs of the job that are over, by how they ended.",
        ["job", "outcome"],
        (((name, each), jobs.counted[name, each]) for name in names for each in _OUTCOMES),
    )
