"""Figures: medians with their spread, ratios of neighbours in time, and targets."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan


@dataclass(frozen=True)
class Figure:
    """One measured quantity, and whether it is what it should be."""

    name: str
    median: float
    least: float
    most: float
    target: str = ""
    met: bool | None = None


def in_turn(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each work gives in each round; they take turns. One round more goes before, unseen."""
    values: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            gc.collect()
            value = work()
            if number:
                values[name].append(value)
    return values


def summary(
    name: str, values: Sequence[float], target: str = "", met: bool | None = None
) -> Figure:
    """Median, least and most."""
    return Figure(name, statistics.median(values), min(values), max(values), target, met)


def ratio(
    name: str, ours: Sequence[float], theirs: Sequence[float], at_least: float | None = None
) -> Figure:
    """Ours by theirs, round by round; the target holds for the median."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    if at_least is None:
        return summary(name, ratios)
    return summary(name, ratios, f"at least {at_least:g}", statistics.median(ratios) >= at_least)


def at_most(name: str, values: Sequence[float], most: float) -> Figure:
    """A figure whose median is to be at most that."""
    return summary(name, values, f"at most {most:g}", statistics.median(values) <= most)


def missing(name: str) -> Figure:
    """What was to be compared and is not installed here."""
    return Figure(f"{name}: not installed here, left out", nan, nan, nan)


def as_dict(figure: Figure) -> dict[str, object]:
    """For JSON, which has no NaN."""
    return {
        name: None if isinstance(value, float) and isnan(value) else value
        for name, value in asdict(figure).items()
    }


def table(figures: Sequence[Figure]) -> str:
    """For the screen."""
    rows = [("", "median", "min … max", "target", "")]
    rows += [
        (
            figure.name,
            _shown(figure.median),
            f"{_shown(figure.least)} … {_shown(figure.most)}",
            figure.target,
            {None: "", True: "pass", False: "MISS"}[figure.met],
        )
        for figure in figures
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _shown(value: float) -> str:
    return "-" if isnan(value) else f"{value:,.3f}"
