"""From the graph of stages to the tasks that run it: fusion. Pure.

A *segment* is what one task does: a head (a source, a task operator, a task sink, or a mere relay
behind a boundary), then the element operators fused behind it, then a fused sink or the channel of
the next segment. The rules:

- an element operator joins the segment that feeds it;
- a task operator, a task sink and a boundary start a segment behind a channel of their own;
- a boundary directly before a task operator or a task sink is that one's channel: a buffer that
  drops what is old would be no use with a second, ordinary one behind it;
- for the same reason an ordinary channel behind a small buffer holds no more than that buffer;
- a stream used twice is two sets of stages;
- a head that sends single items (a user's async generator) isn't fused with what follows: a relay
  behind a channel gathers its items into chunks first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ._errors import PipelineError
from ._spec import (
    Boundary,
    Inlet,
    Node,
    PullSource,
    PushSource,
    StepOp,
    StepSink,
    TaskOp,
    TaskSink,
)

Head: TypeAlias = PullSource | PushSource | TaskOp | TaskSink | Boundary


@dataclass(slots=True)
class Segment:
    """One task. ``inlet`` and ``outlet`` are numbers of channels in the plan.

    ``gate`` is the boundary whose channel the head reads from, where it isn't the head itself.
    """

    head: Node
    gate: Node | None = None
    inlet: int | None = None
    relay: bool = False
    steps: list[Node] = field(default_factory=list[Node])
    sink: Node | None = None
    outlet: int | None = None

    @property
    def stages(self) -> list[Node]:
        """Its nodes in the order of the data; a relay's head belongs to the segment before it."""
        gate = [] if self.gate is None else [self.gate]
        head = [] if self.relay else [self.head]
        sink = [] if self.sink is None else [self.sink]
        return [*gate, *head, *self.steps, *sink]


@dataclass(frozen=True, slots=True)
class Plan:
    """Segments in the order of the data, and the inlets of the channels between them."""

    segments: tuple[Segment, ...]
    channels: tuple[Inlet, ...]

    def upstream(self, segment: Segment) -> list[Segment]:
        """The segments that send into this one's channel."""
        if segment.inlet is None:
            return []
        return [each for each in self.segments if each.outlet == segment.inlet]

    def reader(self, segment: Segment) -> Node | None:
        """The first stage behind this segment's channel."""
        if segment.outlet is None:
            return None
        return next(each.stages[0] for each in self.segments if each.inlet == segment.outlet)


def plan(end: Node) -> Plan:
    """The plan of the pipeline that ends in the sink ``end``."""
    if not isinstance(end.op, StepSink | TaskSink):
        raise PipelineError(end.name, "a pipeline must end in a sink: .to(collect())", end.where)
    builder = _Builder()
    builder.build(end)
    return Plan(tuple(builder.segments), tuple(builder.channels))


class _Builder:
    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.channels: list[Inlet] = []
        self._placed: set[int] = set()

    def build(self, end: Node) -> Segment:
        """The segment that ``end`` is the last stage of, after everything that feeds it."""
        line = [end]
        while len(line[-1].inputs) == 1:
            line.append(line[-1].inputs[0])
        segment: Segment | None = None
        for node in reversed(line):
            segment = self._extend(segment, self._stage_of_its_own(node))
        assert segment is not None
        return segment

    def _stage_of_its_own(self, node: Node) -> Node:
        stage = replace(node) if id(node) in self._placed else node
        self._placed.add(id(stage))
        return stage

    def _extend(self, feeding: Segment | None, node: Node) -> Segment:
        op: Any = node.op
        match op:
            case PullSource() | PushSource():
                return self._start(Segment(node))
            case StepOp() | StepSink():
                assert feeding is not None
                segment = self._gathered(feeding)
                if isinstance(op, StepOp):
                    segment.steps.append(node)
                else:
                    segment.sink = node
                return segment
            case _:
                feeds = [feeding] if feeding else [self.build(each) for each in node.inputs]
                if feeding and _is_gate_for(feeding, node):
                    feeding.gate, feeding.head = feeding.head, node
                    return feeding
                return self._behind_channel(node, op.inlet, feeds)

    def _gathered(self, feeding: Segment) -> Segment:
        """``feeding``, or a relay behind it where it sends single items."""
        op = feeding.head.op
        by_item = isinstance(op, PushSource | TaskOp) and op.by_item
        if not by_item or feeding.relay:
            return feeding
        segment = self._behind_channel(feeding.head, Inlet(), [feeding])
        segment.relay = True
        return segment

    def _behind_channel(self, head: Node, inlet: Inlet, feeds: list[Segment]) -> Segment:
        number = len(self.channels)
        self.channels.append(self._no_wider_than_the_gate(inlet, feeds))
        for feed in feeds:
            feed.outlet = number
        return self._start(Segment(head, inlet=number))

    def _no_wider_than_the_gate(self, inlet: Inlet, feeds: list[Segment]) -> Inlet:
        gates = [
            self.channels[feed.inlet].capacity
            for feed in feeds
            if feed.inlet is not None and isinstance(feed.head.op, Boundary)
        ]
        if inlet != Inlet() or len(gates) < len(feeds):
            return inlet
        return replace(inlet, capacity=min(inlet.capacity, *gates))

    def _start(self, segment: Segment) -> Segment:
        self.segments.append(segment)
        return segment


def _is_gate_for(feeding: Segment, node: Node) -> bool:
    """Whether ``feeding`` is a bare boundary that may be the channel of the task ``node``."""
    return (
        isinstance(node.op, TaskOp | TaskSink)
        and node.op.inlet == Inlet()
        and isinstance(feeding.head.op, Boundary)
        and not feeding.steps
    )
