"""Where the items of each stage are, from the counts of its task.

The stages of a task are gone through in the order of the data: what one gave on is what the next
was sent. What left a stage, or was left out, was counted when it happened; what the stage still has
in its hands it tells itself, or its kind does. The rest is what it absorbed, or, where it gave more
than it took, what it made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ._probe import Probe
from ._segment import SegmentTask
from ._spec import (
    Boundary,
    Branch,
    FillingSink,
    JoinOp,
    Node,
    PullSource,
    PushSource,
    SplitOp,
    StepOp,
    StepSink,
)


@dataclass(slots=True)
class Entry:
    """The items of one stage; see `StageStats`."""

    came: int = 0
    out: int = 0
    made: int = 0
    absorbed: int = 0
    held: int = 0
    dropped: int = 0
    abandoned: int = 0


def entries(task: SegmentTask, probes: dict[int, Probe]) -> Iterator[tuple[Node, Entry]]:
    """Each stage of a task and where its items are."""
    entry = _sent_to(task)
    reached = entry.came - entry.held - entry.dropped - entry.abandoned
    stages = task.segment.stages
    if task.segment.gate is not stages[0]:  # a branch whose channel is that of the buffer behind it
        yield stages.pop(0), Entry(came=entry.came, out=entry.came)
    for node in stages:
        if isinstance(node.op, Boundary | Branch):
            entry.out = reached
        else:
            _count(entry, reached, task, probes[id(node)])
        if task.ended is not None:
            entry.abandoned += entry.held
            entry.held = 0
        yield node, entry
        reached = entry.out
        entry = Entry(came=reached)


def _sent_to(task: SegmentTask) -> Entry:
    """What was sent to a task, and what of it waits or was lost on the way."""
    sent = Entry(held=task.held)
    for inlet in task.inlets:
        sent.came += inlet.passed + inlet.in_line + inlet.turned_away
        sent.held += len(inlet) + inlet.in_line
        sent.dropped += inlet.dropped
        sent.abandoned += inlet.abandoned + inlet.turned_away
    return sent


def _count(entry: Entry, reached: int, task: SegmentTask, probe: Probe) -> None:
    op = probe.node.op
    entry.out = probe.items_out
    entry.dropped += probe.dropped_items
    entry.abandoned += probe.abandoned
    if isinstance(op, StepOp | StepSink | FillingSink | SplitOp):
        entry.held += reached - probe.items_in + _told(probe)
    elif not isinstance(op, PullSource | PushSource):
        entry.held += _in_hand(entry, task, probe)
    rest = _rest(entry, probe)
    entry.absorbed = max(0, rest)
    entry.made = max(0, -rest)


def _in_hand(entry: Entry, task: SegmentTask, probe: Probe) -> int:
    """How many of the items that a task operator took it has still, or had at its early end.

    One that doesn't say has what it was given last, until it asks for more.
    """
    missing = max(0, _rest(entry, probe))
    if probe.node.traits.each:
        return missing
    if task.ended_well and not isinstance(probe.node.op, JoinOp):
        return 0  # a join may end with what one of its inputs was ahead of another
    return _told(probe) if probe.holders else min(missing, max(0, task.lent - probe.abandoned))


def _told(probe: Probe) -> int:
    """What the operator says; it doesn't know that an item it waits for is a dead letter now."""
    return max(0, sum(held() for held in probe.holders) - probe.telling)


def _rest(entry: Entry, probe: Probe) -> int:
    left_out = probe.skipped_items + probe.dead_lettered + probe.late
    gone = entry.out + left_out + entry.dropped + entry.abandoned + entry.held
    return entry.came - gone
