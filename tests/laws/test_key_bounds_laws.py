"""Laws of the bounds of state per key: which key goes, when, and that no other does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps
from penstock.transforms.key_bounds import KeyBounds, Recency

keys = st.lists(st.sampled_from("abcdefg"), max_size=60)
bounds = st.integers(1, 8)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=5)


class Reference:
    """Keys in the order in which they are to go, as a list; its definition, read aloud."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.order: list[str] = []
        self.evicted: list[str] = []

    def touch(self, key: str) -> None:
        if key not in self.order:
            if len(self.order) == self.most:
                self.evicted.append(self.order.pop(0))
            self.order.append(key)
        else:
            self.order.remove(key)
            self.order.append(key)


@given(keys, bounds, st.integers(1, 9), st.booleans())
def test_the_key_touched_longest_ago_goes_first(
    touched: list[str], most: int, numbered: int, ask: bool
) -> None:
    reference, recency = Reference(most), Recency(KeyBounds(most, None), numbered)
    for key in touched:
        if recency.is_full_for(key):
            assert len(recency) == most
            assert recency.oldest == reference.order[0]
            recency.forget(recency.oldest)
        recency.touch(key, 0.0)
        reference.touch(key)
        assert len(recency) == len(reference.order)
        assert all(each in recency for each in reference.order)
        assert not ask or recency.oldest == reference.order[0]


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.booleans()), max_size=60), bounds)
def test_those_that_are_forgotten_change_no_order(
    touches: list[tuple[str, bool]], numbered: int
) -> None:
    recency = Recency(KeyBounds(100, None), numbered)
    order: list[str] = []
    for key, forgotten in touches:
        if key in order:
            order.remove(key)
        if forgotten:
            recency.forget(key)
        else:
            recency.touch(key, 0.0)
            order.append(key)
    for key in order:
        assert recency.oldest == key
        recency.forget(key)
    assert len(recency) == 0


@given(keys, st.integers(7, 20), cuts, bounds)
def test_touching_many_at_once_is_touching_each(
    touched: list[str], most: int, cuts: list[int], numbered: int
) -> None:
    one_by_one = Recency(KeyBounds(most, None), numbered)
    at_once = Recency(KeyBounds(most, None), numbered)
    start = count = 0
    while start < len(touched):
        some = touched[start : start + cuts[count % len(cuts)]]
        start += len(some)
        count += 1
        assert not at_once.is_full_for_any(some)
        at_once.touch_all(some, 1.0)
        for key in some:
            one_by_one.touch(key, 1.0)
    while len(one_by_one):
        assert at_once.oldest == one_by_one.oldest
        at_once.forget(at_once.oldest)
        one_by_one.forget(one_by_one.oldest)
    assert len(at_once) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=30))
def test_with_idle_keys_go_in_the_order_of_their_last_items(
    touches: list[tuple[str, int]],
) -> None:
    recency = Recency(KeyBounds(100, 10.0))
    last: dict[str, float] = {}
    now = 0.0
    for key, seconds in touches:
        now += seconds
        recency.touch(key, now)
        last.pop(key, None)
        last[key] = now
        assert recency.oldest == next(iter(last))
        assert recency.next_idle == last[recency.oldest] + 10


@given(keys, bounds)
def test_an_operator_keeps_the_state_of_those_that_are_left(touched: list[str], most: int) -> None:
    reference = Reference(most)
    counts: dict[str, int] = {}
    expected: list[tuple[str, int]] = []
    for key in touched:
        reference.touch(key)
        counts = {each: count for each, count in counts.items() if each in reference.order}
        counts[key] = counts.get(key, 0) + 1
        expected.append((key, counts[key]))
    stream = ps.from_iterable(touched).key_by(lambda key: key, max_keys=most)
    assert ps.run(stream.scan(0, lambda count, _: count + 1).to(ps.collect())) == expected


quarters = st.integers(0, 20).map(lambda n: n / 4)
COUNTS: dict[str, Callable[[ps.KeyedStream[str, str]], ps.Stream[Any]]] = {
    "scan": lambda keyed: keyed.scan(0, lambda count, _: count + 1),
    "scan with retries": lambda keyed: keyed.scan(0, lambda n, _: n + 1, errors=ps.retry(2)),
    "by_count": lambda keyed: keyed.window(ps.by_count(1000)).count(),
    "session": lambda keyed: keyed.window(ps.session(1e6)).count(),
    "tumbling": lambda keyed: keyed.window(ps.tumbling(1e9)).count(),
}


@pytest.mark.parametrize("operator", COUNTS)
@given(
    st.lists(st.tuples(st.sampled_from("aab"), quarters), min_size=1, max_size=20),
    st.lists(quarters.map(lambda seconds: seconds * 4), min_size=1, max_size=5),
)
def test_idle_is_no_key_whose_items_wait(
    operator: str, gaps: list[tuple[str, float]], busy: list[float]
) -> None:
    """As many keys are evicted as with quick stages behind, or fewer; none that always has items.

    Key ``a`` has an item every 5 s, whatever the others do.
    """

    @ps.producer
    async def source(send: ps.Sender[str]) -> None:
        for of, gap in gaps:
            await send("a")
            await trio.sleep(gap)
            await send(of)

    async def evicted(busy: list[float]) -> int:
        calls = iter(busy * 100)

        async def work(item: Any) -> Any:
            await trio.sleep(next(calls))
            return item

        stream = COUNTS[operator](source().buffer(1000).key_by(lambda of: of, idle=5.5))
        async with stream.buffer(1).map_async(work, 1).to(ps.drain()).open() as running:
            await running.result()
        return sum(stage.evicted for stage in running.report().stages)

    def run(busy: list[float]) -> int:
        return trio.run(evicted, busy, clock=MockClock(autojump_threshold=0))

    only_b = run([0.0])
    assert run(busy) <= only_b
    if all(of == "a" for of, _ in gaps):
        assert only_b == 0
