"""Where a reader starts, and what it is told when it can't start where it asked. Pure.

There are three cases: the position is retained; it was trimmed away (``expired``, or ``slow`` for
a reader that was there all along); it belongs to another log (``epoch``), where nothing can be said
of what was missed. An offset that this log has not reached yet counts as another log's: this one
can't have given it out.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from penstock.wire import Cursor, Gap, GapReason, cursor_text

from .interface import Bounds


class Start(msgspec.Struct, frozen=True):
    """Read after the offset `after`; `gap` is to be told first where there is one."""

    after: int
    gap: Gap | None = None


def resolve(
    asked: Cursor | Literal["earliest", "latest"], topic: str, epoch: str, bounds: Bounds
) -> Start:
    """Where reading starts for what a client asked for."""
    if asked == "latest":
        return Start(bounds.last)
    if asked == "earliest":
        return Start(bounds.first - 1)
    if asked.epoch != epoch or asked.offset > bounds.last:
        return _with_gap(topic, str(asked), epoch, bounds, None, "epoch")
    if asked.offset < bounds.first - 1:
        missed = bounds.first - 1 - asked.offset
        return _with_gap(topic, str(asked), epoch, bounds, missed, "expired")
    return Start(asked.offset)


def gap_to_oldest(after: int, topic: str, epoch: str, bounds: Bounds) -> Start:
    """Where a reader goes on whose position was trimmed away while it read."""
    missed = bounds.first - 1 - after
    return _with_gap(topic, cursor_text(epoch, after), epoch, bounds, missed, "slow")


def _with_gap(
    topic: str,
    requested: str,
    epoch: str,
    bounds: Bounds,
    missed: int | None,
    reason: GapReason,
) -> Start:
    after = bounds.first - 1
    gap = Gap(
        topic=topic,
        requested=requested,
        resumed=cursor_text(epoch, after),
        missed=missed,
        reason=reason,
    )
    return Start(after, gap)
