"""Running a plan: one nursery, a task per segment, and what is known about it from outside.

A run ends when its tasks have ended. The first failure cancels the others; every failure that
comes up until all is over is kept. One failure is raised as itself, several as one flat group.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf
from time import perf_counter
from typing import Any, Generic, TypeAlias, TypeVar

import trio

from ._channel import Channel
from ._errors import PenstockError, flatten
from ._measure import Measure
from ._outlet import Probe
from ._plan import plan
from ._segment import SegmentTask
from ._spec import Node
from ._stats import Outcome, Report, RunStats

R = TypeVar("R")

Progress: TypeAlias = Callable[[RunStats], object]


class RunStopped(PenstockError):
    """The run was stopped before its sink had a result."""

    def __str__(self) -> str:
        return "the run was stopped before its sink had a result; give stop() more time to drain"


class Run(Generic[R]):
    """A pipeline that is running, as ``async with pipeline.open() as run`` gives it."""

    def __init__(self, end: Node) -> None:
        self._started = perf_counter()
        self._ended: float | None = None
        self._outcome: Outcome = "running"
        self._failures: list[BaseException] = []
        self._scope = trio.CancelScope()
        self._body_scope = trio.CancelScope()
        self._over = trio.Event()
        self._stopping = False
        self._waiting_for_result = 0
        self._delivered = False
        planned = plan(end)
        probes = {id(node): Probe(node) for segment in planned.segments for node in segment.stages}
        channels = [
            Channel(inlet, sum(each.outlet == number for each in planned.segments))
            for number, inlet in enumerate(planned.channels)
        ]
        self._tasks = [
            SegmentTask(
                segment,
                probes,
                None if segment.inlet is None else channels[segment.inlet],
                None if segment.outlet is None else channels[segment.outlet],
                planned.reader(segment),
            )
            for segment in planned.segments
        ]
        for task in self._tasks:
            feeds = planned.upstream(task.segment)
            task.upstream = [each for each in self._tasks if each.segment in feeds]
            if len(task.upstream) == 1:
                task.relay_for(task.upstream[0])
        self._measure = Measure(planned, self._tasks, probes, channels)

    # What users call

    async def result(self) -> R:
        """Wait for the end of the run and give the sink's result.

        Raises `StageError` where a stage failed (a flat ``ExceptionGroup`` of them where several
        did), and `RunStopped` where `stop` cut the sink off. Cancelled, it stops waiting; the run
        goes on.
        """
        waited = False
        self._waiting_for_result += 1
        try:
            await self._over.wait()
            waited = True
        finally:
            self._waiting_for_result -= 1
            if self._failures and not waited:
                self._interrupt_body()
        if self._failures:
            self._delivered = True
            raise self.error
        last = self._tasks[-1]
        if not last.has_result:
            raise RunStopped
        result: R = last.result
        return result

    async def stop(self, deadline: float = inf) -> None:
        """End the producers, let what is in flight drain, and wait until the run is over.

        Args:
            deadline: seconds to drain; what is left then is cancelled and counted as abandoned.

        Cancelled while it waits, the producers stay stopped and the rest drains on.
        """
        self._stopping = True
        for task in self._tasks:
            if task.is_source:
                task.stop()
        with trio.move_on_after(deadline):
            await self._over.wait()
            return
        self._scope.cancel("the deadline of stop() has passed")
        await self._over.wait()

    def stats(self) -> RunStats:
        """What every stage and buffer has done so far."""
        return RunStats(
            seconds=(self._ended or perf_counter()) - self._started,
            outcome=self._outcome,
            stages=self._measure.stages(self._started),
            buffers=self._measure.buffers(),
            bottleneck=self._measure.bottleneck(self._started),
        )

    def report(self) -> Report:
        """The statistics with the outcome and the error; meant for the end of the run."""
        now = self.stats()
        return Report(
            seconds=now.seconds,
            outcome=now.outcome,
            stages=now.stages,
            buffers=now.buffers,
            bottleneck=now.bottleneck,
            error=str(self.error) if self._failures else None,
        )

    @property
    def error(self) -> BaseException:
        """The one failure, or a flat group of them; only where there was one."""
        if len(self._failures) == 1:
            return self._failures[0]
        return BaseExceptionGroup("several stages failed", self._failures)

    # What the runtime does

    async def _supervise(self) -> None:
        """Run all tasks to their end, in a scope of their own."""
        finished = False
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for task in self._tasks:
                        nursery.start_soon(self._run_task, task, name=task.segment.head.name)
            finished = True
        finally:
            self._ended = perf_counter()
            self._outcome = self._how_it_ended(finished)
            self._over.set()

    def _how_it_ended(self, finished: bool) -> Outcome:
        if self._failures:
            return "failed"
        if not finished:
            return "cancelled"
        if self._stopping:
            return "stopped"
        return "cancelled" if self._scope.cancel_called else "done"

    async def _run_task(self, task: SegmentTask) -> None:
        try:
            await task.run()
        except Exception as error:  # noqa: BLE001 - kept, and raised at the end of the run
            self._fail(flatten(error))
        except BaseExceptionGroup as group:
            errors, rest = group.split(Exception)
            if errors is not None:
                self._fail(flatten(errors))
            if rest is not None:
                raise rest from None

    def _fail(self, errors: list[BaseException]) -> None:
        for error in errors:
            if not any(error is known for known in self._failures):
                self._failures.append(error)
        self._scope.cancel("a stage failed")
        self._interrupt_body()

    def _interrupt_body(self) -> None:
        """Cancel a body that does something else than wait for the result, which would tell."""
        if not self._waiting_for_result:
            self._body_scope.cancel("the pipeline failed")

    @asynccontextmanager
    async def _beside(
        self, progress: Progress | None, leave_running: bool
    ) -> AsyncGenerator[Run[R], None]:
        """Run beside the body of an ``async with``; one error leaves it, or one flat group."""
        ended: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._supervise)
                if progress is not None:
                    nursery.start_soon(self._report_progress, progress)
                with self._body_scope:
                    yield self
                    if not leave_running:
                        self._scope.cancel("the body of open() was left")
        except BaseException as error:  # noqa: BLE001 - sorted, and raised again below
            ended = error
        # Raised outside the handler, so that an error keeps the context it came with.
        verdict = self._verdict(ended)
        if verdict is not None:
            raise verdict

    def _verdict(self, ended: BaseException | None) -> BaseException | None:
        """What the user sees of what ended the body and of the failures not yet delivered.

        A failure beats a cancellation, which would hide it; an exit (Ctrl-C) beats both.
        """
        leaves = [] if ended is None else flatten(ended)
        undelivered = [] if self._delivered else self._failures
        errors = _distinct(
            [*(leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)), *undelivered]
        )
        exits = [error for error in errors if not isinstance(error, Exception)]
        if exits:
            return exits[0]
        if len(errors) > 1:
            return BaseExceptionGroup("several errors ended the run", errors)
        return next(iter(errors or leaves), None)

    async def _report_progress(self, progress: Progress) -> None:
        over = False
        while not over:
            with trio.move_on_after(0.1):
                await self._over.wait()
                over = True
            progress(self.stats())


def open_run(
    end: Node, progress: Progress | None = None, *, leave_running: bool = True
) -> AbstractAsyncContextManager[Run[Any]]:
    """Run the pipeline that ends in ``end`` beside the body of the ``async with``.

    Leaving the body waits for the run, or, without ``leave_running``, cancels it. See
    `Pipeline.open`.
    """
    run: Run[Any] = Run(end)
    return run._beside(progress, leave_running)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - hidden from users only


def _distinct(errors: list[BaseException]) -> list[BaseException]:
    return list({id(error): error for error in errors}.values())
