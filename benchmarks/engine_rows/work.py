"""The work that rows share: what is called for each item, and events to count in windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

KEYS = 10_000
WINDOW = 60.0
"""Seconds of a tumbling window."""

_RATE = 2_500.0
"""Events a second: windows hold 15 events of each key."""


def double(n: int) -> int:
    return n * 2


def no_multiple_of_three(n: int) -> bool:
    return n % 3 != 0


def plus_one(n: int) -> int:
    return n + 1


def add(total: int, n: int) -> int:
    return total + n


def sum_in_a_loop(number: int) -> int:
    """Map, filter, map and fold of ``range(number)`` without any engine."""
    total = 0
    for n in range(number):
        doubled = double(n)
        if no_multiple_of_three(doubled):
            total = add(total, plus_one(doubled))
    return total


Event = tuple[str, float]
"""What is counted: of which key, and when in seconds."""

Counts = dict[tuple[str, int], int]
"""How many events each key has in each window, by the key and the number of the window."""


def key_of(event: Event) -> str:
    return event[0]


def time_of(event: Event) -> float:
    return event[1]


def events(number: int) -> Iterator[Event]:
    """In the order of their times; keys take turns, in the same scattered order again and again."""
    keys = [f"key-{n}" for n in range(KEYS)]
    return ((keys[n * 7_919 % KEYS], n / _RATE) for n in range(number))


def count_in_a_loop(found: Iterable[Event]) -> Counts:
    """Counts of tumbling windows without any engine: a dict."""
    counts: Counts = {}
    for event in found:
        slot = key_of(event), int(time_of(event) // WINDOW)
        counts[slot] = counts.get(slot, 0) + 1
    return counts
