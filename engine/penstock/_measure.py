"""What a run looks like from outside: from the counts of its tasks to frozen snapshots."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import perf_counter

from ._channel import Channel
from ._ledger import Entry, entries
from ._plan import Plan
from ._probe import Probe
from ._segment import SegmentTask
from ._spec import (
    Boundary,
    Branch,
    Node,
    PullSource,
    PushSource,
    SinkOp,
)
from ._stats import BufferStats, StageStats

_BARE = (Boundary, Branch)
_SOURCES = (PullSource, PushSource)
_NEAR = 0.9
_SATURATED = 0.75
_LATELY = 2.0
_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """A run at one moment; see `RunStats`."""

    stages: tuple[StageStats, ...]
    buffers: tuple[BufferStats, ...]
    bottleneck: str | None


class Measure:
    """Reads the counts of one run, at any time."""

    def __init__(
        self,
        plan: Plan,
        tasks: list[SegmentTask],
        probes: dict[int, Probe],
        channels: list[Channel],
    ) -> None:
        self._plan = plan
        self._tasks = tasks
        self._probes = probes
        self._channels = channels
        nodes = [node for task in tasks for node in task.segment.stages]
        self._names = _unique_names(nodes)
        self._sources = {
            self._names[id(each)]
            for each in nodes
            if isinstance(each.op, _SOURCES) and not probes[id(each)].is_plain
        }
        self._moved = Lately()
        self._passed = Lately()
        self._loop = Lately()
        self._busy = Lately()
        self._working = Lately()

    def look(self, started: float, ended: float | None) -> Seen:
        """A run that started, and perhaps ended, at these times of ``perf_counter``.

        Rates and the bottleneck are those of the last seconds; of a run that is over, those of all
        its time.
        """
        now = perf_counter() if ended is None else ended
        span = Span(started, now, is_over=ended is not None)
        stages = self._stages(span)
        return Seen(stages, self._buffers(span), self._bottleneck(stages, span))

    def _stages(self, span: Span) -> tuple[StageStats, ...]:
        found = [
            (number, node, entry)
            for number, task in enumerate(self._tasks)
            for node, entry in entries(task, self._probes)
        ]
        moved = [
            float(entry.absorbed if isinstance(node.op, SinkOp) else entry.out)
            for _, node, entry in found
        ]
        rates = self._moved.rates(span, moved)
        return tuple(
            self._stage(number, node, entry, rate, span)
            for (number, node, entry), rate in zip(found, rates, strict=True)
        )

    def _stage(self, number: int, node: Node, entry: Entry, rate: float, span: Span) -> StageStats:
        task, probe = self._tasks[number], self._probes[id(node)]
        is_first = node is task.segment.stages[0]
        return StageStats(
            name=self._names[id(node)],
            task=number,
            items_in=entry.came,
            items_out=entry.out,
            made=entry.made,
            absorbed=entry.absorbed,
            held=entry.held,
            errors=probe.errors,
            skipped=probe.skipped_items,
            retried=probe.retries,
            dead_lettered=probe.dead_lettered,
            late=probe.late,
            dropped=entry.dropped,
            abandoned=entry.abandoned,
            evicted=probe.evicted_keys,
            rate=rate,
            busy=self._busy_seconds(task, node, span),
            wait_in=_waiting_in(task) if is_first else 0.0,
            wait_out=self._waiting_out(task) if is_first else 0.0,
            held_the_loop=probe.held_the_loop,
            held_the_loop_longest=probe.held_the_loop_longest,
            where=node.where,
        )

    def _buffers(self, span: Span) -> tuple[BufferStats, ...]:
        rates = self._passed.rates(span, [float(each.passed) for each in self._channels])
        return tuple(
            BufferStats(
                before=self._names[id(task.segment.gate)],
                after=self._senders(number),
                capacity=self._channels[number].capacity,
                held=len(self._channels[number]),
                peak=self._channels[number].peak,
                passed=self._channels[number].passed,
                rate=rates[number],
                dropped=self._channels[number].dropped,
                send_wait=self._channels[number].send_waits.seconds,
                receive_wait=self._channels[number].receive_waits.seconds,
            )
            for task in self._tasks
            for number in task.segment.inlets
        )

    def _senders(self, channel: int) -> tuple[str, ...]:
        feeds = [self._names[id(each.stages[-1])] for each in self._plan.feeds(channel)]
        tellers = [
            self._names[id(node)]
            for each in self._plan.tellers(channel)
            for node in each.stages
            if any(each.sides[side] == channel for side in node.sides)
        ]
        return (*feeds, *tellers)

    # Where the time goes

    def _bottleneck(self, stages: tuple[StageStats, ...], span: Span) -> str | None:
        """Which stage sets the pace; None before anything ran.

        Where the stages take most of the time of the event loop, it is the one that takes most of
        it. Else it is in the task that waits least for its neighbours. A source that waits for its
        time or for a network looks busy all the while: it is named only where no other comes near.
        """
        nodes = [(task, node) for task in self._tasks for node in task.segment.stages]
        loop = self._loop.rates(span, [self._on_the_loop(task, node) for task, node in nodes])
        busy = self._busy.rates(span, [stage.busy for stage in stages])
        tasks = self._working.rates(span, [self._unwaiting(task, span) for task in self._tasks])
        if not any(stage.items_out or stage.items_in for stage in stages):
            return None
        if sum(loop) >= _SATURATED:
            return stages[loop.index(max(loop))].name
        rank = {
            stage.name: (tasks[stage.task], share)
            for stage, share, (_, node) in zip(stages, busy, nodes, strict=True)
            if not isinstance(node.op, _BARE)
        }
        found = max(rank, key=lambda name: rank[name])
        if found in self._sources:
            near = _NEAR * rank[found][0]
            rivals = [
                stage.name
                for stage in stages
                if stage.name in rank
                and rank[stage.name][0] >= near
                and not self._tasks[stage.task].is_source
            ]
            found = max(rivals, key=lambda name: rank[name], default=found)
        return found

    def _on_the_loop(self, task: SegmentTask, node: Node) -> float:
        """Seconds in which a stage had the event loop, as far as it is known without a watchdog."""
        probe = self._probes[id(node)]
        if probe.is_plain:
            return probe.busy
        return max(0.0, task.watched.worked - sum(each.busy for each in task.watched.plain))

    def _busy_seconds(self, task: SegmentTask, node: Node, span: Span) -> float:
        """See `StageStats.busy`."""
        probe = self._probes[id(node)]
        if probe.is_plain:
            return probe.busy
        return max(0.0, self._unwaiting(task, span) - self._fused_work(task))

    def _unwaiting(self, task: SegmentTask, span: Span) -> float:
        """Seconds in which a task waited neither for items nor for room."""
        if task.watched.head is None:
            return sum(each.busy for each in task.watched.plain)
        seconds = (task.ended or span.now) - span.started
        return max(0.0, seconds - _waiting_in(task) - self._waiting_out(task))

    def _fused_work(self, task: SegmentTask) -> float:
        """Seconds in the functions of the fused stages."""
        sink = [] if task.segment.sink is None else [task.segment.sink]
        return sum(self._probes[id(node)].busy for node in (*task.segment.steps, *sink))

    def _waiting_out(self, task: SegmentTask) -> float:
        """A task's share of the waits for room, where it is not the only one that sends there."""
        outlets = [number for number in task.segment.outlets if number is not None]
        return sum(
            self._channels[number].send_waits.seconds / len(self._senders(number))
            for number in (*outlets, *task.segment.sides.values())
        )


