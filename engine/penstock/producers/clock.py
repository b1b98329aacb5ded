"""``every``: a tick by Trio's clock."""

from __future__ import annotations

from functools import partial
from math import inf

import trio

from .. import _options as options
from .._spec import Node, PushSource, Sender, caller
from ..stream import Stream


def every(seconds: float, count: int | None = None) -> Stream[int]:
    """0 at once, then 1, 2, … every ``seconds``, by Trio's clock.

    Tick ``n`` is due ``n * seconds`` after the start, so delays don't add up. Of the ticks that
    came due while the stages behind were not ready only the latest is sent, at once, and not a
    burst of old ones: the number tells which tick it is. Stages behind a channel are ready while
    it has room: ``.buffer(1, "conflate")`` before a slow task operator or sink hands it the latest.

    Args:
        seconds: the time between ticks, more than 0.
        count: end after that many ticks have been due; None goes on for ever.
    """
    options.seconds("every", "seconds", seconds)
    if count is not None:
        options.whole_number("every", "count", count, at_least=0)
    op = PushSource(partial(_tick, seconds, count), by_item=False)
    return Stream(Node(f"every({seconds:g})", op, where=caller()))


async def _tick(seconds: float, count: int | None, send: Sender[int]) -> None:
    start = trio.current_time()
    last = inf if count is None else count - 1
    tick = 0
    while tick <= last:
        await trio.sleep_until(start + tick * seconds)
        latest_due = int((trio.current_time() - start) / seconds)
        tick = int(min(max(tick, latest_due), last))
        await send.chunk([tick])
        tick += 1
