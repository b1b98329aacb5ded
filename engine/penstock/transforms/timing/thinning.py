"""Fewer items, by the clock: ``debounce``, ``throttle``, ``sample``.

Each holds one item at most, the newest, until it is due. Those that a newer one replaces are
dropped, counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import trio

from ..._spec import Chunk, CountingSender, Receiver, Step, StepControl
from .waiting import take_until


async def debounce(seconds: float, receive: Receiver[Any], send: CountingSender[Any]) -> None:
    """An item once no other has come for ``seconds``."""
    await _newest_when_due(lambda now: now + seconds, receive, send)


async def sample(seconds: float, receive: Receiver[Any], send: CountingSender[Any]) -> None:
    """The newest item of each interval of ``seconds``, counted from the start of the stage."""
    await _newest_when_due(partial(_next_end, trio.current_time(), seconds), receive, send)


def _next_end(started: float, seconds: float, now: float) -> float:
    """The end of the interval that ``now`` is in: of ``started + n * seconds``, the first above."""
    n = int((now - started) / seconds)
    end = started + n * seconds  # rounding may put it on either side
    while end <= now:
        n += 1
        end = started + n * seconds
    return end


async def _newest_when_due(
    due_after: Callable[[float], float], receive: Receiver[Any], send: CountingSender[Any]
) -> None:
    """The newest item, at ``due_after`` the time it came; the last one at the end of the stream."""
    held: Chunk = []
    due = inf
    items: Chunk | None = []
    while items is not None:
        items = await take_until(due, receive)
        now = trio.current_time()
        if held and (items is None or now >= due):
            await send.chunk(held)
            held = []
            due = inf
        if items:
            send.dropped(len(held) + len(items) - 1)
            held = items[-1:]
            due = due_after(now)


def start_throttle(seconds: float, control: StepControl) -> Step:
    """The first item, then the first one to come ``seconds`` or more after the last one given."""
    shut_until = -inf

    def step(items: Chunk) -> Chunk:
        nonlocal shut_until
        now = trio.current_time()
        if now < shut_until:
            control.dropped(len(items))
            return []
        shut_until = now + seconds
        control.dropped(len(items) - 1)
        return items[:1]

    return step


async def throttle_to_last(
    seconds: float, receive: Receiver[Any], send: CountingSender[Any]
) -> None:
    """The first item, then every ``seconds`` the newest; where none came, the next one at once."""
    held: Chunk = []
    shut_until = -inf
    items: Chunk | None = []
    while items is not None:
        items = await take_until(shut_until if held else inf, receive)
        if held and items is None:
            await trio.sleep_until(shut_until)
        if held and trio.current_time() >= shut_until:
            await send.chunk(held)
            held = []
            shut_until = trio.current_time() + seconds
        if items and trio.current_time() >= shut_until:
            await send.chunk(items[:1])
            del items[:1]
            shut_until = trio.current_time() + seconds
        if items:
            send.dropped(len(held) + len(items) - 1)
            held = items[-1:]
