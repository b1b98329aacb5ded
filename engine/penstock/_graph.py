"""A pipeline drawn: Mermaid, DOT, or text. Pure.

Stages that share a task are drawn in one box; the arrows between boxes are channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from ._errors import Location
from ._plan import Plan, Segment, plan
from ._spec import Node, StepControl, StepSink, TaskSink


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A stage: its name, the number of its task, and the line it was written on."""

    name: str
    task: int
    where: Location | None


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """From one stage to the next, by position in `Graph.nodes`.

    ``capacity`` is the number of items that the channel between them holds; None where the two
    are fused, and ``overflow`` says what a full channel does.
    """

    source: int
    target: int
    capacity: int | None
    overflow: str | None


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
                f'    n{number}["{_mermaid_text(node.name)}"]'
                for number, node in enumerate(self.nodes)
                if node.task == task
            ]
            lines.append("  end")
        for edge in self.edges:
            label = f'|"{_edge_label(edge)}"|' if edge.capacity is not None else ""
            lines.append(f"  n{edge.source} -->{label} n{edge.target}")
        return "\n".join(lines) + "\n"

    def dot(self, title: str = "") -> str:
        """A Graphviz digraph."""
        lines = [f"digraph {_quoted(title or 'pipeline')} {{", "  rankdir=LR; node [shape=box];"]
        for task in sorted({node.task for node in self.nodes}):
            lines.append(f'  subgraph cluster_{task} {{ label="task {task + 1}";')
            lines += [
                f"    n{number} [label={_quoted(node.name)}];"
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
            names = [node.name for node in self.nodes if node.task == task]
            feeds = [
                f" ⇒ {_edge_label(edge)} ⇒ task {self.nodes[edge.target].task + 1}"
                for edge in self.edges
                if self.nodes[edge.source].task == task and edge.capacity is not None
            ]
            lines.append(f"task {task + 1}: {' → '.join(names)}{''.join(feeds)}")
        return "\n".join(lines) + "\n"


def draw(end: Node) -> Graph:
    """The graph of the pipeline or stream that ends in ``end``."""
    is_sink = isinstance(end.op, StepSink | TaskSink)
    # A stream without a sink is drawn as if something fused read it, which is then left out.
    planned = plan(end if is_sink else Node("", StepSink(_no_sink), (end,), end.where))
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
    if segment.inlet is not None and stages:
        inlet = planned.channels[segment.inlet]
        edges += [
            GraphEdge(
                numbers[id(feed.stages[-1])],
                numbers[id(stages[0])],
                inlet.capacity,
                inlet.overflow,
            )
            for feed in planned.upstream(segment)
        ]
    return edges


def _no_sink(control: StepControl) -> NoReturn:  # pragma: no cover - only drawn
    raise AssertionError("a drawing is not run")


def _edge_label(edge: GraphEdge) -> str:
    overflow = "" if edge.overflow in (None, "block") else f", {edge.overflow}"
    return f"{edge.capacity:,}{overflow}"


def _mermaid_text(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
