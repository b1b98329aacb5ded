"""Reading a log through lost connections, whatever the transport.

A transport connects after a cursor and gives what the server says, a list at a time; it raises
`ConnectionLost` where another attempt may help and `Refused` where none will. What all of it means
to the reader, and how long to wait, a `Position` decides.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import trio

from penstock._backoff import Backoff

from ..losses import ConnectionLost, Loss
from .position import Item, Position, Signal

Connect: TypeAlias = Callable[
    [str | None], AbstractAsyncContextManager[AsyncIterator[Sequence[Signal]]]
]
"""Connects after a cursor, ``earliest``, ``latest`` or None, the server's default."""


class AlreadyFinished(Exception):
    """The log was finished at the cursor already, so there was nothing to send, not even that."""


async def read_resuming(
    connect: Connect,
    send: Callable[[list[Item]], Awaitable[object]],
    position: Position,
    *,
    backoff: Backoff,
    on_loss: Callable[[Loss], object],
    chance: Callable[[], float] = random.random,
) -> None:
    """Read a log to its end, sending events and gaps; returns once the log is finished.

    Args:
        connect: opens a connection after a cursor.
        send: takes what one piece of the answer says, in order; the list is given away. While it
            waits, nothing more is read.
        position: where to start; where reading has come to, and the log's end, afterwards.
        backoff: the waits between attempts.
        on_loss: told of each lost connection before the wait.
        chance: a random number from 0 to 1, for the jitter.

    Raises `Refused`. Cancelled, it closes the connection.
    """
    while True:
        position.connecting()
        try:
            async with connect(position.after) as pieces:
                async for signals in pieces:
                    items = position.take(signals)
                    if items:
                        await send(items)
                    if position.end is not None:
                        return
                    if position.fault is not None:
                        raise position.fault
                raise ConnectionLost("the server closed the connection")
        except AlreadyFinished:
            return
        except ConnectionLost as lost:
            loss = position.lost(lost, backoff, chance())
        on_loss(loss)
        await trio.sleep(loss.delay)
