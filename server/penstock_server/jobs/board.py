"""All jobs of a server and their runs: started, found, cancelled, and forgotten in time."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeAlias

import trio

from penstock.wire import to_base36

from ..refusals import KeyReused
from ..settings import Limits
from ..wake import Wake
from .job import Job
from .kept import Kept
from .run import JobRun

RETRY_AFTER = 2.0
"""Seconds after which a client may try again whose job found no room."""

_ID_BITS = 128

_Key: TypeAlias = tuple[str, str, str]
"""A job, whose key it is, and the key."""


class TooManyJobs(Exception):
    """As many runs as there may be are running; its text says of what."""


class JobNotRunning(Exception):
    """The job can't be started now; its text says why."""


@dataclass(frozen=True, slots=True)
class _Keyed:
    fingerprint: bytes
    run: JobRun


class Jobs:
    """The jobs of one server. `run` must be running for any to be started.

    Args:
        declared: the jobs by name.
        limits: how many may run, and how much of finished ones is kept.

    Attributes:
        counted: how many runs have been started, done, failed and cancelled, by job and outcome.
    """

    def __init__(self, declared: Mapping[str, Job[Any]], limits: Limits) -> None:
        self.declared = declared
        self.counted: Counter[tuple[str, str]] = Counter()
        self._limits = limits
        self._running: dict[str, dict[str, JobRun]] = {}
        self._kept = Kept(limits.kept_jobs_bytes)
        self._keyed: dict[_Key, _Keyed] = {}
        self._keys: dict[JobRun, _Key] = {}
        self._nursery: trio.Nursery | None = None
        self._changed = Wake()
        self._none_running = trio.Event()

    # Starting and finding

    def start(self, job: Job[Any], body: object) -> JobRun:
        """A new run of a job, which begins with `JobRun.begin`.

        Raises `TooManyJobs`, and `JobNotRunning` while the server starts or drains, and for a job
        without a function.
        """
        nursery = self._nursery
        if nursery is None:
            raise JobNotRunning("the server is starting or going away")
        if not job.is_declared:
            raise JobNotRunning(f"the job {job.name} has no function yet")
        if self.running_of(job.name) >= job.options.max_running:
            raise TooManyJobs(f"the job {job.name} runs {job.options.max_running} times already")
        if self.running >= self._limits.max_jobs_running:
            raise TooManyJobs(f"{self._limits.max_jobs_running} jobs are running already")
        run = JobRun(job, to_base36(secrets.randbits(_ID_BITS)), body)
        self._running.setdefault(job.name, {})[run.id] = run
        self.counted[job.name, "started"] += 1
        nursery.start_soon(self._execute, run)
        return run

    def find(self, job: str, id: str) -> JobRun | None:  # noqa: A002 - its name in the protocol
        """A run that is running, or still kept; None where there is none."""
        return self._running.get(job, {}).get(id) or self._kept.find(job, id)

    def runs(self, job: str, most: int) -> list[JobRun]:
        """Up to so many runs of a job: those that run, then others, the latest first."""
        running = reversed(self._running.get(job, {}).values())
        return list(islice(chain(running, self._kept.latest_of(job)), most))

    def all_running(self) -> list[JobRun]:
        """The runs of all jobs that run right now."""
        return [run for runs in self._running.values() for run in runs.values()]

    @property
    def running(self) -> int:
        """How many runs are running."""
        return sum(map(len, self._running.values()))

    def running_of(self, job: str) -> int:
        """How many runs of one job are running."""
        return len(self._running.get(job, ()))

    # Idempotency

    def repeated(self, job: str, scope: str, key: str, fingerprint: bytes) -> JobRun | None:
        """The run that was started with this key; None where it is a new one.

        `scope` is whose keys these are. Raises `KeyReused` where the request was another one.
        """
        keyed = self._keyed.get((job, scope, key))
        if keyed is None:
            return None
        if keyed.fingerprint != fingerprint:
            raise KeyReused("this idempotency key was used with another body; draw a new one")
        return keyed.run

    def remember(self, run: JobRun, scope: str, key: str, fingerprint: bytes) -> None:
        """Let a repetition with this key lead to this run, as long as the run is kept."""
        name = self._keys[run] = (run.job.name, scope, key)
        self._keyed[name] = _Keyed(fingerprint, run)

    # Life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let jobs run and forget old ones, until cancelled; that cancels those that run."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    with trio.move_on_at(self._kept.next_expiry()):
                        await self._changed.wait()
                    self._forget(self._kept.expire(trio.current_time()))
        finally:
            self._nursery = None

    async def _execute(self, run: JobRun) -> None:
        try:
            await run.execute()
        finally:
            self._note_end(run)

    def _note_end(self, run: JobRun) -> None:
        name = run.job.name
        self.counted[name, run.status] += 1
        running = self._running[name]
        del running[run.id]
        if not running:
            del self._running[name]
        # Nobody knows of one that hasn't begun; who sends its request again is to get another.
        self._forget(self._kept.put(run) if run.has_begun else [run])
        self._changed.set()
        if not self._running:
            self._none_running.set()

    def _forget(self, runs: list[JobRun]) -> None:
        for run in runs:
            key = self._keys.pop(run, None)
            if key is not None:
                del self._keyed[key]
            run.let_go()

    async def stop(self, within: float) -> None:
        """Start none any more; within so many seconds those that run end, or are cancelled.

        They have three quarters of the time to end by themselves.
        """
        self._nursery = None
        ends = trio.current_time() + within
        with trio.move_on_at(ends - within / 4):
            await self._until_none_runs()
        for run in self.all_running():
            run.shut_down()
        with trio.move_on_at(ends):
            await self._until_none_runs()

    async def _until_none_runs(self) -> None:
        while self._running:
            self._none_running = trio.Event()
            await self._none_running.wait()
