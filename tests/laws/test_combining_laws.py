"""Joined and split streams give what plain lists give, however the items are chunked."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from heapq import merge as heapq_merge
from itertools import chain, pairwise, zip_longest
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock as ps

Items = list[int]
Lists = list[Items]


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


async def same(item: int) -> int:
    return item


def source(values: Items, sizes: Items, kind: int) -> ps.Stream[int]:
    """A stream of these values; ``sizes`` and ``kind`` vary how they travel."""
    match kind % 5:
        case 0:
            return in_chunks(values, sizes)
        case 1:
            return one_by_one(values)
        case 2:
            return ps.from_iterable(values)
        case 3:
            return in_chunks(values, sizes).buffer(sizes[0])
        case _:
            return ps.from_iterable(values).map_async(same, sizes[0])


def sources(lists: Lists, sizes: Items) -> list[ps.Stream[int]]:
    return [source(values, sizes, n + sizes[0]) for n, values in enumerate(lists)]


def run(stream: ps.Stream[Any]) -> list[Any]:
    return ps.run(stream.to(ps.collect()))


def in_a_row(given_lists: Lists) -> Items:
    return list(chain.from_iterable(given_lists))


few_examples = settings(max_examples=30)
items = st.lists(st.integers(0, 20), max_size=30)
lists = st.lists(items, min_size=1, max_size=4)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@few_examples
@given(items, sizes)
def test_with_the_empty_stream_a_stream_is_itself(values: Items, chunks: Items) -> None:
    def stream() -> ps.Stream[int]:
        return source(values, chunks, chunks[-1])

    empty: ps.Stream[int] = ps.from_iterable([])
    for join in (ps.concat, ps.merge, ps.interleave):
        assert run(join(stream(), empty)) == values
        assert run(join(empty, stream())) == values
    in_order = sorted(values)
    assert run(ps.merge_sorted(source(in_order, chunks, 0), empty)) == in_order
    assert run(ps.zip(stream(), empty)) == run(ps.combine_latest(empty, stream())) == []


@few_examples
@given(lists, sizes)
def test_concat_gives_the_lists_one_after_the_other(given_lists: Lists, chunks: Items) -> None:
    assert run(ps.concat(*sources(given_lists, chunks))) == in_a_row(given_lists)


@few_examples
@given(items, items, items, sizes)
def test_concat_is_associative(one: Items, two: Items, three: Items, chunks: Items) -> None:
    a, b, c = sources([one, two, three], chunks)
    assert run(a.concat(b).concat(c)) == run(a.concat(b.concat(c))) == one + two + three


@few_examples
@given(lists, sizes)
def test_merge_gives_all_items_of_all(given_lists: Lists, chunks: Items) -> None:
    merged = run(ps.merge(*sources(given_lists, chunks)))
    assert Counter(merged) == Counter(in_a_row(given_lists))


@few_examples
@given(lists, sizes)
def test_zip_is_the_builtin(given_lists: Lists, chunks: Items) -> None:
    zipped = run(ps.zip(*sources(given_lists, chunks)))
    assert zipped == list(zip(*given_lists, strict=False))


@few_examples
@given(lists, sizes)
def test_strict_zip_is_the_builtin_too(given_lists: Lists, chunks: Items) -> None:
    zipped = ps.zip(*sources(given_lists, chunks), strict=True)
    if len({len(values) for values in given_lists}) == 1:
        assert run(zipped) == list(zip(*given_lists, strict=True))
    else:
        with pytest.raises(ps.StageError, match="wants the same number of items from all"):
            run(zipped)


@few_examples
@given(lists, sizes)
def test_interleave_takes_turns(given_lists: Lists, chunks: Items) -> None:
    rounds = zip_longest(*given_lists)
    expected = [item for turn in rounds for item in turn if item is not None]
    assert run(ps.interleave(*sources(given_lists, chunks))) == expected


@few_examples
@given(lists, sizes, st.booleans())
def test_merge_sorted_is_that_of_heapq(given_lists: Lists, chunks: Items, reverse: bool) -> None:
    """With the number of the stream beside each item, to see the order of equal ones."""

    def key(pair: tuple[int, int]) -> int:
        return -pair[0] if reverse else pair[0]

    in_order = [
        sorted(((value, number) for value in values), key=key)
        for number, values in enumerate(given_lists)
    ]
    streams = [
        source([value for value, _ in pairs], chunks, n).map(lambda v, n=n: (v, n))  # type: ignore[misc]  # bound early
        for n, pairs in enumerate(in_order)
    ]
    merged = run(ps.merge_sorted(*streams, key=key))
    assert merged == list(heapq_merge(*in_order, key=key))


@few_examples
@given(lists, sizes)
def test_merge_sorted_names_the_first_item_out_of_order(given_lists: Lists, chunks: Items) -> None:
    merged = ps.merge_sorted(*sources(given_lists, chunks))
    falls = {str(b) for values in given_lists for a, b in pairwise(values) if b < a}
    if not falls:
        assert run(merged) == sorted(in_a_row(given_lists))
    else:
        with pytest.raises(ps.StageError, match="isn't sorted") as caught:
            run(merged)
        assert caught.value.item_repr in falls


@few_examples
@given(lists, sizes)
def test_combine_latest_gives_the_newest_of_each_at_every_item(
    given_lists: Lists, chunks: Items
) -> None:
    """Each tuple differs from the one before in one stream, by the next item of that."""
    numbered = [s.enumerate() for s in sources(given_lists, chunks)]
    tuples = run(ps.combine_latest(*numbered))
    assert bool(tuples) == all(given_lists)
    for one, two in pairwise(tuples):
        assert [b[0] - a[0] for a, b in zip(one, two, strict=True)].count(1) == 1
        assert sum(b[0] - a[0] for a, b in zip(one, two, strict=True)) == 1
    for latest in tuples:
        assert all(values[n] == item for values, (n, item) in zip(given_lists, latest, strict=True))
    if tuples:
        assert [n for n, _ in tuples[-1]] == [len(values) - 1 for values in given_lists]


@few_examples
@given(items, sizes, st.integers(1, 4), st.integers(1, 9))
def test_every_branch_of_a_broadcast_is_the_stream(
    values: Items, chunks: Items, count: int, buffer: int
) -> None:
    branches = source(values, chunks, chunks[-1]).broadcast(count, buffer=buffer)
    results = ps.run(ps.gather(*(branch.to(ps.collect()) for branch in branches)))
    assert results == (values,) * count


@few_examples
@given(items, sizes, st.integers(1, 9))
def test_broadcast_and_zip_give_each_item_twice(values: Items, chunks: Items, buffer: int) -> None:
    one, two = source(values, chunks, chunks[-1]).broadcast(2, buffer=buffer)
    assert run(one.zip(two, strict=True)) == [(value, value) for value in values]


@few_examples
@given(items, sizes, st.integers(1, 5))
def test_partition_keeps_every_item_and_the_order_in_each_part(
    values: Items, chunks: Items, n: int
) -> None:
    parts = source(values, chunks, n).partition(lambda value: value % n)
    matching, others = ps.run(
        ps.gather(parts.matching.to(ps.collect()), parts.others.to(ps.collect()))
    )
    assert matching == [value for value in values if value % n]
    assert others == [value for value in values if not value % n]


@few_examples
@given(items, sizes, st.integers(1, 5))
def test_route_sends_each_item_one_way(values: Items, chunks: Items, n: int) -> None:
    routed = source(values, chunks, n).route(
        lambda value: value % n,
        {
            0: lambda s: s.map(lambda value: ("zero", value)),
            1: lambda s: s.batch(2).flat_map(lambda some: [("one", value) for value in some]),
        },
        otherwise=lambda s: s.map(lambda value: ("other", value)),
    )
    result = run(routed)
    for name, rests in (("zero", {0}), ("one", {1}), ("other", {2, 3, 4})):
        expected = [value for value in values if value % n in rests]
        assert [value for way, value in result if way == name] == expected


@few_examples
@given(lists, sizes)
def test_gather_gives_each_result_in_its_place(given_lists: Lists, chunks: Items) -> None:
    pipelines = [stream.to(ps.collect()) for stream in sources(given_lists, chunks)]
    assert ps.run(ps.gather(*pipelines)) == tuple(given_lists)
