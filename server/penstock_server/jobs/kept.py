"""Finished runs, each kept for its job's time, as long as there is room for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from .run import JobRun


class Kept:
    """Finished runs. Whoever it gives back is kept no longer.

    All runs of one job are kept equally long, so that the one that ended first is the next to go.

    Args:
        most_bytes: the most that all of them may take; the newest is kept in any case.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._size = 0
        self._sizes: dict[JobRun, int] = {}  # this and those below: in the order they ended
        self._jobs: dict[str, dict[str, JobRun]] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def put(self, run: JobRun) -> list[JobRun]:
        """Keep a run that has just ended; gives those for which there is no room any more."""
        self._sizes[run] = run.size
        self._size += self._sizes[run]
        self._jobs.setdefault(run.job.name, {})[run.id] = run
        gone: list[JobRun] = []
        while self._size > self._most_bytes and len(self._sizes) > 1:
            gone.append(self._take(next(iter(self._sizes))))
        return gone

    def find(self, job: str, id: str) -> JobRun | None:  # noqa: A002 - its name in the protocol
        """The run of that job with that id; None where it isn't kept."""
        return self._jobs.get(job, {}).get(id)

    def latest_of(self, job: str) -> Iterator[JobRun]:
        """The runs of a job, the latest first."""
        return reversed(self._jobs.get(job, {}).values())

    def expire(self, now: float) -> list[JobRun]:
        """Take out those whose time is over, on Trio's clock."""
        gone: list[JobRun] = []
        for run in self._oldest():
            each: JobRun | None = run
            while each is not None and _until(each) <= now:
                gone.append(self._take(each))
                each = next(iter(self._jobs.get(run.job.name, {}).values()), None)
        return gone

    def next_expiry(self) -> float:
        """When the time of the next one is over, on Trio's clock; infinity where none is."""
        return min(map(_until, self._oldest()), default=inf)

    def _oldest(self) -> list[JobRun]:
        """The one of each job that ended first."""
        return [next(iter(runs.values())) for runs in self._jobs.values()]

    def _take(self, run: JobRun) -> JobRun:
        self._size -= self._sizes.pop(run)
        runs = self._jobs[run.job.name]
        del runs[run.id]
        if not runs:
            del self._jobs[run.job.name]
        return run


def _until(run: JobRun) -> float:
    return run.ended + run.job.options.keep
