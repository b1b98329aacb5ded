"""Running a plan: one nursery, a task per segment, and what is known about it from outside.

A run ends when its tasks have ended. The first failure cancels the others; every failure that
comes up until all is over is kept. One failure is raised as itself, several as one flat group.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from math import inf
from time import perf_counter
from typing import Any, Generic, TypeAlias, TypeVar, cast

import trio

from . import _options as options
from ._channel import Channel
from ._errors import SEVERAL, SEVERAL_ENDED_IT, PenstockError, ungroup
from ._measure import Measure
from ._outlet import Target
from ._plan import Plan, Segment, plan
from ._probe import Probe
from ._publishing import Publications
from ._segment import SegmentTask
from ._spec import JoinOp, Node
from ._stats import Outcome, Report, RunStats
from ._watchdog import watching

R = TypeVar("R")

Progress: TypeAlias = Callable[[RunStats], object]

_current: ContextVar[Run[Any] | None] = ContextVar("penstock.run", default=None)
"""The run whose task this is: an inner run ends its sources when that is stopped."""


class RunStopped(PenstockError):
    """The run was stopped before its sink had a result."""

    def __str__(self) -> str:
        return "the run was stopped before its sink had a result; give stop() more time to drain"


class Run(Generic[R]):
    """A pipeline that is running, as ``async with pipeline.open() as run`` gives it."""

    def __init__(self, end: Node, *, inner: bool = False, watchdog: bool = False) -> None:
        self._is_inner = inner
        self._has_watchdog = watchdog
        self._started = perf_counter()
        self._ended: float | None = None
        self._outcome: Outcome = "running"
        self._failures: list[BaseException] = []
        self._scope = trio.CancelScope()
        self._body_scope = trio.CancelScope()
        self._over = trio.Event()
        self._task: trio.lowlevel.Task | None = None
        self._stopping = False
        self._waiting_for_result = 0
        self._delivered = False
        self._inner: set[Run[Any]] = set()
        self._publications = Publications()
        planned = plan(end)
        probes = {id(node): Probe(node) for segment in planned.segments for node in segment.stages}
        channels = [
            Channel(inlet, len(planned.feeds(number)) + len(planned.tellers(number)))
            for number, inlet in enumerate(planned.channels)
        ]
        self._tasks = [_task(planned, segment, probes, channels) for segment in planned.segments]
        _connect(planned, self._tasks, channels)
        self._ends = [self._tasks[planned.segments.index(end)] for end in planned.ends]
        self._gathered = planned.gathered
        self._measure = Measure(planned, self._tasks, probes, channels)

    # What users call

    async def result(self) -> R:
        """Wait for the end of the run and give the sink's result.

        Raises `StageError` where a stage failed (a flat ``ExceptionGroup`` of them where several
        did), and `RunStopped` where `stop` cut the sink off. A stage of the run itself can't wait
        for its end: `PenstockError`. Cancelled, it stops waiting; the run goes on.
        """
        if self._is_within():
            raise PenstockError("result() waits for the end of the run, so no stage of it can")
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
        if not all(task.has_result for task in self._ends):
            raise RunStopped
        results = tuple(task.result for task in self._ends)
        return cast("R", results if self._gathered else results[0])

    async def stop(self, deadline: float = inf) -> None:
        """End the producers, let what is in flight drain, and wait until the run is over.

        Args:
            deadline: seconds to drain; what is left then is cancelled and counted as abandoned.

        A stage of the run itself (a function in it, a sink that has had enough) can't wait for
        that: there it returns at once, the rest drains behind it, and the deadline holds. What is
        in flight still comes to that stage. Cancelled while it waits, the producers stay stopped
        and the rest drains on.
        """
        if deadline != inf:
            options.seconds("stop", "deadline", deadline, above_zero=False)
        self._end_sources()
        if self._is_within():
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + deadline)
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(deadline):
            await self._over.wait()
            return
        self._scope.cancel("the deadline of stop() has passed")
        await self._over.wait()

    def stats(self) -> RunStats:
        """What every stage and buffer has done so far."""
        seen = self._measure.look(self._started, self._ended)
        return RunStats(
            seconds=(self._ended or perf_counter()) - self._started,
            outcome=self._outcome,
            stages=seen.stages,
            buffers=seen.buffers,
            bottleneck=seen.bottleneck,
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
        return BaseExceptionGroup(SEVERAL, self._failures)

    # What the runtime does

    def _is_within(self) -> bool:
        """Whether the current task is one of the run's, or of a nursery that one of them opened."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self._task:
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return task is not None

    def _end_sources(self) -> None:
        self._stopping = True
        for task in self._tasks:
            if task.is_source:
                task.stop()
        for inner in self._inner:
            inner._end_sources()  # noqa: SLF001 - another of this class

    def _take_in(self, inner: Run[Any]) -> None:
        self._inner.add(inner)
        if self._stopping:
            inner._end_sources()

    async def _supervise(self) -> None:
        """Run all tasks to their end, in a scope of their own."""
        finished = False
        self._task = trio.lowlevel.current_task()
        outer = _current.get() if self._is_inner else None
        _current.set(self)
        if outer is not None:
            outer._take_in(self)  # noqa: SLF001 - another of this class
        try:
            await self._run_tasks(outer)
            finished = True
        finally:
            if outer is not None:
                outer._inner.discard(self)  # noqa: SLF001 - another of this class
            self._ended = perf_counter()
            self._outcome = self._how_it_ended(finished)
            self._over.set()

    async def _run_tasks(self, outer: Run[Any] | None) -> None:
        """Run them; what they did is published where all of them have ended well, or not at all.

        An inner run leaves that to the one that it belongs to.
        """
        ended_well = False
        try:
            with self._scope, watching() if self._has_watchdog else nullcontext():
                async with trio.open_nursery() as nursery:
                    for task in self._tasks:
                        nursery.start_soon(self._run_task, task, name=task.segment.head.name)
            await trio.lowlevel.checkpoint_if_cancelled()
            ended_well = not (self._failures or self._scope.cancelled_caught)
        finally:
            with trio.CancelScope(shield=True):
                await self._publish(ended_well=ended_well, outer=outer)

    async def _publish(self, *, ended_well: bool, outer: Run[Any] | None) -> None:
        publications = self._publications
        for task in self._tasks:
            if task.unpublished is not None:
                await publications.add(task.unpublished, task.failure)
                task.has_result = ended_well
        if ended_well and outer is not None:
            await publications.move_to(outer._publications)  # noqa: SLF001 - another of this class
        elif ended_well:
            await publications.publish()
        await publications.discard()
        if publications.errors:
            self._fail(publications.errors)

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
            self._fail(ungroup(error))
        except BaseExceptionGroup as group:
            errors, rest = group.split(Exception)
            if errors is not None:
                self._fail(ungroup(errors))
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
        if not trio.lowlevel.in_trio_run():
            raise PenstockError("penstock runs on Trio: trio.run(main), not asyncio.run(main)")
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
        verdict = self._verdict(ended)
        if verdict is None:
            return
        context = verdict.__context__
        try:
            raise verdict
        finally:
            verdict.__context__ = context  # what it was found in would show it a second time

    def _verdict(self, ended: BaseException | None) -> BaseException | None:
        """What the user sees of what ended the body and of the failures not yet delivered.

        A failure beats a cancellation, which would hide it; an exit (Ctrl-C) beats both.
        """
        leaves = [] if ended is None else ungroup(ended)
        undelivered = [] if self._delivered else self._failures
        errors = _distinct(
            [*(leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)), *undelivered]
        )
        exits = [error for error in errors if not isinstance(error, Exception)]
        if exits:
            return exits[0]
        if len(errors) > 1:
            return self._group_of(errors, ended)
        return next(iter(errors or leaves), None)

    def _group_of(self, errors: list[BaseException], ended: BaseException | None) -> BaseException:
        """A flat group of the errors: the one that `result` raised, where it is just that."""
        came = ended
        while isinstance(came, BaseExceptionGroup) and came.message != SEVERAL:
            inside = cast("BaseExceptionGroup[BaseException]", came).exceptions
            came = inside[0] if len(inside) == 1 else None
        if isinstance(came, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", came)
            if list(map(id, group.exceptions)) == list(map(id, errors)):
                return group
        of_stages = all(any(error is known for known in self._failures) for error in errors)
        return BaseExceptionGroup(SEVERAL if of_stages else SEVERAL_ENDED_IT, errors)

    async def _report_progress(self, progress: Progress) -> None:
        over = False
        while not over:
            with trio.move_on_after(0.1):
                await self._over.wait()
                over = True
            progress(self.stats())


def _task(
    planned: Plan, segment: Segment, probes: dict[int, Probe], channels: list[Channel]
) -> SegmentTask:
    def target(number: int) -> Target:
        return Target(channels[number], probes[id(planned.reader(number).gate)])

    return SegmentTask(
        segment,
        probes,
        [channels[number] for number in segment.inlets],
        [target(number) for number in segment.outlets if number is not None],
        {sink: target(number) for sink, number in segment.sides.items()},
    )


def _connect(planned: Plan, tasks: list[SegmentTask], channels: list[Channel]) -> None:
    """Let each task know who feeds it, and those that start on demand whose demand that is."""
    of = dict(zip(planned.segments, tasks, strict=True))
    for segment, task in of.items():
        for number in segment.inlets:
            feeds = [of[feed] for feed in planned.feeds(number)]
            task.feeders += [(feed, channels[number]) for feed in feeds]
            if len(feeds) == 1:
                task.relay_for(feeds[0])
        if isinstance(segment.head.op, JoinOp) and segment.head.op.one_by_one:
            for number in segment.inlets:
                asked = task.start_on_demand(channels[number])
                for feed in planned.serving_only(number):
                    if of[feed].may_start is None:  # else an inner join asks for it
                        of[feed].may_start = asked


def open_run(
    end: Node,
    progress: Progress | None = None,
    *,
    leave_running: bool = True,
    inner: bool = False,
    watchdog: bool = False,
) -> AbstractAsyncContextManager[Run[Any]]:
    """Run the pipeline that ends in ``end`` beside the body of the ``async with``.

    Leaving the body waits for the run, or, without ``leave_running``, cancels it. An ``inner`` run
    belongs to the run whose operator opens it: its sources end when that one is stopped. See
    `Pipeline.open`.
    """
    run: Run[Any] = Run(end, inner=inner, watchdog=watchdog)
    return run._beside(progress, leave_running)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - hidden from users only


def _distinct(errors: list[BaseException]) -> list[BaseException]:
    return list({id(error): error for error in errors}.values())
