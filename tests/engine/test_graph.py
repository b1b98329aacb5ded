from __future__ import annotations

from typing import Any

import penstock as ps


async def look_up(item: Any) -> Any:
    return item


def describe(item: object) -> str:
    return f"{item}"


pipeline = (
    ps.from_iterable(range(3))
    .map(describe)
    .buffer(5, "drop_oldest")
    .filter(len)
    .map_async(look_up, 2)
    .to(ps.collect())
)


def test_text_has_a_line_for_each_task() -> None:
    assert pipeline.graph().text("look up") == (
        "look up\n"
        "task 1: from_iterable → map(describe) ⇒ 5, drop_oldest ⇒ task 2\n"
        "task 2: buffer → filter(len) ⇒ 5 ⇒ task 3\n"
        "task 3: map_async(look_up) → collect\n"
    )


def test_mermaid_draws_a_box_for_each_task_and_labels_channels() -> None:
    text = pipeline.graph().mermaid("look up")
    assert text.startswith('---\ntitle: "look up"\n---\nflowchart LR\n')
    assert 'subgraph task0["task 1"]' in text
    assert 'n1["map(describe)"]' in text
    assert "n0 --> n1\n" in text
    assert 'n1 -->|"5, drop_oldest"| n2' in text


def test_mermaid_escapes_a_lambda() -> None:
    text = ps.from_iterable([1]).map(lambda item: item).graph().mermaid()
    assert 'n1["map(&lt;lambda&gt;)"]' in text


def test_dot_draws_clusters_and_quotes_names() -> None:
    text = pipeline.graph().dot('a "title"')
    assert text.startswith('digraph "a \\"title\\"" {')
    assert "subgraph cluster_2" in text
    assert 'n1 -> n2 [label="5, drop_oldest"];' in text
    assert text.endswith("}\n")


def test_a_stream_without_a_sink_is_drawn_without_one() -> None:
    graph = ps.from_iterable([1]).map(describe).graph()
    assert [node.name for node in graph.nodes] == ["from_iterable", "map(describe)"]
    assert len(graph.edges) == 1


def test_a_merge_is_drawn_with_all_its_streams() -> None:
    a, b = ps.from_iterable([1]), ps.from_iterable([2])
    graph = a.merge(b).to(ps.collect()).graph()
    assert [(edge.source, edge.target) for edge in graph.edges] == [(2, 3), (0, 2), (1, 2)]


def test_each_stage_knows_the_line_it_was_written_on() -> None:
    node = pipeline.graph().nodes[1]
    assert node.where is not None
    assert node.where.file == __file__


one, two = ps.from_iterable(range(9)).map(describe).broadcast(2, buffer=5)
branched = ps.gather(
    one.filter(len).map_async(look_up, 2).to(ps.collect()),
    two.buffer(1, "drop_oldest").zip(ps.from_iterable("ab")).to(ps.count()),
)


def test_the_text_of_a_split_names_each_branch_it_feeds() -> None:
    assert branched.graph().text() == (
        "task 1: from_iterable → map(describe) → broadcast"
        " ⇒ 5 ⇒ task 2 and ⇒ 1, drop_oldest ⇒ task 4\n"
        "task 2: broadcast[0] → filter(len) ⇒ 5 ⇒ task 3\n"
        "task 3: map_async(look_up) → collect\n"
        "task 4: broadcast[1] → buffer ⇒ 1 ⇒ task 6\n"
        "task 5: from_iterable ⇒ 1,024 ⇒ task 6\n"
        "task 6: zip → count\n"
    )


def test_mermaid_draws_an_arrow_to_each_branch() -> None:
    text = branched.graph().mermaid()
    assert 'n2["broadcast"]' in text
    arrows = [line.strip() for line in text.splitlines() if line.startswith("  n2 ")]
    assert arrows == ['n2 -->|"5"| n3', 'n2 -->|"1, drop_oldest"| n7']
    assert text.count("subgraph") == text.count("  end\n") == 6


def test_dot_draws_both_inputs_of_a_join() -> None:
    text = branched.graph().dot()
    assert 'n2 -> n3 [label="5"];' in text
    assert 'n8 -> n10 [label="1"];' in text
    assert 'n9 -> n10 [label="1,024"];' in text


def test_branches_that_meet_again_are_drawn_from_one_split() -> None:
    one, two = ps.from_iterable(range(9)).broadcast(2)
    graph = one.concat(two.buffer(9)).graph()
    names = [node.name for node in graph.nodes]
    assert names == [
        "from_iterable",
        "broadcast",
        "broadcast[0]",
        "broadcast[1]",
        "buffer",
        "concat",
    ]
    edges = [(names[edge.source], names[edge.target]) for edge in graph.edges]
    assert sorted(edges) == [
        ("broadcast", "broadcast[0]"),
        ("broadcast", "broadcast[1]"),
        ("broadcast[0]", "concat"),
        ("broadcast[1]", "buffer"),
        ("buffer", "concat"),
        ("from_iterable", "broadcast"),
    ]


def test_a_branch_is_drawn_without_the_others() -> None:
    matching, _others = ps.from_iterable(range(9)).partition(describe)
    assert matching.map(describe).graph().text() == (
        "task 1: from_iterable → partition(describe) → partition ⇒ 1,024 ⇒ task 2\n"
        "task 2: partition.matching → map(describe)\n"
    )
