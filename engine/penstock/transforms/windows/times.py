"""What ``time=`` may give: seconds as a number, or a datetime."""

from __future__ import annotations

from datetime import datetime
from math import inf, isfinite
from numbers import Real
from typing import Any

from ..calling import Answer
from .grid import FINEST
from .window import ByCount, Panes, Session, WindowKind


def _seconds(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"time must give a number of seconds or a datetime, but gave {value!r}")
    seconds = float(value)
    if not isfinite(seconds):
        raise ValueError(f"time must give a finite number of seconds, but gave {value!r}")
    return seconds


def seconds_for(kind: WindowKind) -> Answer:
    """Checks for an answer in seconds that windows of this kind can hold, and gives it as a float.

    It is refused where floats are too coarse to tell ``kind``'s windows apart.
    """
    limit = _limit(kind)

    def check(value: Any) -> float:
        seconds = _seconds(value)
        if abs(seconds) >= limit:
            raise ValueError(
                f"time {seconds!r} is too large for {kind}: are these seconds, or nanoseconds?"
            )
        return seconds

    def are_fine(values: list[Any]) -> bool:
        return set(map(type, values)) == {float} and sum(map(abs, values)) < limit

    return Answer(check, are_fine)


def _limit(kind: WindowKind) -> float:
    """Of the times that windows can hold; ``time + gap`` is more than ``time`` up to there, too."""
    match kind:
        case Panes(grid):
            return grid.width * FINEST
        case Session(gap):
            return gap * FINEST
        case ByCount():
            return inf
