"""``timeout``: a stream that falls silent has failed."""

from __future__ import annotations

from typing import Any

import trio

from ..._spec import CountingSender, Receiver
from .waiting import take_until


async def timeout(seconds: float, receive: Receiver[Any], send: CountingSender[Any]) -> None:
    """All items as they come; ``trio.TooSlowError`` where none comes for ``seconds``."""
    while True:
        items = await take_until(trio.current_time() + seconds, receive)
        if items is None:
            return
        if not items:
            raise trio.TooSlowError(f"no item came for {seconds:g} seconds")
        await send.chunk(items)
