"""How many items one uninterrupted piece of work may hold: about a millisecond's worth.

Pure arithmetic. A piece that took under half the budget doubles the next one, one that took more
than the budget shrinks it in proportion, so a fast pipeline moves 1,024 items at a time and a slow
function gives the event loop back after each item.

Nor should a piece make so many objects that Python's collector runs in the midst of it: the
collector would find all of them alive and keep them for its slower rounds, where a loop that lets
go of each record before it makes the next never wakes it. Records decoded from JSON go in pieces of
some 64 for that reason, half as fast again as in pieces of 1,024.
"""

from __future__ import annotations

BUDGET = 0.001
MOST = 1024
FEW = 32
"""Items of a piece for which it doesn't matter how often the collector runs."""
_ROOM = 0.25
"""The share of litter up to which twice as many items leave room for what others make."""


class Pace:
    """The adaptive size of a piece of work, in items."""

    __slots__ = ("budget", "most", "size")

    def __init__(self, budget: float = BUDGET, most: int = MOST) -> None:
        self.budget = budget
        self.most = most
        self.size = 1

    def record(self, count: int, seconds: float, litter: float = 0.0) -> None:
        """Learn from a piece of ``count`` items that took ``seconds``.

        ``litter`` is how near the objects that were alive at a time came to waking the collector,
        as a share; 1 where it ran.
        """
        if seconds > self.budget:
            self.size = max(1, int(count * self.budget / seconds))
        elif litter >= 1:
            self.size = min(self.size, max(FEW, count // 2))
        elif seconds < self.budget / 2 and litter < _ROOM and count >= self.size:
            self.size = min(self.size * 2, self.most)
