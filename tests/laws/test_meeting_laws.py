"""Branches that meet again: what the check lets through never waits for ever, and gives what plain
lists give.

Random graphs of sources, splits, operators and joins run with channels of one to three items each.
Nothing in them sleeps for longer than an hour, so a clock that jumps to a day later tells a
deadlock at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, chain, zip_longest
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps
from penstock import _run
from penstock._meeting import find_hazard
from penstock._plan import plan
from penstock._spec import DEFAULT_CAPACITY, Node

Items: TypeAlias = list[int]
Step: TypeAlias = tuple[str, int, int, int]
"""What is done, to which of the open streams, with which other one, and a number to vary it."""

MANY = 100_000
A_DAY = 86_400.0


@ps.producer(chunked=True)
async def in_chunks(send: ps.Sender[int], values: Items, size: int) -> None:
    for at in range(0, len(values), size):
        await send.chunk(values[at : at + size])


async def later(item: int) -> int:
    await trio.sleep(item % 3)
    return item


def mixed(items: tuple[int, ...]) -> int:
    return sum((n + 1) * item for n, item in enumerate(items)) % 97


def repeat(times: int, item: int) -> Items:
    return [item] * (item % (times + 1))


@dataclass
class Bench:
    """Streams that are not ended yet, each with the list that it should give."""

    buffered: set[int]
    open: list[tuple[ps.Stream[int], Items]] = field(default_factory=list)
    branches: dict[int, int] = field(default_factory=dict)

    def branch(self, stream: ps.Stream[int]) -> ps.Stream[int]:
        """Note a branch; with a buffer behind it where one was asked for."""
        number = len(self.branches)
        self.branches[id(stream._node)] = number
        return stream.buffer(MANY) if number in self.buffered else stream

    def do(self, step: Step) -> None:
        kind, one, two, n = step
        stream, items = self.open.pop(one % len(self.open))
        if kind in _ALONE:
            self.open += _ALONE[kind](self, stream, items, n)
        elif self.open:
            other, others = self.open.pop(two % len(self.open))
            self.open += _TOGETHER[kind](stream, items, other, others)
        else:
            self.open.append((stream, items))

    def pipeline(self) -> ps.Pipeline[Any]:
        return ps.gather(*(stream.to(ps.collect()) for stream, _ in self.open))


Open: TypeAlias = list[tuple[ps.Stream[int], Items]]


def _broadcast(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    branches = stream.broadcast(2 + n % 2, buffer=1 + n)
    return [(bench.branch(branch), items) for branch in branches]


def _partition(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    matching, others = stream.partition(lambda item: item % (n + 2))
    return [
        (bench.branch(matching), [item for item in items if item % (n + 2)]),
        (bench.branch(others), [item for item in items if not item % (n + 2)]),
    ]


def _map(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    return [(stream.map(lambda item: item + n), [item + n for item in items])]


def _map_async(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    return [(stream.map_async(later, 1 + n), items)]


def _filter(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    return [(stream.filter(lambda i: i % (n + 2)), [item for item in items if item % (n + 2)])]


def _flat_map(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    f = partial(repeat, n)
    return [(stream.flat_map(f), list(chain.from_iterable(map(f, items))))]


def _batch(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    batches = [items[at : at + n + 1] for at in range(0, len(items), n + 1)]
    return [(stream.batch(n + 1).map(sum), [sum(batch) for batch in batches])]


def _take(bench: Bench, stream: ps.Stream[int], items: Items, n: int) -> Open:
    return [(stream.take(3 * n), items[: 3 * n])]


def _zip(one: ps.Stream[int], ones: Items, two: ps.Stream[int], twos: Items) -> Open:
    return [(one.zip(two).map(mixed), [mixed(pair) for pair in zip(ones, twos, strict=False)])]


def _interleave(one: ps.Stream[int], ones: Items, two: ps.Stream[int], twos: Items) -> Open:
    rounds = zip_longest(ones, twos)
    result = [item for pair in rounds for item in pair if item is not None]
    return [(one.interleave(two), result)]


def _concat(one: ps.Stream[int], ones: Items, two: ps.Stream[int], twos: Items) -> Open:
    return [(one.concat(two), ones + twos)]


def _merge(one: ps.Stream[int], ones: Items, two: ps.Stream[int], twos: Items) -> Open:
    # The order is a matter of luck: what is zipped with it must not depend on it.
    return [(one.merge(two).map(lambda _: 1), [1 for _ in ones + twos])]


def _merge_sorted(one: ps.Stream[int], ones: Items, two: ps.Stream[int], twos: Items) -> Open:
    def add(total: int, item: int) -> int:
        return total + item

    merged = one.scan(0, add).merge_sorted(two.scan(0, add))
    return [(merged, sorted([*accumulate(ones), *accumulate(twos)]))]


_ALONE: dict[str, Callable[[Bench, ps.Stream[int], Items, int], Open]] = {
    "broadcast": _broadcast,
    "map": _map,
    "map_async": _map_async,
    "partition": _partition,
    "filter": _filter,
    "flat_map": _flat_map,
    "batch": _batch,
    "take": _take,
}
_TOGETHER: dict[str, Callable[[ps.Stream[int], Items, ps.Stream[int], Items], Open]] = {
    "zip": _zip,
    "interleave": _interleave,
    "concat": _concat,
    "merge": _merge,
    "merge_sorted": _merge_sorted,
}
IN_STEP = ["broadcast", "broadcast", "map", "map_async", "zip", "zip"]


def bench(sources: list[tuple[Items, int]], steps: list[Step], buffered: set[int]) -> Bench:
    result = Bench(buffered)
    result.open = [(in_chunks(items, size), items) for items, size in sources]
    for step in steps:
        result.do(step)
    return result


@contextmanager
def narrow_channels(capacities: Items, unchecked: bool) -> Iterator[None]:
    """Channels of few items, where nothing else was asked for."""

    def narrow(end: Node) -> Any:
        planned = plan(end, drawing=unchecked)
        channels = tuple(
            replace(inlet, capacity=capacities[number % len(capacities)])
            if inlet.capacity == DEFAULT_CAPACITY
            else inlet
            for number, inlet in enumerate(planned.channels)
        )
        return replace(planned, channels=channels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "plan", narrow)
        yield


def run(pipeline: ps.Pipeline[Any], capacities: Items, *, unchecked: bool = False) -> Any:
    """The results, or "deadlock"."""

    async def main() -> Any:
        with trio.move_on_after(A_DAY):
            return await pipeline.run()
        return "deadlock"

    with narrow_channels(capacities, unchecked):
        return trio.run(main, clock=MockClock(autojump_threshold=0))


few = st.integers(0, 3)
lengths = st.sampled_from([40, 20, 5, 1, 0])
items = lengths.map(lambda length: [7 * n % 20 for n in range(length)])
sources = st.lists(st.tuples(items, st.sampled_from([7, 20, 1])), min_size=1, max_size=2)
capacities = st.lists(st.integers(1, 3), min_size=1, max_size=4)


def steps(kinds: list[str]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.tuples(st.sampled_from(kinds), few, few, few), min_size=4, max_size=12)


@given(sources, steps(IN_STEP), capacities)
def test_branches_that_keep_in_step_are_let_through_and_end(
    given_sources: list[tuple[Items, int]], chosen: list[Step], channels: Items
) -> None:
    made = bench(given_sources, chosen, set())
    assert find_hazard([stream.to(ps.collect())._node for stream, _ in made.open]) is None
    assert run(made.pipeline(), channels) == tuple(items for _, items in made.open)


@given(sources, steps([*_ALONE, *_TOGETHER, "zip", "broadcast"]), capacities)
def test_with_room_where_the_check_wants_it_any_branches_end(
    given_sources: list[tuple[Items, int]], chosen: list[Step], channels: Items
) -> None:
    buffered: set[int] = set()
    while True:
        made = bench(given_sources, chosen, buffered)
        hazard = find_hazard([stream.to(ps.collect())._node for stream, _ in made.open])
        if hazard is None:
            break
        number = made.branches[id(hazard.branch)]
        assert number not in buffered, "a buffer answers what the check asks for"
        buffered.add(number)
    assert run(made.pipeline(), channels) == tuple(items for _, items in made.open)


@pytest.mark.parametrize(
    ("join", "result"),
    [
        (lambda one, two: one.filter(bool).zip(two), "deadlock"),
        (lambda one, two: one.concat(two), "deadlock"),
        (lambda one, two: one.flat_map(lambda n: [n] * 9).zip(two), "deadlock"),
        (lambda one, two: one.merge_sorted(two.map(lambda _: 0)), "deadlock"),
        (lambda one, two: one.zip(two), [(0, 0)] * 20),
    ],
)
def test_what_the_check_refuses_can_wait_for_ever(
    join: Callable[[ps.Stream[int], ps.Stream[int]], ps.Stream[Any]], result: Any
) -> None:
    """And the clock tells."""
    one, two = in_chunks([0] * 20, 3).broadcast(2, buffer=2)
    pipeline = join(one, two).to(ps.collect())
    assert run(pipeline, [1], unchecked=True) == result


def test_a_way_that_leads_to_a_later_part_of_a_concat_is_open_from_the_start() -> None:
    """Found by the laws: behind a source that others need, nothing may wait for its turn."""
    first = in_chunks([0] * 10, 1)
    one, two = in_chunks([0] * 10, 1).broadcast(2, buffer=1)
    three, four = two.broadcast(2, buffer=1)
    later = three.buffer(MANY).zip(four.buffer(MANY))
    joined = first.zip(one).concat(later).to(ps.collect())
    assert run(joined, [1]) == [(0, 0)] * 20
