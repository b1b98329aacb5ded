"""One run of a transform under watch: what it is given, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from .._spec import (
    Boundary,
    CountingSender,
    Inlet,
    Node,
    Operator,
    PushSource,
    Receiver,
    Sink,
    Tally,
    TaskOp,
    TaskSink,
    ancestors,
)
from ..stream import Pipeline, Stream
from .watching import Steps, Watch, complaints_of_python, open_generators, watched

Transform: TypeAlias = Callable[[Stream[Any]], Stream[Any]]

SOURCE = "the source"

_NEVER = 1e9
A_WHILE = 60.0
"""Seconds of the mock clock, which jumps there when nothing is to happen before."""

_JUMPS = 200
"""How often the clock may jump that far where threads work, before a run is taken to hang."""

_STEPS = 5_000
_STEPS_AN_ITEM = 100
"""The most steps that all tasks may take; by far more than a transform needs."""


@dataclass(frozen=True)
class Trial:
    """One run, or several of one pipeline.

    Attributes:
        tried: what it is, for people: ``given in chunks of 2, 1``.
        chunks: what the source sends.
        at_rest: whether the source waits before each chunk until all tasks have come to rest.
        pause: seconds that it waits then besides.
        error: what the source raises after its chunks.
        take: how many items the stage behind wants; None for all.
        cancel_at: the step of all tasks before which the run is cancelled; 0 for never.
        runs: how often the pipeline is run; what came of the last run counts.
        reads: whether anything reads what it gives. If not, all channels hold one item.
        clock_waits: seconds of quiet after which the clock jumps.
    """

    tried: str
    chunks: Sequence[Sequence[Any]]
    at_rest: bool = True
    pause: float = 0.0
    error: Exception | None = None
    take: int | None = None
    cancel_at: int = 0
    runs: int = 1
    reads: bool = True
    clock_waits: float = 0.0

    @property
    def given(self) -> list[Any]:
        """All items of the source."""
        return [item for chunk in self.chunks for item in chunk]


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        came: the items that came out.
        after: how many had come out when the source was about to send each chunk, and at its end.
        taken: items that the source got rid of.
        room: items that the channels of the run hold, and one more for each in a task's hands.
        raised: whether the source came to raise its error.
        stages: the names of the transform's stages.
        error: what the run raised, apart from its cancellation.
        ended: whether it ended by itself, without an error.
        cancelled: whether it was cancelled at its step.
        complaints: what else was seen.
    """

    came: list[Any] = field(default_factory=list[Any])
    after: list[int] = field(default_factory=list[int])
    taken: int = 0
    room: int = 0
    raised: bool = False
    stages: list[str] = field(default_factory=list[str])
    error: Exception | None = None
    ended: bool = False
    cancelled: bool = False
    complaints: list[str] = field(default_factory=list[str])


def run_trial(transform: Transform, trial: Trial) -> Outcome:
    """Run ``trial`` in a Trio of its own, under a mock clock."""
    outcome = Outcome()
    steps = Steps(trial.cancel_at, _STEPS + _STEPS_AN_ITEM * len(trial.given))
    watch = Watch(steps)
    clock = MockClock(autojump_threshold=trial.clock_waits)
    with complaints_of_python(watch.complaints):
        try:
            run = partial(_run, transform, trial, outcome, watch)
            trio.run(run, clock=clock, instruments=[steps])
        except trio.TrioInternalError as error:
            watch.complain(f"it broke Trio: {error.__cause__ or error}")
    if steps.ran_on:
        watch.complain(f"it did not end within {steps.count:,} steps")
    outcome.cancelled = steps.cancelled and not steps.ran_on
    outcome.complaints = watch.complaints
    return outcome


async def _run(transform: Transform, trial: Trial, outcome: Outcome, watch: Watch) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    pipeline = _build(transform, trial, outcome, watch)
    with open_generators() as left_open:
        with trio.CancelScope() as scope:
            watch.steps.scope = scope
            for _ in range(trial.runs):
                outcome.came.clear()
                await _run_once(pipeline, trial, outcome)
        watch.steps.scope = None
        for _ in range(10):  # a task that is about to end may do so
            await trio.lowlevel.checkpoint()
        for name in left_open():
            watch.complain(f"it left the async generator {name} open")
    if trio.lowlevel.current_statistics().tasks_living > tasks:
        watch.complain("it left a task running when the pipeline was over")


