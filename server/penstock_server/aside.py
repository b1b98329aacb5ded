"""Work on what a client sent, aside from the event loop where it is much.

A megabyte can hold a million values, each of which is decoded, validated and encoded again: seconds
of work, in which no other connection would be served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")

AT_ONCE_BYTES = 4096
"""Payloads up to this size are worked on right away: a thread costs more than most of them."""


async def work_on(payload: bytes, work: Callable[[bytes], T]) -> T:
    """Give ``work(payload)``, from a thread where the payload is big.

    Raises what `work` raises, which must have no effects: cancelled, it is abandoned.
    """
    if len(payload) <= AT_ONCE_BYTES:
        return work(payload)
    return await trio.to_thread.run_sync(work, payload, abandon_on_cancel=True)
