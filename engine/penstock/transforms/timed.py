"""Task operators that look at Trio's clock."""

from __future__ import annotations

from typing import Any

import trio

from .._spec import Chunk, Receiver, Sender


async def batch_within(size: int, within: float, receive: Receiver[Any], send: Sender[Any]) -> None:
    """Lists of ``size`` items, or of what has come ``within`` seconds of a list's first item."""
    held: Chunk = []
    deadline = trio.current_time()
    ended = False
    while not ended:
        with trio.move_on_at(deadline) if held else trio.CancelScope():
            try:
                items = await receive.chunk()
            except trio.EndOfChannel:
                ended = True
            else:
                if not held:
                    deadline = trio.current_time() + within
                held += items
        batches = [held[start : start + size] for start in range(0, len(held) - size + 1, size)]
        if batches:
            held = held[len(batches) * size :]
            deadline = trio.current_time() + within
        if held and (ended or trio.current_time() >= deadline):
            batches.append(held)
            held = []
        if batches:
            await send.chunk(batches)
