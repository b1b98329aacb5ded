"""What a run looks like from outside: from the counts of its tasks to frozen snapshots."""

from __future__ import annotations

from time import perf_counter

from ._channel import Channel
from ._outlet import Probe
from ._plan import Plan
from ._segment import SegmentTask
from ._spec import Boundary, Node, StepOp, StepSink
from ._stats import BufferStats, StageStats

_NEAR = 0.9


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
        self._names = _unique_names([node for task in tasks for node in task.segment.stages])

    def stages(self, started: float) -> tuple[StageStats, ...]:
        """Every stage of a run that started at ``started`` by ``perf_counter``."""
        return tuple(
            self._stage(number, task, node, started)
            for number, task in enumerate(self._tasks)
            for node in task.segment.stages
        )

    def buffers(self) -> tuple[BufferStats, ...]:
        """Every channel."""
        return tuple(
            BufferStats(
                before=self._names[id(task.segment.stages[0])],
                after=tuple(
                    self._names[id(feed.stages[-1])] for feed in self._plan.upstream(task.segment)
                ),
                capacity=inlet.capacity,
                held=len(inlet),
                peak=inlet.peak,
                passed=inlet.passed,
                dropped=inlet.dropped,
                send_wait=inlet.send_waits.seconds,
                receive_wait=inlet.receive_waits.seconds,
            )
            for task in self._tasks
            if (inlet := task.inlet) is not None
        )

    def bottleneck(self, started: float) -> str | None:
        """The busiest stage, which is in the task that waits least for its neighbours.

        A source that waits for its time or for a network looks busy all the while: it is named only
        where no other task comes near.
        """
        stages = self.stages(started)
        if not any(stage.items_out or stage.items_in for stage in stages):
            return None
        channels = {
            self._names[id(node)]
            for task in self._tasks
            for node in task.segment.stages
            if isinstance(node.op, Boundary)
        }
        working = [stage for stage in stages if stage.name not in channels]
        busiest = max(working or stages, key=lambda stage: stage.busy)
        if self._tasks[busiest.task].inlet is None:
            near = _NEAR * busiest.busy
            rivals = [each for each in working if each.task != busiest.task and each.busy >= near]
            busiest = max(
                (each for each in rivals if self._tasks[each.task].inlet is not None),
                key=lambda stage: stage.busy,
                default=busiest,
            )
        return busiest.name

    def _stage(self, number: int, task: SegmentTask, node: Node, started: float) -> StageStats:
        probe = self._probes[id(node)]
        inlet = task.inlet if node is task.segment.stages[0] else None
        fused = isinstance(node.op, StepOp | StepSink)
        is_gate = node is task.segment.gate
        items_in = probe.items_in if fused else _taken(task)
        busy = probe.busy
        if node is task.segment.head:
            busy = self._unwaiting(task, started)
        return StageStats(
            name=self._names[id(node)],
            task=number,
            items_in=items_in,
            items_out=items_in if is_gate else probe.items_out,
            errors=probe.errors,
            skipped=probe.skipped_items,
            dropped=0 if inlet is None else inlet.dropped,
            abandoned=probe.abandoned + (0 if inlet is None else _left_behind(inlet)),
            busy=busy,
            where=node.where,
        )

    def _unwaiting(self, task: SegmentTask, started: float) -> float:
        """Seconds in which a task waited for neither of its neighbours, nor ran fused stages."""
        seconds = (task.ended or perf_counter()) - started
        if task.inlet is not None:
            seconds -= task.inlet.receive_waits.seconds
        outlet = task.segment.outlet
        if outlet is not None:
            senders = sum(each.outlet == outlet for each in self._plan.segments)
            seconds -= self._channels[outlet].send_waits.seconds / senders
        sink = [] if task.segment.sink is None else [task.segment.sink]
        fused = [*task.segment.steps, *sink]
        return max(0.0, seconds - sum(self._probes[id(node)].busy for node in fused))


def _taken(task: SegmentTask) -> int:
    """Items that a task took from its channel and began to work on."""
    inlet = task.inlet
    if inlet is None:
        return 0
    return inlet.passed - len(inlet) - inlet.dropped - inlet.abandoned - task.held


def _left_behind(inlet: Channel) -> int:
    return inlet.abandoned + inlet.turned_away


def _unique_names(nodes: list[Node]) -> dict[int, str]:
    """``map(parse)``, then ``map(parse)#2`` for the next stage of that name."""
    seen: dict[str, int] = {}
    names: dict[int, str] = {}
    for node in nodes:
        seen[node.name] = seen.get(node.name, 0) + 1
        count = seen[node.name]
        names[id(node)] = node.name if count == 1 else f"{node.name}#{count}"
    return names
