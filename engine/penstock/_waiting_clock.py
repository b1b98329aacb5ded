"""Trio's clock for what goes stale where no items come: it stands while a task can't take any."""

from __future__ import annotations

import trio


class WaitingClock:
    """It goes on only while a task waits for items.

    An item that waits in front of a task that is busy, or that the stages behind hold up, has come
    all the same. By this clock it comes when the task takes it, and no time has passed meanwhile.
    """

    __slots__ = ("_away", "_left", "_left_at")

    def __init__(self) -> None:
        self._away = 0.0
        self._left = 0
        self._left_at = 0.0

    @property
    def now(self) -> float:
        """Its time, in seconds."""
        return (self._left_at if self._left else trio.current_time()) - self._away

    def due(self, time: float) -> float:
        """When, by Trio's clock, it will be ``time``, if it doesn't stop before."""
        return time + self._away

    def stop(self) -> None:
        """The task has taken items; where it does so several at a time, once for each."""
        if not self._left:
            self._left_at = trio.current_time()
        self._left += 1

    def go_on(self) -> None:
        """It has dealt with them. The last one lets the clock go on."""
        self._left -= 1
        if not self._left:
            self._away += trio.current_time() - self._left_at
