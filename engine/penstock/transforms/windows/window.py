"""What a window is: `Window`, and the kinds that ``window(…)`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import msgspec

from ... import _options as options
from .grid import Grid, common_grid

K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class Window(msgspec.Struct, Generic[K_co, V_co], frozen=True):
    """What the items of one key in one window came to.

    Attributes:
        key: their key.
        start, end: seconds; what lies in the window has ``start <= time < end``. Of a
            ``by_count`` window they are the least and the greatest time of its items.
        value: the aggregate.
    """

    key: K_co
    start: float
    end: float
    value: V_co


@dataclass(frozen=True, slots=True)
class Panes:
    """Windows that lie at fixed times: tumbling and sliding ones."""

    grid: Grid
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Session:
    """Windows that grow as long as items come."""

    gap: float

    def __str__(self) -> str:
        return f"session({self.gap:g})"


@dataclass(frozen=True, slots=True)
class ByCount:
    """Windows of so many items."""

    n: int

    def __str__(self) -> str:
        return f"by_count({self.n})"


WindowKind: TypeAlias = Panes | Session | ByCount


def tumbling(seconds: float) -> WindowKind:
    """Windows of ``seconds``, one behind the other: ``[n * seconds, (n + 1) * seconds)``.

    They are aligned to time 0: the Unix epoch where times are timestamps, so windows of 3600 are
    the hours of UTC.
    """
    options.seconds("tumbling", "seconds", seconds)
    return Panes(Grid(float(seconds), 1, 1), f"tumbling({seconds:g})")


def sliding(size: float, step: float) -> WindowKind:
    """Windows of ``size`` seconds, one beginning every ``step`` seconds, aligned to time 0.

    An item lies in ``size / step`` of them. It is added once: to a slice of time, as wide as goes
    into both ``size`` and ``step``; a window is merged from its slices when it ends.

    Raises `PipelineError` where ``step`` is more than ``size`` (items between the windows would be
    lost: filter them first), and where a window would have more than 10,000 slices.
    """
    options.seconds("sliding", "size", size)
    options.seconds("sliding", "step", step)
    if step > size:
        raise options.refuse(
            "sliding", f"step must be at most size ({size:g}), got {step:g}: items would be lost"
        )
    grid = common_grid(size, step)
    if grid is None:
        raise options.refuse(
            "sliding",
            f"size {size!r} and step {step!r} have too small a measure in common; at most 10,000"
            " of it may make up size",
        )
    return Panes(grid, f"sliding({size:g}, {step:g})")


def session(gap: float) -> WindowKind:
    """Windows that last as long as items come less than ``gap`` seconds apart.

    One starts at the time of its first item and ends ``gap`` after that of its last.
    """
    options.seconds("session", "gap", gap)
    return Session(float(gap))


def by_count(n: int) -> WindowKind:
    """Windows of ``n`` items of a key, in the order in which they come; the last may be smaller."""
    options.whole_number("by_count", "n", n, at_least=1)
    return ByCount(n)
