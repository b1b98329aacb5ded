"""What moves the watermark on where no item does: Trio's clock. Pure: it is told the time."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol


class WatermarkClock(Protocol):
    """One of a run."""

    def heard(self, now: float, watermark: float) -> None:
        """All items that came are dealt with; the watermark is where they took it."""
        ...

    def paused(self, seconds: float) -> None:
        """For so long nobody waited for items, though none came."""
        ...

    def watermark(self, now: float) -> float:
        """Where the watermark is by this clock."""
        ...

    def due(self, time: float) -> float:
        """When the watermark will be at ``time``."""
        ...


class ArrivalClock:
    """Time is that of Trio's clock, and the watermark is now."""

    def heard(self, now: float, watermark: float) -> None:
        """See `WatermarkClock.heard`."""

    def paused(self, seconds: float) -> None:
        """See `WatermarkClock.paused`."""

    def watermark(self, now: float) -> float:
        """See `WatermarkClock.watermark`."""
        return now

    def due(self, time: float) -> float:
        """See `WatermarkClock.due`."""
        return time


@dataclass(slots=True)
class SilenceClock:
    """Time is that of the items; after ``silence`` seconds without any it goes on by itself.

    From then on the watermark moves a second a second, from where it stood. Only the seconds count
    in which items were waited for.
    """

    silence: float | None
    since: float = inf
    stood: float = -inf

    def heard(self, now: float, watermark: float) -> None:
        """See `WatermarkClock.heard`."""
        if self.silence is not None:
            self.since = now + self.silence
        self.stood = watermark

    def paused(self, seconds: float) -> None:
        """See `WatermarkClock.paused`: an item may have come meanwhile, so it was no silence."""
        self.since += seconds

    def watermark(self, now: float) -> float:
        """See `WatermarkClock.watermark`."""
        return self.stood + max(0.0, now - self.since)

    def due(self, time: float) -> float:
        """See `WatermarkClock.due`."""
        return self.since + (time - self.stood)
