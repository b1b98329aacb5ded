"""How many items one uninterrupted piece of work may hold: about a millisecond's worth.

Pure arithmetic. A piece that took under half the budget doubles the next one, one that took more
than the budget shrinks it in proportion, so a fast pipeline moves 1,024 items at a time and a slow
function gives the event loop back after each item.
"""

from __future__ import annotations

BUDGET = 0.001
MOST = 1024


class Pace:
    """The adaptive size of a piece of work, in items."""

    __slots__ = ("budget", "most", "size")

    def __init__(self, budget: float = BUDGET, most: int = MOST) -> None:
        self.budget = budget
        self.most = most
        self.size = 1

    def record(self, count: int, seconds: float) -> None:
        """Learn from a piece of ``count`` items that took ``seconds``."""
        if seconds > self.budget:
            self.size = max(1, int(count * self.budget / seconds))
        elif seconds < self.budget / 2 and count >= self.size:
            self.size = min(self.size * 2, self.most)
