"""The worker processes of one run, and which group goes to which.

A worker gets its next group while it is at one, so that it need not wait for the run's event loop
in between; not where groups take long, for another worker may be done first. Workers start when
there is work that no other has room for. One that dies is replaced as it is needed: the group that
it was at is told so, a group behind that one goes to another worker.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from time import perf_counter
from typing import Any

import trio

from ..._spec import Chunk
from .calls import Outcome
from .worker_process import WorkerDied, WorkerProcess

_LONG = 0.1
"""Seconds from which on a group is so long that no other waits behind it."""

_TRIES = 3
"""How often a process may be killed while it starts, or before it takes a group."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a group from having an outcome, and the item to blame, where that is known."""

    error: Exception
    position: int | None = None


class _Job:
    """A group on its way."""

    def __init__(self, message: bytes, size: int, held_the_loop: float) -> None:
        self.message = message
        self.size = size
        self.held_the_loop = held_the_loop
        self.kills_before_it = 0
        self.answer: Outcome | Trouble | None = None
        self._finished = trio.Event()

    def finish(self, answer: Outcome | Trouble) -> None:
        self.answer = answer
        self._finished.set()

    async def wait(self) -> Outcome | Trouble:
        await self._finished.wait()
        assert self.answer is not None, "finish() sets both"
        return self.answer


class Processes:
    """Up to ``most`` processes that call ``f``."""

    def __init__(self, f: Callable[[Any], Any], most: int, *, stop_at_failure: bool) -> None:
        self._function = pickle.dumps(f, pickle.HIGHEST_PROTOCOL)
        self._most = most
        self._stop_at_failure = stop_at_failure
        self._line: deque[_Job] = deque()
        self._ready: list[_Worker] = []
        self._started = 0
        self._nursery: trio.Nursery | None = None

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what makes the calls; all processes have ended when it returns."""
        async with trio.open_nursery() as self._nursery:
            await work()
            self._nursery.cancel_scope.cancel("all calls are made")

    async def call(self, items: Chunk) -> Outcome | Trouble:
        """Have a worker call the function for each item."""
        started = perf_counter()
        try:
            message = pickle.dumps(items, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 - __reduce__ may do anything
            return Trouble(error)
        job = _Job(message, len(items), perf_counter() - started)
        self._line.append(job)
        self._dispatch()
        return await job.wait()

    def _dispatch(self) -> None:
        """Hand out what is in line, to the least busy first; start workers for the rest."""
        all_started = self._started == self._most
        while self._line:
            free = [each for each in self._ready if each.has_room(all_started=all_started)]
            if not free:
                break
            min(free, key=lambda each: len(each.jobs)).give(self._line.popleft())
        starting = self._started - len(self._ready)
        assert self._nursery is not None, "calls are made by the work of run()"
        for _ in range(min(self._most - self._started, len(self._line) - starting)):
            self._started += 1
            self._nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        """One worker, from its start to its death; those of a run that is over are cancelled."""
        process = await self._start_process()
        worker = _Worker(process)
        try:
            self._ready.append(worker)
            self._dispatch()
            await worker.work(self._dispatch)
        finally:
            self._ready.remove(worker)
            exit_code = await process.end()
            self._started -= 1
        self._line.extendleft(reversed(self._after(worker, exit_code)))
        self._dispatch()

    async def _start_process(self) -> WorkerProcess:
        kills = 0
        while True:
            process = WorkerProcess(self._function, stop_at_failure=self._stop_at_failure)
            try:
                await process.start()
            except WorkerDied as died:
                kills += 1
                if not died.was_killed or kills == _TRIES:
                    raise
            else:
                return process

    def _after(self, worker: _Worker, exit_code: int | None) -> list[_Job]:
        """Tell the job that a dead worker was at; the others, which another one is to have."""
        if not worker.jobs:
            return []
        first, *others = worker.jobs
        position = worker.process.position
        if worker.process.begun == worker.answered:
            first.kills_before_it += 1
            if first.kills_before_it < _TRIES:
                return [first, *others]
            first.finish(Trouble(WorkerDied(exit_code, "before it took this item")))
        elif position < 0:
            first.finish(Trouble(WorkerDied(exit_code, "while it unpickled this item")))
        elif position < first.size:
            first.finish(Trouble(WorkerDied(exit_code, "on this item"), position))
        else:
            error = WorkerDied(exit_code, "while it sent the results up to this item")
            first.finish(Trouble(error, first.size - 1 if self._stop_at_failure else None))
        return others


class _Worker:
    """A process that is ready, and the jobs that it has: the one that it is at, and the next."""

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.jobs: deque[_Job] = deque()
        self.answered = 0
        self._seconds = inf
        self._outbox, self._to_send = trio.open_memory_channel[_Job](2)

    def has_room(self, *, all_started: bool) -> bool:
        """Whether it may have another job now."""
        if not self.jobs:
            return True
        return len(self.jobs) == 1 and all_started and self._seconds < _LONG

    def give(self, job: _Job) -> None:
        """Let it have a job."""
        self.jobs.append(job)
        self._outbox.send_nowait(job)

    async def work(self, after_each: Callable[[], None]) -> None:
        """Send jobs and receive their answers until the process has gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send)
            while (message := await self.process.receive()) is not None:
                self._finish(self.jobs.popleft(), message)
                after_each()
            nursery.cancel_scope.cancel("the worker process has gone")

    async def _send(self) -> None:
        """In a task of its own: the process may be sending, too, and wait to be heard."""
        with suppress(trio.BrokenResourceError):
            async for job in self._to_send:
                await self.process.send(job.message)

    def _finish(self, job: _Job, message: bytearray) -> None:
        self.answered += 1
        started = perf_counter()
        try:
            answer: Outcome | Exception = pickle.loads(message)  # noqa: S301 - of our own process
        except Exception as error:  # noqa: BLE001 - __setstate__ may do anything
            answer = error
        if isinstance(answer, Outcome):
            self._seconds = answer.seconds
            held = job.held_the_loop + perf_counter() - started
            job.finish(replace(answer, held_the_loop=held))
        else:
            job.finish(Trouble(answer))
