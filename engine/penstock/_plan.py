"""From the graph of stages to the tasks that run it: fusion. Pure.

A *segment* is what one task does: a head (a source, a task operator, a task sink, or a mere relay
behind a boundary), then the element operators fused behind it, then a fused sink, the channel of
the next segment, or a split with a channel for each branch. The rules:

- an element operator and a split join the segment that feeds them;
- a task operator, a task sink, a boundary and a branch start a segment behind a channel of their
  own, a join behind one for each input;
- a boundary directly before a task operator or a task sink is that one's channel: a buffer that
  drops what is old would be no use with a second, ordinary one behind it; likewise a boundary
  directly behind a branch is the branch's;
- for the same reason an ordinary channel behind a small buffer holds no more than that buffer;
- a stream used twice is two sets of stages, but a split is one stage, whose branches are each
  used once;
- a head that sends single items (a user's async generator) isn't fused with what follows: a relay
  behind a channel gathers its items into chunks first;
- a sink beside the stream (dead letters, late items) is a segment that all stages which name it
  send to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ._errors import PipelineError
from ._meeting import find_hazard, find_shortages
from ._spec import (
    Boundary,
    Branch,
    FillingSink,
    Gathered,
    Inlet,
    JoinOp,
    Node,
    PullSource,
    PushSource,
    Sink,
    SinkOp,
    SplitOp,
    StepOp,
    StepSink,
    TaskOp,
    TaskSink,
)


@dataclass(slots=True, eq=False)
class Segment:
    """One task. ``inlets`` and ``outlets`` are numbers of channels in the plan.

    ``gates`` are the branch and the boundary whose channel the head reads from, where they aren't
    the head themselves.
    ``outlets`` has more than one channel behind a ``split``; None for a branch not yet built.
    ``sides`` are the channels to the sinks beside the stream.
    """

    head: Node
    gates: list[Node] = field(default_factory=list[Node])
    inlets: list[int] = field(default_factory=list[int])
    relay: bool = False
    steps: list[Node] = field(default_factory=list[Node])
    split: Node | None = None
    sink: Node | None = None
    outlets: list[int | None] = field(default_factory=list["int | None"])
    sides: dict[Sink[Any, Any], int] = field(default_factory=dict[Sink[Any, Any], int])

    @property
    def stages(self) -> list[Node]:
        """Its nodes in the order of the data; a relay's head belongs to the segment before it."""
        head = [] if self.relay else [self.head]
        ends = [each for each in (self.split, self.sink) if each is not None]
        return [*self.gates, *head, *self.steps, *ends]

    @property
    def gate(self) -> Node:
        """The stage that its channel belongs to: a buffer directly behind a branch, or the first.

        Behind a join they are the channels of that.
        """
        first, *rest = self.stages
        behind_branch = isinstance(first.op, Branch) and rest and isinstance(rest[0].op, Boundary)
        return rest[0] if behind_branch else first


@dataclass(frozen=True, slots=True)
class Plan:
    """Segments in the order of the data, and the inlets of the channels between them.

    ``ends`` are the segments whose sinks' results are the pipeline's; ``gathered`` says whether
    they make a tuple.
    """

    segments: tuple[Segment, ...]
    channels: tuple[Inlet, ...]
    ends: tuple[Segment, ...]
    gathered: bool

    def feeds(self, channel: int) -> list[Segment]:
        """The segments that send into a channel with their stream."""
        return [each for each in self.segments if channel in each.outlets]

    def tellers(self, channel: int) -> list[Segment]:
        """The segments that send into a channel beside their stream."""
        return [each for each in self.segments if channel in each.sides.values()]

    def reader(self, channel: int) -> Segment:
        """The segment behind a channel."""
        return next(each for each in self.segments if channel in each.inlets)

    def serving_only(self, channel: int) -> list[Segment]:
        """The segments before a channel that nothing else needs: from their sources on, all their
        items end up in it.
        """
        leading_there = {channel}
        for segment in reversed(self.segments):
            if segment.outlets and leading_there.issuperset(segment.outlets):
                leading_there.update(segment.inlets)
        serving: list[Segment] = []
        fed_by_others: set[int] = set()
        for segment in self.segments:
            sends = {number for number in segment.outlets if number is not None}
            if not fed_by_others.isdisjoint(segment.inlets) or not sends <= leading_there:
                fed_by_others |= sends
            elif sends:
                serving.append(segment)
        return serving


def plan(end: Node, *, drawing: bool = False) -> Plan:
    """The plan of the pipeline that ends in the sink ``end``.

    Raises `PipelineError` where it can't be run: it ends in no sink, a branch goes nowhere or is
    used twice, two stages write the same file, branches that meet again could wait for each other
    for ever. With ``drawing``, branches may be left out.
    """
    builder = _Builder()
    last = builder.build_all(_ends(end))
    if not drawing:
        for error in builder.errors(_ends(end)):
            raise error
    gathered = isinstance(end.op, Gathered)
    return Plan(tuple(builder.segments), tuple(builder.channels), tuple(last), gathered)


def faults(end: Node) -> tuple[PipelineError, ...]:
    """Why the pipeline that ends in ``end`` can't be run, all reasons that can be told at once."""
    builder = _Builder()
    try:
        builder.build_all(_ends(end))
    except PipelineError as error:
        return (error,)
    return tuple(builder.errors(_ends(end)))


def _ends(end: Node) -> tuple[Node, ...]:
    return end.inputs if isinstance(end.op, Gathered) else (end,)


