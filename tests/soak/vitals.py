"""The server's memory, tasks and descriptors over time, and whether they stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MIB = 1 << 20

WARM_UP = 60.0
"""Seconds until all logs and tables of the soak's server are full."""

SHORTEST_TREND = 60.0
"""Seconds after the warm-up for which a growth says something."""

MOST_MEMORY = 60 * MIB
"""What the load may take at all, in bytes."""

_POINTS = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """At one moment: `at` in seconds, `rss` in bytes, living tasks, open descriptors."""

    at: float
    rss: int
    tasks: int
    descriptors: int


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How fast the second of each pair grows with the first: the median over all pairs of points.

    (Theil and Sen.) One outlier, or a few, don't change it.
    """
    step = max(1, len(points) // _POINTS)
    few = points[::step]
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for index, sooner in enumerate(few)
        for later in few[index + 1 :]
        if later[0] > sooner[0]
    ]
    return median(slopes) if slopes else 0.0


def memory_growth(samples: Sequence[Sample], warm_up: float) -> tuple[float, float]:
    """Bytes a second after `warm_up` seconds, and bytes over all the time since then."""
    since = [(sample.at, float(sample.rss)) for sample in samples if sample.at >= warm_up]
    if len(since) < 2:
        return 0.0, 0.0
    growth = slope(since)
    return growth, growth * (since[-1][0] - since[0][0])


def memory_fault(samples: Sequence[Sample], warm_up: float) -> str | None:
    """What is wrong with the memory; None where it stays as it is. There are samples.

    What an allocator does moves it by a few MiB either way; so does what the machine is busy with.
    """
    last = samples[-1].rss
    if last - samples[0].rss > MOST_MEMORY:
        return f"memory went from {samples[0].rss / MIB:.1f} MiB to {last / MIB:.1f} MiB"
    growth, grown = memory_growth(samples, warm_up)
    if samples[-1].at - warm_up < SHORTEST_TREND:
        return None
    if grown <= max(5 * MIB, 0.05 * last):
        return None
    return (
        f"memory grew by {grown / MIB:.1f} MiB after the warm-up, {growth * 3600 / MIB:.1f} MiB/h,"
        f" to {last / MIB:.1f} MiB"
    )


def leftover_fault(before: Sample, after: Sample) -> str | None:
    """What is left of the load once all clients have gone; None for nothing."""
    if after.tasks > before.tasks:
        return f"{after.tasks} tasks are left, where {before.tasks} were before"
    if after.descriptors > before.descriptors:
        return f"{after.descriptors} descriptors are left, where {before.descriptors} were before"
    return None
