"""A pipeline drawn: Mermaid, DOT, or text. Pure.

Stages that share a task are drawn in one box; the arrows between boxes are channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from ._errors import Location
from ._plan import Plan, Segment, plan
from ._spec import (
    Gathered,
    Node,
    SinkOp,
    StepControl,
    StepSink,
)

_MARKED = "#f6c344"
_DOT_MARK = f', style=filled, fillcolor="{_MARKED}"'


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A stage: its name, the number of its task, and the line it was written on.

    Of a pipeline that runs, ``note`` is what to say of it.
    """

    name: str
    task: int
    where: Location | None
    note: str = ""
    is_bottleneck: bool = False


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """From one stage to the next, by position in `Graph.nodes`.

    ``capacity`` is the number of items that the channel between them holds; None where the two
    are fused, and ``overflow`` says what a full channel does. ``held`` items are in it now.
    """

    source: int
    target: int
    capacity: int | None
    overflow: str | None
    held: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """The stages of a pipeline in the order of the data, and the edges between them."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]

    def mermaid(self, title: str = "") -> str:
        """A Mermaid flowchart."""
        lines = ["---", f"title: {_quoted(title)}", "---"] if title else []
        lines.append("flowchart LR")
        for task in sorted({node.task for node in self.nodes}):
            lines.append(f'  subgraph task{task}["task {task + 1}"]')
            lines += [
                f'    n{number}["{_mermaid_label(node)}"]{":::bottleneck" * node.is_bottleneck}'
                for number, node in enumerate(self.nodes)
                if node.task == task
            ]
            lines.append("  end")
        for edge in self.edges:
            label = f'|"{_edge_label(edge)}"|' if edge.capacity is not None else ""
            lines.append(f"  n{edge.source} -->{label} n{edge.target}")
        if any(node.is_bottleneck for node in self.nodes):
            lines.append(f"  classDef bottleneck fill:{_MARKED},stroke:#8a6d00,stroke-width:3px")
        return "\n".join(lines) + "\n"

    def dot(self, title: str = "") -> str:
        """A Graphviz digraph."""
        lines = [f"digraph {_quoted(title or 'pipeline')} {{", "  rankdir=LR; node [shape=box];"]
        for task in sorted({node.task for node in self.nodes}):
            lines.append(f'  subgraph cluster_{task} {{ label="task {task + 1}";')
            lines += [
                f"    n{number} [label={_dot_label(node)}{_DOT_MARK * node.is_bottleneck}];"
                for number, node in enumerate(self.nodes)
                if node.task == task
            ]
            lines.append("  }")
        for edge in self.edges:
            label = f" [label={_quoted(_edge_label(edge))}]" if edge.capacity is not None else ""
            lines.append(f"  n{edge.source} -> n{edge.target}{label};")
        return "\n".join([*lines, "}"]) + "\n"

    def text(self, title: str = "") -> str:
        """One line a task: fused stages joined by ``→``, each task with the channel it feeds."""
        lines = [title] if title else []
        for task in sorted({node.task for node in self.nodes}):
            names = [_text_label(node) for node in self.nodes if node.task == task]
            feeds = [
                f" ⇒ {_edge_label(edge)} ⇒ task {self.nodes[edge.target].task + 1}"
                for edge in self.edges
                if self.nodes[edge.source].task == task and edge.capacity is not None
            ]
            lines.append(f"task {task + 1}: {' → '.join(names)}{' and'.join(feeds)}")
        return "\n".join(lines) + "\n"


def draw(end: Node) -> Graph:
    """The graph of the pipeline or stream that ends in ``end``."""
    is_pipeline = isinstance(end.op, SinkOp | Gathered)
    # A stream without a sink is drawn as if something fused read it, which is then left out.
    closed = end if is_pipeline else Node("", StepSink(_no_sink), (end,), end.where)
    planned = plan(closed, drawing=not is_pipeline)
    numbers: dict[int, int] = {}
    nodes: list[GraphNode] = []
    for task, segment in enumerate(planned.segments):
        for node in segment.stages:
            if node.name:
                numbers[id(node)] = len(nodes)
                nodes.append(GraphNode(node.name, task, node.where))
    edges = [edge for segment in planned.segments for edge in _edges(planned, segment, numbers)]
    return Graph(tuple(nodes), tuple(edges))


def _edges(planned: Plan, segment: Segment, numbers: dict[int, int]) -> list[GraphEdge]:
    stages = [node for node in segment.stages if id(node) in numbers]
    edges = [
        GraphEdge(numbers[id(one)], numbers[id(two)], None, None) for one, two in pairwise(stages)
    ]
    if stages:
        edges += [
            GraphEdge(
                numbers[id(sender)],
                numbers[id(stages[0])],
                planned.channels[number].capacity,
                planned.channels[number].overflow,
            )
            for number in segment.inlets
            for sender in _senders(planned, number)
        ]
    return edges


def _senders(planned: Plan, channel: int) -> list[Node]:
    """The stages that send into a channel: with the stream, or beside it."""
    feeds = [feed.stages[-1] for feed in planned.feeds(channel)]
    tellers = [
        node
        for teller in planned.tellers(channel)
        for node in teller.stages
        if any(teller.sides[side] == channel for side in node.sides)
    ]
    return [*feeds, *tellers]


def _no_sink(control: StepControl) -> NoReturn:  # pragma: no cover - only drawn
    raise AssertionError("a drawing is not run")


def _edge_label(edge: GraphEdge) -> str:
    overflow = "" if edge.overflow in (None, "block") else f", {edge.overflow}"
    held = "" if edge.held is None else f"{edge.held:,} of "
    return f"{held}{edge.capacity:,}{overflow}"


def _text_label(node: GraphNode) -> str:
    note = f" ({node.note})" if node.note else ""
    return f"{node.name}{note}{' ◀ bottleneck' * node.is_bottleneck}"


def _dot_label(node: GraphNode) -> str:
    name = _quoted(node.name)
    return f"{name[:-1]}\\n{_quoted(node.note)[1:]}" if node.note else name


def _mermaid_label(node: GraphNode) -> str:
    note = f"<br/>{_mermaid_text(node.note)}" if node.note else ""
    return _mermaid_text(node.name) + note


def _mermaid_text(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
