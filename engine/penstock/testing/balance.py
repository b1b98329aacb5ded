"""``assert_balanced``: whether the counts of a run add up."""

from __future__ import annotations

from collections.abc import Iterator

from .._stats import RunStats, StageStats

_GONE = (
    "items_out",
    "absorbed",
    "skipped",
    "dead_lettered",
    "late",
    "dropped",
    "abandoned",
    "held",
)


def assert_balanced(stats: RunStats) -> None:
    """Raise ``AssertionError`` where the counts of a stage do not add up, or are negative.

    For a `Report`, or the stats of a run that goes on: see `StageStats` for what balances. When
    the run is over no stage may hold anything.
    """
    for stage in stats.stages:
        for problem in _problems(stage, over=stats.outcome != "running"):
            raise AssertionError(f"{stage.name}: {problem}")


def _problems(stage: StageStats, *, over: bool) -> Iterator[str]:
    came = stage.items_in + stage.made
    gone = sum(getattr(stage, name) for name in _GONE)
    if came != gone:
        yield f"{came} items were taken or made, and {gone} are accounted for"
    for name in ("items_in", "made", "errors", "retried", "evicted", *_GONE):
        if getattr(stage, name) < 0:
            yield f"{name} is {getattr(stage, name)}"
    if over and stage.held:
        yield f"{stage.held} items are held, though the run is over"