def _waiting_in(task: SegmentTask) -> float:
    return sum(inlet.receive_waits.seconds for inlet in task.inlets)


@dataclass(frozen=True, slots=True)
class Span:
    """The time of a run until now, or all of it."""

    started: float
    now: float
    is_over: bool


class Lately:
    """How much a second numbers have grown by: those of the last seconds in which somebody looked,
    or, once the run is over, of all its time.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, list[float]]] = deque()

    def rates(self, span: Span, values: list[float]) -> list[float]:
        """The rates of the numbers that are ``values`` now, and were 0 at the start."""
        looks = self._looks
        if not looks or span.is_over:
            looks.clear()
            looks.append((span.started, [0.0] * len(values)))
        while len(looks) > 1 and span.now - looks[1][0] >= _LATELY:
            looks.popleft()
        since, before = looks[0]
        if span.now - looks[-1][0] >= _BETWEEN_LOOKS:
            looks.append((span.now, values))
        seconds = max(span.now - since, 1e-9)
        return [(new - old) / seconds for new, old in zip(values, before, strict=True)]


def _unique_names(nodes: list[Node]) -> dict[int, str]:
    """``map(parse)``, then ``map(parse)#2`` for the next stage of that name."""
    seen: dict[str, int] = {}
    names: dict[int, str] = {}
    for node in nodes:
        seen[node.name] = seen.get(node.name, 0) + 1
        count = seen[node.name]
        names[id(node)] = node.name if count == 1 else f"{node.name}#{count}"
    return names
