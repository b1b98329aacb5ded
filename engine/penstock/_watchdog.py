"""The watchdog: a Trio instrument that names the stage which kept the event loop to itself.

While one task computes no other gets its turn: not the other stages, a server's connections, nor
time-outs. Fused stages and plain iterables are measured call by call, always. What a user's code
does in a task of its own (an async function, a custom stage) only an instrument sees: between the
ends of two task steps one task ran. Whose it was, a context variable says, which every task that a
stage starts inherits.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter

import trio

from ._probe import HELD_THE_LOOP, Probe
from ._spec import FillingSink, PullSource, SplitOp, StepOp, StepSink

logger = logging.getLogger("penstock.watchdog")


@dataclass(slots=True, eq=False)
class Watched:
    """A task of a run, as the watchdog knows it.

    Attributes:
        head: the stage that may wait; None in a task that has none.
        plain: the stages whose functions never wait, and are measured call by call.
        worked: seconds in which it, and what it started, had the event loop.
        outer: the task whose stage runs the pipeline that this one is of, if one does.
    """

    head: Probe | None
    plain: list[Probe]
    worked: float = 0.0
    outer: Watched | None = None

    def make_current(self) -> None:
        """Say that the current task is this one, and those that it will start."""
        self.outer = _current.get()
        _current.set(self)


_current: ContextVar[Watched | None] = ContextVar("penstock.watched", default=None)


class Watchdog(trio.abc.Instrument):
    """Tells which stage held the event loop for over 0.1 s, of whatever pipelines run.

    Each time is counted in `StageStats.held_the_loop`. The first time that it happens to a stage,
    the tenth, the hundredth and so on, a warning of the logger ``penstock.watchdog`` names the
    stage, the seconds, the line it was written on and what to do.

    ``pipeline.run(watchdog=True)`` uses one for the time of a run; this class is for a program with
    many of them: ``trio.run(main, instruments=[ps.Watchdog()])``. It takes about a microsecond each
    time that Trio resumes a task: not to be noticed where chunks travel, up to a third of the time
    where tasks do little but hand single items to each other.
    """

    def __init__(self) -> None:
        self._since = perf_counter()

    def before_run(self) -> None:
        """See ``trio.abc.Instrument``; the time before the run is nobody's."""
        self._since = perf_counter()

    def after_io_wait(self, timeout: float) -> None:
        """See ``trio.abc.Instrument``; the tasks begin to take their turns."""
        self._since = perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``trio.abc.Instrument``; a task has had its turn."""
        now = perf_counter()
        spent = now - self._since
        self._since = now
        watched = task.context.get(_current)
        if watched is not None:
            watched.worked += spent
            if spent >= HELD_THE_LOOP:
                _note(watched, spent)


@dataclass(slots=True)
class _Shared:
    watchdog: Watchdog
    users: int = 0


_shared: trio.lowlevel.RunVar[_Shared | None] = trio.lowlevel.RunVar("penstock.watchdog", None)


@contextmanager
def watching() -> Generator[None]:
    """Have a watchdog while the block lasts; the blocks of one Trio run share it."""
    shared = _shared.get()
    if shared is None:
        shared = _Shared(Watchdog())
        _shared.set(shared)
    if not shared.users:
        shared.watchdog.before_run()
        trio.lowlevel.add_instrument(shared.watchdog)
    shared.users += 1
    try:
        yield
    finally:
        shared.users -= 1
        if not shared.users:
            with suppress(KeyError):  # Trio has removed it: a handler of the log raised
                trio.lowlevel.remove_instrument(shared.watchdog)


def _note(watched: Watched, seconds: float) -> None:
    """Count and tell who held the loop; plain stages have been counted when they returned."""
    blamed = [probe for probe in watched.plain if probe.held_the_loop > probe.held_told]
    if not blamed:
        blamed = [_likeliest(watched)]
        blamed[0].held_up(seconds)
    for probe in blamed:
        _tell(probe, min(seconds, probe.held_the_loop_longest))
    while watched.outer is not None:
        watched = watched.outer
        host = _likeliest(watched)
        host.held_up(seconds)
        host.held_told = host.held_the_loop


def _likeliest(watched: Watched) -> Probe:
    """The stage to blame where no single function took that long."""
    busiest = max(watched.plain, key=lambda probe: probe.busy, default=watched.head)
    plain = sum(probe.busy for probe in watched.plain)
    if watched.head is not None and plain < watched.worked / 2:
        return watched.head
    assert busiest is not None, "a task has stages"
    return busiest


def _tell(probe: Probe, seconds: float) -> None:
    told, count = probe.held_told, probe.held_the_loop
    probe.held_told = count
    if told and len(str(count)) == len(str(told)):
        return
    node = probe.node
    so_far = f" ({count} times, up to {probe.held_the_loop_longest:.2f} s)" if count > 1 else ""
    place = f" (stage written at {node.where})" if node.where else ""
    logger.warning(
        "%s held the event loop for %.2f s%s, and nothing else ran meanwhile; %s%s",
        node.name,
        seconds,
        so_far,
        _advice(probe),
        place,
    )


def _advice(probe: Probe) -> str:
    match probe.node.op:
        case PullSource():
            return "let from_iterable(…, blocking=True) read it in a thread"
        case StepOp() | StepSink() | FillingSink() | SplitOp():
            return "let map_blocking call its function in a thread or a process"
        case _:
            return (
                "let it await trio.lowlevel.checkpoint() now and then, or leave the work to"
                " trio.to_thread.run_sync or map_blocking"
            )
