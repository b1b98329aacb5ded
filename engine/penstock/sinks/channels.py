"""``to_channel``: into a Trio memory channel of the user's own."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import trio

from .._spec import Receiver, Sink, Tally, TaskSink

T = TypeVar("T")


def to_channel(send: trio.MemorySendChannel[T]) -> Sink[T, int]:
    """Send each item to a Trio memory channel and close it at the end; the result is their number.

    A receiver that closes ends the pipeline, without an error. Cancelled, the channel is closed.
    """
    return Sink("to_channel", TaskSink(partial(_forward, send)))


async def _forward(send: trio.MemorySendChannel[Any], receive: Receiver[Any], tally: Tally) -> int:
    sent = 0
    with send:
        async for item in receive:
            try:
                await send.send(item)
            except trio.BrokenResourceError:
                break
            sent += 1
    return sent
