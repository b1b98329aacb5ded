"""How many items go to a worker at once: milliseconds of work, found by measuring."""

from __future__ import annotations

from typing import Any

from ..._pace import BUDGET, Pace
from ..._spec import Chunk, Receiver

THREAD_SECONDS = 0.01
PROCESS_SECONDS = 0.025
"""How much work a group is to be: a hundred times what its hand-over costs, about."""

_MOST = 1024


class Groups:
    """The items in groups; few of them are shared out evenly among the workers."""

    def __init__(self, receive: Receiver[Any], workers: int, seconds: float) -> None:
        self._receive = receive
        self._workers = workers
        self._items: Chunk = []
        self._taken = 0
        self._share = 1
        self._pace = Pace(seconds, _MOST)

    async def chunk(self) -> list[Chunk]:
        """The next group, as a list of one; raises ``trio.EndOfChannel`` after the last."""
        if self._taken >= len(self._items):
            self._items = await self._receive.chunk()
            self._taken = 0
            self._share = -(-len(self._items) // self._workers)
        start = self._taken
        self._taken = start + min(self._pace.size, self._share)
        return [self._items[start : self._taken]]

    def learn(self, count: int, seconds: float, held_the_loop: float) -> None:
        """Note how long a group took its worker, and how long it kept the event loop."""
        self._pace.record(count, max(seconds, held_the_loop * self._pace.budget / BUDGET))
