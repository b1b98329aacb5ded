"""Metric families from plain rows: a row is the values of the labels, then the number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ..counters import Histogram

#: The values of a family's labels, in their order, and the number.
Row: TypeAlias = tuple[tuple[str, ...], float]


def gauge(name: str, what: str, labels: Iterable[str], rows: Iterable[Row]) -> Metric:
    """Numbers that go up and down."""
    family = GaugeMetricFamily(name, what, labels=tuple(labels))
    for values, number in rows:
        family.add_metric(values, number)
    return family


def counter(name: str, what: str, labels: Iterable[str], rows: Iterable[Row]) -> Metric:
    """Numbers that only go up; ``_total`` is added to the name."""
    family = CounterMetricFamily(name, what, labels=tuple(labels))
    for values, number in rows:
        family.add_metric(values, number)
    return family


def counted_by(name: str, what: str, label: str, counts: Mapping[str, int]) -> Metric:
    """A counter with one label."""
    return counter(name, what, [label], (((value,), count) for value, count in counts.items()))


def histogram(name: str, what: str, seen: Histogram) -> Metric:
    """A histogram without labels; Prometheus's buckets are cumulative."""
    bounds = [*(str(bound) for bound in seen.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(seen.counts), strict=True))
    family = HistogramMetricFamily(name, what)
    family.add_metric([], buckets, seen.sum)
    return family
