"""streamz: a graph of nodes that an item is pushed through by ``emit``, without an event loop."""

from __future__ import annotations

from collections.abc import Iterable

from streamz import Stream

from ..engine_rows.work import (
    WINDOW,
    Counts,
    Event,
    add,
    double,
    key_of,
    no_multiple_of_three,
    plus_one,
    time_of,
)


def sum_of(numbers: Iterable[int]) -> int:
    totals: list[int] = [0]
    source = Stream()
    (
        source.map(double)
        .filter(no_multiple_of_three)
        .map(plus_one)
        .accumulate(add, start=0)
        .sink(lambda total: totals.__setitem__(0, total))
    )
    for number in numbers:
        source.emit(number)
    return totals[0]


def count_windows(events: Iterable[Event]) -> Counts:
    """It has no windows by event time: a state of counts that gives them once a window has ended.

    ``accumulate`` with ``returns_state`` is its way to hold a state that isn't what goes on.
    """
    counts: Counts = {}
    source = Stream()
    windows = source.accumulate(_count, start=(0, {}), returns_state=True)
    windows.filter(bool).sink(counts.update)
    for event in events:
        source.emit(event)
    window, last = windows.state
    return counts | {(key, window): number for key, number in last.items()}


def _count(
    state: tuple[int, dict[str, int]], event: Event
) -> tuple[tuple[int, dict[str, int]], Counts]:
    window, counts = state
    ended: Counts = {}
    now = int(time_of(event) // WINDOW)
    if now > window:
        ended = {(key, window): number for key, number in counts.items()}
        window, counts = now, {}
    key = key_of(event)
    counts[key] = counts.get(key, 0) + 1
    return (window, counts), ended
