"""The arithmetic of windows at fixed times. Pure.

Time is cut into *panes* of one width, numbered from time 0: pane ``n`` is ``[n * width, (n + 1) *
width)``, in the arithmetic of floats. A window is ``span`` panes wide and begins every ``stride``
panes; a tumbling one is one pane. Every decision is made on numbers of panes, so that rounding
can't put an item into a window that doesn't hold its time, nor end a window before its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm

MOST_PANES = 10_000

FINEST = 2.0**51
"""The most panes between time 0 and any other: floats can number them, and tell their ends from
their starts. From 2**52 on ``time // width`` may be off by more than one, from 2**53 on a number
and the next are the same.
"""


@dataclass(frozen=True, slots=True)
class Grid:
    """``width`` in seconds, ``span`` and ``stride`` in panes.

    Numbers of panes and windows are whole floats: they come out of ``time // width`` as such.
    """

    width: float
    span: int
    stride: int
    _exact_until: float = field(init=False)

    def __post_init__(self) -> None:
        # The multiples of the width are floats themselves as long as its last bit has a place.
        numerator, denominator = self.width.as_integer_ratio()
        last_bit = (numerator & -numerator) / denominator
        object.__setattr__(self, "_exact_until", FINEST * last_bit)

    def pane(self, time: float) -> float:
        """The number of the pane that ``time`` lies in."""
        number = time // self.width
        # The end, being rounded, may lie on ``time``.
        return number if (number + 1) * self.width > time else number + 1

    def panes(self, times: list[float]) -> list[float]:
        """`pane` of each time, of which there is at least one."""
        if max(times) <= self._exact_until and min(times) >= -self._exact_until:
            width = self.width
            return [time // width for time in times]
        return [self.pane(time) for time in times]

    def first_window(self, pane: float) -> float:
        """The first window that the pane is part of."""
        return (pane - self.span) // self.stride + 1

    def last_window(self, pane: float) -> float:
        """The last window that the pane is part of."""
        return pane // self.stride

    def end_pane(self, window: float) -> float:
        """The first pane behind the window."""
        return window * self.stride + self.span

    def times(self, window: float) -> tuple[float, float]:
        """The start and the end of a window, in seconds."""
        first = window * self.stride
        return first * self.width + 0.0, (first + self.span) * self.width + 0.0  # no -0.0


def common_grid(size: float, step: float) -> Grid | None:
    """The widest panes that windows of ``size`` every ``step`` can be made of, in decimal numbers.

    None where a window would have over `MOST_PANES`.
    """
    wide, apart = Fraction(str(size)), Fraction(str(step))
    shared = lcm(wide.denominator, apart.denominator)
    span, stride = int(wide * shared), int(apart * shared)
    unit = gcd(span, stride)
    if span // unit > MOST_PANES:
        return None
    return Grid(float(Fraction(unit, shared)), span // unit, stride // unit)
