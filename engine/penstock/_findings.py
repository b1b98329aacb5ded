"""What can be said against a pipeline without running it. Pure.

Errors are what can't be run, warnings what will go wrong in time, hints what may not be meant so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ._errors import Location
from ._meeting import find_shortages
from ._plan import faults
from ._spec import (
    Gathered,
    JoinOp,
    Node,
    SinkOp,
    StepControl,
    StepSink,
    ancestors,
)

Level: TypeAlias = Literal["error", "warning", "hint"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a pipeline, or may be.

    Attributes:
        level: ``error`` where it can't be run, ``warning`` where it will go wrong in time, ``hint``
            where something else may have been meant.
        stage: the stage's name, as in reports.
        problem: what is wrong, and what to do about it.
        where: the line the stage was written on, where it is known.
    """

    level: Level
    stage: str
    problem: str
    where: Location | None

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.level}: {self.stage}: {self.problem}{place}"


def findings(end: Node, *, served: bool = False) -> tuple[Finding, ...]:
    """What there is to say about the pipeline, or the stream, that ends in ``end``.

    ``served`` says that a server runs it for a topic: for ever, and again whenever it failed.
    """
    return tuple(_of(end, served=served))


def _of(end: Node, *, served: bool) -> Iterator[Finding]:
    for error in faults(_closed(end)):
        yield Finding("error", error.stage, error.problem, error.where)
    for shortage in find_shortages([end]):
        if shortage.level != "error":  # else it is a fault
            join = shortage.hazard.join
            yield Finding(shortage.level, join.name, shortage.problem, join.where)
    nodes = [node for node in ancestors(end) if not isinstance(node.op, Gathered)]
    endless = _endless_sources(nodes)
    for node in nodes:
        source = endless[id(node)]
        yield from _about_memory(node, source)
        yield from _about_the_end(node, source)
        for side in node.sides:
            beside = Node(side.name, side.op, (node,), node.where, side.traits)
            yield from _about_memory(beside, source)
            yield from _about_the_end(beside, source)
    if served:
        yield from _about_failures(nodes)


def _closed(end: Node) -> Node:
    """The end of a pipeline; a stream gets a sink."""
    if isinstance(end.op, SinkOp | Gathered):
        return end
    return Node("topic", StepSink(_no_sink), (end,), end.where)


def _no_sink(control: StepControl) -> Any:  # pragma: no cover - only planned
    raise AssertionError("a check is not run")


def _endless_sources(nodes: list[Node]) -> dict[int, Node | None]:
    """For each stage the source that keeps its stream from ever ending, if one does."""
    found: dict[int, Node | None] = {}
    for node in nodes:
        sources = [found[id(each)] for each in node.inputs]
        there = [each for each in sources if each is not None]
        if not node.inputs:
            found[id(node)] = node if node.traits.endless else None
        elif node.traits.ends or not there:
            found[id(node)] = None
        elif isinstance(node.op, JoinOp) and not node.op.one_by_one:
            # It may end with the first of its inputs, or with the last.
            found[id(node)] = there[0] if len(there) == len(sources) else None
        else:
            found[id(node)] = there[0]
    return found


def _about_memory(node: Node, endless: Node | None) -> Iterator[Finding]:
    grows = node.traits.grows
    if not grows:
        return
    if not isinstance(node.op, SinkOp):
        yield Finding("warning", node.name, f"its memory grows {grows}", node.where)
    elif endless is not None:
        problem = f"its memory grows {grows}, and {endless.name} never ends"
        yield Finding("warning", node.name, problem, node.where)


def _about_the_end(node: Node, endless: Node | None) -> Iterator[Finding]:
    if node.traits.at_end and endless is not None:
        problem = (
            f"{node.traits.at_end} appears when the stream has ended, and {endless.name} never"
            " does; a run that is stopped (run.stop(), Ctrl-C in penstock run) ends it"
        )
        yield Finding("hint", node.name, problem, node.where)


def _about_failures(nodes: list[Node]) -> Iterator[Finding]:
    failing = [node for node in nodes if node.traits.fails]
    if failing:
        names = ", ".join(dict.fromkeys(node.name for node in failing))
        problem = (
            "an error here ends the run, and the topic starts anew;"
            ' errors="skip", retry(…) or dead_letter(sink) leave out only that item'
        )
        yield Finding("hint", names, problem, failing[0].where)
