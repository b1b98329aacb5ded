"""reactivex: observables that push an item at a time, on the thread that subscribes."""

from __future__ import annotations

from collections.abc import Iterable

import reactivex
from reactivex import operators as ops

from ..engine_rows.work import add, double, no_multiple_of_three, plus_one


def sum_of(numbers: Iterable[int]) -> int:
    found: int = (
        reactivex.from_iterable(numbers)
        .pipe(
            ops.map(double),
            ops.filter(no_multiple_of_three),
            ops.map(plus_one),
            ops.reduce(add, 0),
        )
        .run()
    )
    return found
