"""How late the event loop is: what every reader's delivery and every timer waits for, besides."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from .counters import Histogram

#: Upper bounds, in seconds, of the buckets: a millisecond to ten seconds.
DELAY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_PERIOD = 0.25


class LoopDelay:
    """A task that sleeps for a fixed time, over and over, and notes how late it was woken.

    What holds the loop up for longer than the period is always seen, shorter delays by chance.

    Attributes:
        histogram: how late it was woken, in seconds.
        recent: how late it was each time in the last second.
    """

    def __init__(self, period: float = _PERIOD) -> None:
        self.histogram = Histogram(DELAY_BOUNDS)
        self.recent: deque[float] = deque(maxlen=max(1, round(1 / period)))
        self._period = period

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = trio.current_time() + self._period
            await trio.sleep_until(due)
            delay = trio.current_time() - due
            self.histogram.observe(delay)
            self.recent.append(delay)
