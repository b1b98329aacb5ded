"""One run of a job: a log of its own, a pipeline that fills it, and how it ends.

Statuses: ``running``; ``done`` (the pipeline came to its end), ``failed`` (the log ends with an
``error`` event), ``cancelled`` (by a ``DELETE``, because nobody read it any more, or because the
server went away, which the log says with an ``error`` event).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from typing import Any, Literal, TypeAlias

import trio

import penstock as ps

from ..encoding import Event, encode
from ..settings import Retention
from ..topics import Topic
from ..wake import Wake
from .job import Job

logger = logging.getLogger("penstock.jobs")

Status: TypeAlias = Literal["running", "done", "failed", "cancelled"]

_SHUT_DOWN = {
    "type": "about:blank",
    "title": "Server Shutting Down",
    "status": 503,
    "detail": "The server shut down before the job was done; start it again.",
}

_BYTES_A_RUN = 8 << 10
_BYTES_AN_EVENT = 200
"""What they take besides the bytes of events, roughly."""


class JobRun:
    """A run, from its start until it is forgotten. `execute` runs it.

    It waits for `begin`, which comes with its first reader: so a reader with ``slow="block"`` is
    waited for from the first event on, and a client that never gets its answer starts nothing.

    Args:
        job: what it is a run of.
        id: names it among the runs of its job; nobody can guess it.
        body: the request's, as the function takes it.

    Attributes:
        topic: its log, and those who read it; its name is ``{job}.{id}``.
        status: see above.
        error: the problem that the log ends with; None where it ends without.
        created: when it was started, in whole seconds since 1970.
        started: when, on Trio's clock.
        ended: when; infinity while it runs.
    """

    def __init__(self, job: Job[Any], id: str, body: object) -> None:  # noqa: A002 - its name in the protocol
        self.job = job
        self.id = id
        self.topic: Topic[Any] = Topic(f"{job.name}.{id}", job.options.log, job.where)
        self.topic.accepts = None  # that is the body's type; nobody publishes here
        self.status: Status = "running"
        self.error: dict[str, Any] | None = None
        self.created = int(time.time())
        self.started = trio.current_time()
        self.ended = inf
        self._body: object = body
        self._pipeline: ps.Run[None] | None = None
        self._last_stats: ps.RunStats | None = None
        self._scope = trio.CancelScope()
        self._begun = trio.Event()
        self._over = trio.Event()
        self._shutting_down = False
        self._expected = 0
        self._was_read = False
        self._changed = Wake()
        self._patience_until = -inf
        self._unwatch = self.topic.audience.watch(self._note_readers)

    def __repr__(self) -> str:
        return f"<JobRun {self.path} {self.status}>"

    # Seeing

    @property
    def path(self) -> str:
        """Where it is served."""
        return f"/jobs/{self.job.name}/{self.id}"

    @property
    def size(self) -> int:
        """Bytes of memory that it takes, roughly."""
        bounds = self.topic.log.bounds()
        events = bounds.last - bounds.first + 1
        return bounds.size + _BYTES_AN_EVENT * events + _BYTES_A_RUN

    def stats(self) -> ps.RunStats | None:
        """The statistics of its pipeline, at its end once that has come; None before its start."""
        return self._last_stats if self._pipeline is None else self._pipeline.stats()

    @property
    def has_begun(self) -> bool:
        """Whether its pipeline was started, or is about to be."""
        return self._begun.is_set()

    async def over(self) -> None:
        """Wait until it has ended."""
        await self._over.wait()

    # What its readers do

    def begin(self) -> None:
        """Let it start: its first reader is there, or it needs none. Again changes nothing."""
        self._begun.set()

    @contextmanager
    def expecting_reader(self) -> Generator[None]:
        """While the block runs somebody is about to read it, or does.

        A run that waits for its first reader is cancelled once none is expected any more.
        """
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            if not self._expected and not self._begun.is_set():
                self.cancel("its only reader has gone")

    def touch(self) -> None:
        """Note that somebody looked: the time without a reader starts anew."""
        self._changed.set()

    def be_patient(self, seconds: float) -> None:
        """Wait for readers that were told to come back, so long at least."""
        self._patience_until = max(self._patience_until, trio.current_time() + seconds)

    def cancel(self, why: str = "it was asked for") -> None:
        """Cancel it at its next checkpoint; its log then ends. Of a finished one: nothing."""
        self._scope.cancel(why)

    def shut_down(self) -> None:
        """Cancel it because the server goes away, which its readers are told."""
        self._shutting_down = True
        self.cancel("the server goes away")

    # Running

    async def execute(self) -> None:
        """Run it to its end. Cancelled, its pipeline is, with its cleanup, and its log ends.

        Raises nothing: what ends the pipeline is logged, and its readers are told that it failed.
        """
        try:
            with self._scope:
                await self._begun.wait()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._cancel_when_unread)
                    await self._run_pipeline()
        finally:
            self._end("cancelled", _SHUT_DOWN if self._shutting_down else None)

    async def _run_pipeline(self) -> None:
        failure: Exception | None = None
        try:
            pipeline = self.job.pipeline(self.topic, self._body)
            async with pipeline.open() as self._pipeline:
                await self._pipeline.result()
        except Exception as error:  # noqa: BLE001 - whatever ends a pipeline, its reader is told
            failure = error
        conclusion = self.job.conclude(self._body, failure)
        self.topic.log.append([encode(item, "json") for item in conclusion.last])
        if failure is not None and conclusion.problem is not None:
            self._log(failure)
        self._end("done" if conclusion.problem is None else "failed", conclusion.problem)

    def _note_readers(self) -> None:
        self._was_read = self._was_read or len(self.topic.audience) > 0
        self._changed.set()

    async def _cancel_when_unread(self) -> None:
        """Cancel the run once it has had no reader for `JobOptions.detach` seconds.

        Where those are 0, somebody must have come before. Returns when the run is over.
        """
        audience = self.topic.audience
        detach = self.job.options.detach
        while self.status == "running":
            is_left = not len(audience) and (detach > 0 or self._was_read)
            until = max(trio.current_time() + detach, self._patience_until) if is_left else inf
            with trio.move_on_at(until) as patience:
                await self._changed.wait()
            if patience.cancelled_caught and not len(audience):
                self.cancel("nobody reads it any more")

    def _end(self, status: Status, problem: dict[str, Any] | None = None) -> None:
        """Note how it ended, and end its log; only the first end counts.

        What its pipeline was made of, the request's body too, is let go: a finished run may be
        kept for long.
        """
        if self.status != "running":
            return
        self.status = status
        if problem is not None:
            self._append_error(problem)
        self._last_stats = self.stats()
        self._pipeline = self._body = None
        self.ended = trio.current_time()
        self.topic.log.finish()
        self._unwatch()
        self._over.set()
        self._changed.set()

    def _log(self, error: Exception) -> None:
        logger.error(
            "job %s: run %s failed: %s",
            self.job.name,
            self.id,
            error,
            exc_info=error if logger.isEnabledFor(logging.DEBUG) else None,
        )

    def _append_error(self, problem: dict[str, Any]) -> None:
        self.error = problem
        event = encode(Event(problem, "error"), "json")
        # One more than usual, so that it pushes out none that a slow reader is still to get.
        kept = self.topic.options.retention
        self.topic.log.retain(Retention(kept.events + 1, kept.bytes + event.size, kept.seconds))
        self.topic.log.append((event,))

    def let_go(self) -> None:
        """Free the memory of its events where nobody reads them; for one that is forgotten.

        Else they would stay until the garbage collector comes by.
        """
        if not self.topic.is_used:
            self.topic.log.retain(Retention(events=1, bytes=0))
