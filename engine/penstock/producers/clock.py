"""``every``: a tick by Trio's clock."""

from __future__ import annotations

from functools import partial
from math import inf

import trio

from .. import _options as options
from .._spec import CountingSender, Node, PushSource, Traits, caller
from ..stream import Stream


def every(seconds: float, count: int | None = None) -> Stream[int]:
    """0 at once, then 1, 2, … every ``seconds``, by Trio's clock.

    Tick ``n`` is due ``n * seconds`` after the start, so delays don't add up. Of the ticks that
    came due while the stages behind were not ready only the latest is sent, at once, and not a
    burst of old ones: the number tells which tick it is. A task operator or sink right behind it
    is ready when it waits for items; a `buffer`, a `merge` or a `broadcast` while it has room.

    Args:
        seconds: the time between ticks, more than 0.
        count: end after that many ticks have been due; None goes on for ever.
    """
    options.seconds("every", "seconds", seconds)
    if count is not None:
        options.whole_number("every", "count", count, at_least=0)
    op = PushSource(partial(_tick, seconds, count), by_item=False)
    traits = Traits(endless=count is None)
    return Stream(Node(f"every({seconds:g})", op, where=caller(), traits=traits))


async def _tick(seconds: float, count: int | None, send: CountingSender[int]) -> None:
    start = trio.current_time()
    last = inf if count is None else count - 1
    tick = 0
    while tick <= last:
        await trio.sleep_until(start + tick * seconds)
        await send.until_wanted()
        latest_due = int((trio.current_time() - start) / seconds)
        tick = int(min(max(tick, latest_due), last))
        await send.chunk([tick])
        tick += 1
