"""Waiting for items, but not for ever."""

from __future__ import annotations

from typing import Any

import trio

from ..._spec import Chunk, Receiver


async def take_until(deadline: float, receive: Receiver[Any]) -> Chunk | None:
    """All items there are; an empty list where none came before ``deadline``, None at the end.

    Items that wait already are taken even after ``deadline``, a time of Trio's clock.
    """
    with trio.move_on_at(deadline):
        try:
            return await receive.chunk()
        except trio.EndOfChannel:
            return None
    return []
