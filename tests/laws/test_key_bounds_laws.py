"""Laws of the bounds of state per key: which key goes, when, and that no other does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
        elif len(self.order) > self.most // 2:
            self.order.remove(key)
            self.order.append(key)


@given(keys, bounds)
def test_the_key_touched_longest_ago_goes_first(touched: list[str], most: int) -> None:
    reference, recency = Reference(most), Recency(KeyBounds(most, None))
    for key in touched:
        if recency.is_full_for(key):
            assert len(recency) == most
            assert recency.oldest == reference.order[0]
            recency.forget(recency.oldest)
        recency.touch(key, 0.0)
        reference.touch(key)
        assert len(recency) == len(reference.order)
        assert all(each in recency for each in reference.order)
        assert recency.oldest == reference.order[0]


@given(keys, st.integers(7, 20), cuts)
def test_touching_many_at_once_is_touching_each(
    touched: list[str], most: int, cuts: list[int]
) -> None:
    one_by_one, at_once = Recency(KeyBounds(most, None)), Recency(KeyBounds(most, None))
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
