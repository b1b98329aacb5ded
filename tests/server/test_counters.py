"""The histogram's buckets and percentiles, and sums that never fall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.counters import (
    DISCONNECT_REASONS,
    GAP_REASONS,
    TRANSPORTS,
    Counters,
    Histogram,
)


def test_a_bound_is_within_its_bucket() -> None:
    seen = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.2, 1.0, 1.5):
        seen.observe(seconds)
    assert seen.counts == [2, 2, 1]
    assert (seen.count, seen.max) == (5, 1.5)
    assert seen.sum == pytest.approx(2.85)


def test_many_at_once_and_a_clock_that_went_back() -> None:
    seen = Histogram((0.1, 1.0))
    seen.observe(0.5, 1000)
    seen.observe(-3.0)
    assert seen.counts == [1, 1000, 0]
    assert seen.sum == 500.0


def test_percentiles() -> None:
    seen = Histogram((0.1, 1.0, 10.0))
    assert seen.quantile(0.5) == 0
    seen.observe(0.05, 98)
    seen.observe(0.7)
    seen.observe(20)
    assert seen.quantile(0.5) == 0.1
    assert seen.quantile(0.99) == 1.0
    assert seen.quantile(1) == 20


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_an_upper_bound(lengths: list[float], q: float) -> None:
    seen = Histogram()
    for seconds in lengths:
        seen.observe(seconds)
    assert sum(each <= seen.quantile(q) for each in lengths) >= q * len(lengths) - 1e-9
    assert seen.quantile(q) <= max(lengths)


def test_the_labels_are_there_from_the_start() -> None:
    counters = Counters()
    assert tuple(counters.events_out) == tuple(counters.bytes_out) == TRANSPORTS
    assert tuple(counters.gaps) == GAP_REASONS
    assert tuple(counters.disconnected) == DISCONNECT_REASONS
    with pytest.raises(KeyError):
        counters.events_out["carrier pigeon"] += 1


def test_what_dropped_topics_counted_is_kept() -> None:
    counters = Counters()
    counters.retire("room.{room}", events=5, restarts=1)
    counters.retire("room.{room}", events=2, restarts=0)
    assert counters.retired_events == {"room.{room}": 7}
    assert counters.retired_restarts == {"room.{room}": 1}