class _Builder:
    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.channels: list[Inlet] = []
        self._placed: set[int] = set()
        self._splits: dict[int, Segment] = {}

    def build_all(self, ends: Iterable[Node]) -> list[Segment]:
        """The segments of the sinks; those of the sinks beside the stream are built, too."""
        last: list[Segment] = []
        for each in ends:
            if not isinstance(each.op, SinkOp):
                raise PipelineError(
                    each.name, "a pipeline must end in a sink: .to(collect())", each.where
                )
            last.append(self.build(each))
        self.build_sides()
        return last

    def build(self, end: Node) -> Segment:
        """The segment that ``end`` is the last stage of, after everything that feeds it."""
        line = [end]
        while len(line[-1].inputs) == 1 and not isinstance(line[-1].op, Branch):
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
            case StepOp() | StepSink() | FillingSink() | SplitOp():
                assert feeding is not None
                segment = self._gathered(feeding)
                if isinstance(op, StepOp):
                    segment.steps.append(node)
                elif isinstance(op, SplitOp):
                    segment.split = node
                    segment.outlets = [None] * op.branches
                else:
                    segment.sink = node
                return segment
            case Branch():
                return self._branch(node, op)
            case JoinOp():
                feeds = [feeding] if feeding else [self.build(each) for each in node.inputs]
                numbers = [self._channel(op.inlet, [feed]) for feed in feeds]
                return self._start(Segment(node, inlets=numbers))
            case _:
                feeds = [feeding] if feeding else [self.build(each) for each in node.inputs]
                if feeding and _is_gate_for(feeding, node):
                    if isinstance(op, Boundary):
                        self.channels[feeding.inlets[0]] = op.inlet
                    feeding.gates.append(feeding.head)
                    feeding.head = node
                    return feeding
                return self._behind_channel(node, op.inlet, feeds)

    def _branch(self, node: Node, op: Branch) -> Segment:
        (split,) = node.inputs
        segment = self._splits.get(id(split))
        if segment is None:
            segment = self._splits[id(split)] = self.build(split)
        if segment.outlets[op.index] is not None:
            raise PipelineError(
                node.name,
                "is used twice, and a branch is one stream; .broadcast(2) makes two of it",
                node.where,
            )
        segment.outlets[op.index] = number = len(self.channels)
        self.channels.append(op.inlet)
        return self._start(Segment(node, inlets=[number]))

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
        return self._start(Segment(head, inlets=[self._channel(inlet, feeds)]))

    def _channel(self, inlet: Inlet, feeds: list[Segment]) -> int:
        number = len(self.channels)
        self.channels.append(self._no_wider_than_the_gate(inlet, feeds))
        for feed in feeds:
            feed.outlets.append(number)
        return number

    def _no_wider_than_the_gate(self, inlet: Inlet, feeds: list[Segment]) -> Inlet:
        gates = [
            self.channels[feed.inlets[0]].capacity
            for feed in feeds
            if feed.inlets and isinstance(feed.head.op, Boundary | Branch)
        ]
        if inlet != Inlet() or not gates or len(gates) < len(feeds):
            return inlet
        return replace(inlet, capacity=min(inlet.capacity, *gates))

    def _start(self, segment: Segment) -> Segment:
        self.segments.append(segment)
        return segment

    def build_sides(self) -> None:
        """The sinks beside the stream, and those beside them."""
        built: dict[Sink[Any, Any], int] = {}
        for segment in self.segments:  # grows while it is gone through
            for node in segment.stages:
                for side in node.sides:
                    if side not in built:
                        built[side] = self._side(side, node)
                    segment.sides[side] = built[side]

    def _side(self, side: Sink[Any, Any], node: Node) -> int:
        number = len(self.channels)
        self.channels.append(Inlet())
        end = Node(side.name, side.op, (node,), node.where, side.traits, side.sides)
        if isinstance(side.op, TaskSink):
            self._start(Segment(end, inlets=[number]))
        else:
            relay = Node(side.name, Boundary(), (node,), node.where)
            self._start(Segment(relay, inlets=[number], relay=True, sink=end))
        return number

    def errors(self, ends: Iterable[Node]) -> Iterator[PipelineError]:
        """Of each split the first branch that goes nowhere; each stage that claims what another
        has; the first way that could fill up, or the buffers that are sure to.
        """
        for segment in self.segments:
            missing = [n for n, number in enumerate(segment.outlets) if number is None]
            if segment.split is not None and missing:
                yield PipelineError(
                    segment.split.name,
                    f"branch {missing[0] + 1} of {len(segment.outlets)} goes nowhere; end each"
                    " branch in a sink and run them together: gather(a.to(…), b.to(…))",
                    segment.split.where,
                )
        yield from self._clashes()
        hazard = find_hazard(ends)
        if hazard is not None:
            yield hazard.error
        else:
            yield from (each.error for each in find_shortages(ends) if each.level == "error")

    def _clashes(self) -> Iterator[PipelineError]:
        having: dict[str, Node] = {}
        for node in (node for segment in self.segments for node in segment.stages):
            claim = node.traits.claim
            if claim is None:
                continue
            other = having.setdefault(claim.thing, node)
            if other is not node:
                place = f" ({other.where})" if other.where else ""
                yield PipelineError(
                    node.name,
                    f"{claim.does} {claim.thing}, and so does {other.name}{place}; {claim.instead}",
                    node.where,
                )


def _is_gate_for(feeding: Segment, node: Node) -> bool:
    """Whether ``feeding`` is a bare boundary that may be the channel of the task ``node``, or a
    bare branch that may be that or the boundary's.
    """
    if feeding.steps or feeding.relay:
        return False
    op = feeding.head.op
    if isinstance(node.op, TaskOp | TaskSink):
        return node.op.inlet == Inlet() and isinstance(op, Boundary | Branch)
    return isinstance(node.op, Boundary) and isinstance(op, Branch)