async def _run_once(pipeline: Pipeline[None], trial: Trial, outcome: Outcome) -> None:
    outcome.ended = False
    if not trial.clock_waits:
        with trio.move_on_after(_NEVER):
            await _run_to_end(pipeline, trial, outcome)
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_give_up, nursery.cancel_scope)
        await _run_to_end(pipeline, trial, outcome)
        nursery.cancel_scope.cancel()


async def _give_up(scope: trio.CancelScope) -> None:
    """Not at the first jump of the clock: a thread may just be slow."""
    for _ in range(_JUMPS):
        await trio.sleep(_NEVER)
    scope.cancel("it does not end")


async def _run_to_end(pipeline: Pipeline[None], trial: Trial, outcome: Outcome) -> None:
    try:
        async with pipeline.open() as run:
            if not trial.reads:
                await trio.sleep(A_WHILE)
                outcome.room = sum(each.capacity + 1 for each in run.stats().buffers)
                await run.stop(0)
                return
            await run.result()
        outcome.ended = True
    except Exception as error:  # noqa: BLE001 - judged by those who made the trial
        outcome.error = error


def _build(transform: Transform, trial: Trial, outcome: Outcome, watch: Watch) -> Pipeline[None]:
    source = PushSource(partial(_feed, trial, outcome), by_item=False)
    stream: Stream[Any] = Stream(Node(SOURCE, source))
    built = _rewritten(stream.via(transform), watch, narrow=not trial.reads)
    outcome.stages = [node.name for node in _nodes(built) if node.name != SOURCE]
    if trial.take is not None:
        built = built.take(trial.take)
    work = partial(_read, outcome) if trial.reads else _read_nothing
    end: Sink[Any, None] = Sink("the reader", TaskSink(work, Inlet() if trial.reads else Inlet(1)))
    return built.to(end)


async def _feed(trial: Trial, outcome: Outcome, send: CountingSender[Any]) -> None:
    for chunk in trial.chunks:
        await _come_to_rest(trial)
        outcome.after.append(len(outcome.came))
        await send.chunk(list(chunk))
        outcome.taken += len(chunk)
    await _come_to_rest(trial)
    outcome.after.append(len(outcome.came))
    if trial.error is not None:
        outcome.raised = True
        raise trial.error


async def _come_to_rest(trial: Trial) -> None:
    if trial.at_rest:
        await trio.sleep(trial.pause)
        await wait_all_tasks_blocked()


async def _read(outcome: Outcome, receive: Receiver[Any], tally: Tally) -> None:
    async for items in receive.chunks():
        outcome.came += items


async def _read_nothing(receive: Receiver[Any], tally: Tally) -> None:
    await trio.sleep_forever()


def _nodes(stream: Stream[Any]) -> list[Node]:
    return list(ancestors(stream._node))  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - a stage is looked at


def _rewritten(stream: Stream[Any], watch: Watch, *, narrow: bool) -> Stream[Any]:
    """The stream with its transforms under watch and, if wanted, with channels of one item."""
    new: dict[int, Node] = {}
    nodes = _nodes(stream)
    for node in nodes:
        inputs = tuple(new[id(each)] for each in node.inputs)
        new[id(node)] = replace(node, op=_operator(node.op, watch, narrow), inputs=inputs)
    return Stream(new[id(nodes[-1])])


def _operator(op: Operator, watch: Watch, narrow: bool) -> Operator:
    if isinstance(op, TaskOp) and op.by_item:
        op = replace(op, work=partial(watched, op.work, watch), by_item=not narrow)
    if narrow and isinstance(op, TaskOp | Boundary) and op.inlet == Inlet():
        op = replace(op, inlet=Inlet(1))
    return op
