"""A pipeline gives what the same operators give on a plain list, however its items are chunked."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import penstock as ps
from penstock._plan import plan
from penstock._spec import Node, ancestors

Items = list[int]
Operator = tuple[
    str, Callable[[ps.Stream[int]], ps.Stream[int]], Callable[[Items], Items]
]  # how it is shown, the operator, and its reference


async def same(item: int) -> int:
    return item


def _map(n: int) -> Operator:
    return f"map +{n}", lambda s: s.map(lambda x: x + n), lambda items: [x + n for x in items]


def _filter(n: int) -> Operator:
    return (
        f"filter %{n + 2}",
        lambda s: s.filter(lambda x: x % (n + 2)),
        lambda items: [x for x in items if x % (n + 2)],
    )


def _flat_map(n: int) -> Operator:
    def repeat(x: int) -> Items:
        return [x] * (x % (n + 1))

    return (
        f"flat_map {n}",
        lambda s: s.flat_map(repeat),
        lambda items: [y for x in items for y in repeat(x)],
    )


def _scan(n: int) -> Operator:
    def add(a: int, b: int) -> int:
        return (a + b) % 1009

    return (
        f"scan {n}",
        lambda s: s.scan(n, add),
        lambda items: list(accumulate(items, add, initial=n))[1:],
    )


def _take(n: int) -> Operator:
    return f"take {n}", lambda s: s.take(n), lambda items: items[:n]


def _skip(n: int) -> Operator:
    return f"skip {n}", lambda s: s.skip(n), lambda items: items[n:]


def _batch(n: int) -> Operator:
    size = n + 1

    def weigh(batch: Items) -> int:
        return sum(batch) + len(batch)

    return (
        f"batch {size}",
        lambda s: s.batch(size).map(weigh),
        lambda items: [weigh(items[at : at + size]) for at in range(0, len(items), size)],
    )


def _tap(_n: int) -> Operator:
    return "tap", lambda s: s.tap(lambda _: None), lambda items: items


def _identity(name: str, operator: Callable[[ps.Stream[int]], ps.Stream[int]]) -> Operator:
    return name, operator, lambda items: items


numbers = st.integers(0, 6)
operators = st.builds(
    lambda make, n: make(n),
    st.sampled_from([_map, _filter, _flat_map, _scan, _take, _skip, _batch, _tap]),
    numbers,
)
identities = st.one_of(
    st.integers(1, 5).map(lambda n: _identity(f"buffer {n}", lambda s: s.buffer(n))),
    st.integers(1, 4).map(lambda n: _identity(f"map_async {n}", lambda s: s.map_async(same, n))),
    st.just(_identity("merge with nothing", lambda s: s.merge(ps.from_iterable([])))),
    st.just(_identity("nothing merged with", lambda s: ps.merge(ps.from_iterable([]), s))),
)
items = st.lists(st.integers(0, 100), max_size=40)
pipelines = st.lists(st.one_of(operators, identities), max_size=7)


@ps.producer(chunked=True)
async def in_chunks(send: ps.Sender[int], values: Items, sizes: Items) -> None:
    at = turn = 0
    while at < len(values):
        size = sizes[turn % len(sizes)]
        await send.chunk(values[at : at + size])
        at, turn = at + size, turn + 1


@ps.producer
async def one_by_one(values: Items) -> AsyncIterator[int]:
    for value in values:
        yield value


@ps.producer
def pulled(values: Items) -> Iterator[int]:
    yield from values


def sources(values: Items, sizes: Items) -> list[ps.Stream[int]]:
    return [
        in_chunks(values, sizes),
        in_chunks(values, [len(values) or 1]),
        one_by_one(values),
        pulled(values),
        ps.from_iterable(values),
    ]


@given(items, st.lists(st.integers(1, 9), min_size=1, max_size=4), pipelines)
def test_any_pipeline_gives_what_plain_python_gives_for_every_chunking(
    values: Items, sizes: Items, chosen: list[Operator]
) -> None:
    expected = values
    for _, _, reference in chosen:
        expected = reference(expected)
    for source in sources(values, sizes):
        stream = source
        for _, operator, _ in chosen:
            stream = stream.via(operator)
        assert ps.run(stream.to(ps.collect())) == expected


@given(items, items)
def test_a_merge_gives_all_items_of_both_and_keeps_the_order_of_each(
    left: Items, right: Items
) -> None:
    merged = ps.merge(
        ps.from_iterable(left).map(lambda n: ("left", n)),
        ps.from_iterable(right).buffer(2).map(lambda n: ("right", n)),
    )
    result = ps.run(merged.to(ps.collect()))
    assert [n for side, n in result if side == "left"] == left
    assert [n for side, n in result if side == "right"] == right


def streams() -> st.SearchStrategy[ps.Stream[int]]:
    """Streams of any shape: chains, merges of merges, and streams that are used twice."""
    leaves = st.builds(lambda n: sources([n], [1])[n % 5], numbers)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda s, ops: _chain(s, ops), inner, pipelines),
            st.builds(lambda s, t: s.merge(t), inner, inner),
            inner.map(lambda s: s.merge(s)),
        ),
        max_leaves=6,
    )


def _chain(stream: ps.Stream[int], chosen: list[Operator]) -> ps.Stream[int]:
    for _, operator, _ in chosen:
        stream = stream.via(operator)
    return stream


def uses(node: Node) -> Counter[str]:
    """How many stages of each name a plan must have: a node counts once for each use."""
    total = Counter([node.name])
    for each in node.inputs:
        total += uses(each)
    return total


@given(streams(), st.sampled_from([ps.collect(), ps.for_each(print)]))
def test_each_stage_is_in_exactly_one_segment(
    stream: ps.Stream[int], sink: ps.Sink[Any, Any]
) -> None:
    end = stream.to(sink)._node
    result = plan(end)
    stages = [node for segment in result.segments for node in segment.stages]
    assert len({id(node) for node in stages}) == len(stages)
    assert Counter(node.name for node in stages) == uses(end)
    assert {node.name for node in stages} == {node.name for node in ancestors(end)}


@given(streams())
def test_every_channel_has_one_reader_and_every_segment_but_the_last_a_channel(
    stream: ps.Stream[int],
) -> None:
    result = plan(stream.to(ps.collect())._node)
    *before, last = result.segments
    assert last.outlets == []
    assert all(len(segment.outlets) == 1 for segment in before)
    inlets = [number for segment in result.segments for number in segment.inlets]
    assert sorted(inlets) == list(range(len(result.channels)))
    for number in inlets:
        assert result.feeds(number)


@given(streams())
def test_the_graph_shows_every_stage_and_joins_all_of_them(stream: ps.Stream[int]) -> None:
    graph = stream.to(ps.collect()).graph()
    assert Counter(node.name for node in graph.nodes) == uses(stream.to(ps.collect())._node)
    joined = {len(graph.nodes) - 1}  # from the sink upwards
    for _ in graph.nodes:
        joined |= {edge.source for edge in graph.edges if edge.target in joined}
    assert joined == set(range(len(graph.nodes)))
