"""How much of a plain loop's speed a pipeline keeps.

Map, filter, map and fold over a million ints, against a ``for`` loop that calls the same four
functions: *fused*, where all stages share a task, which is what the engine itself costs; and
*buffered*, with ``buffer(1024)`` between each two, which is what the hops between tasks cost a busy
pipeline. Targets: at least 0.7 and 0.6 of the loop's speed.
"""

from __future__ import annotations

from functools import partial

import penstock as ps

from ..figures import Figure, in_turn, ratio, summary
from ..rows import Effort, Row
from .measuring import rate
from .work import add, double, no_multiple_of_three, plus_one, sum_in_a_loop

ITEMS = 1_000_000
FUSED = 0.7
BUFFERED = 0.6
TURNS = 3
"""Times as many as of other rows: a turn is short, and what its pairs give differs by a third."""


def fused(number: int) -> int:
    return ps.run(
        ps.from_iterable(range(number))
        .map(double)
        .filter(no_multiple_of_three)
        .map(plus_one)
        .to(ps.fold(0, add))
    )


def buffered(number: int) -> int:
    return ps.run(
        ps.from_iterable(range(number))
        .map(double)
        .buffer(1024)
        .filter(no_multiple_of_three)
        .buffer(1024)
        .map(plus_one)
        .buffer(1024)
        .to(ps.fold(0, add))
    )


def measure(effort: Effort) -> list[Figure]:
    """Each form in turn with the loop."""
    number = int(ITEMS * effort.scale)
    expected = sum_in_a_loop(number)
    figures: list[Figure] = []
    for name, pipeline, target in (("fused", fused, FUSED), ("buffered", buffered, BUFFERED)):
        works = {
            work: partial(rate, partial(function, number), number, expected)
            for work, function in (("loop", sum_in_a_loop), (name, pipeline))
        }
        rates = in_turn(works, TURNS * effort.rounds)
        figures += [summary(f"{work}, k items/s", rates[work]) for work in rates]
        figures.append(ratio(f"{name} / loop", rates[name], rates["loop"], target))
    return figures


ROW = Row(
    "map, filter, map, fold over 1 M ints, against the plain loop with the same calls", measure
)
