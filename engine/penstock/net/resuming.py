"""Reading a log through lost connections, whatever the transport.

A transport connects after a cursor and gives messages (the maps of the wire's vocabulary); it
raises `ConnectionLost` where another attempt may help and `Refused` where none will. Everything
else is decided here:

- a cursor moves with every message that carries one, so nothing is read twice and nothing skipped;
- each loss waits a random time below a bound that doubles, and at least as long as the server asks;
- an event, a gap or a keepalive resets the bound; ``subscribed`` alone doesn't, so a server that
  falls over each time it has accepted isn't hammered.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import trio

from penstock._backoff import Backoff
from penstock._errors import PenstockError

Message: TypeAlias = dict[str, Any]
Connect: TypeAlias = Callable[[str | None], AbstractAsyncContextManager[AsyncIterator[Message]]]
"""Connects after a cursor, ``earliest``, ``latest`` or None, the server's default."""

_NOT_PASSED_ON = ("subscribed", "keepalive", "reconnect")
_SIGNS_OF_LIFE = ("event", "gap", "keepalive")


class Refused(PenstockError):
    """The server will never give what was asked for: no such topic, no right, no such cursor.

    Attributes:
        problem: what it says.
        status: the HTTP status, where there was an answer.
    """

    def __init__(self, problem: str, status: int | None = None) -> None:
        self.problem = problem
        self.status = status
        super().__init__(problem, status)

    def __str__(self) -> str:
        return self.problem


class ConnectionLost(PenstockError):
    """The connection failed or broke; another attempt may succeed.

    Attributes:
        problem: what happened.
        retry_after: seconds that the server asks to wait before.
    """

    def __init__(self, problem: str, retry_after: float = 0.0) -> None:
        self.problem = problem
        self.retry_after = retry_after
        super().__init__(problem, retry_after)

    def __str__(self) -> str:
        return self.problem


class AlreadyFinished(Exception):
    """The log was finished at the cursor already, so there was nothing to send, not even that."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A lost connection, as ``on_loss`` is told of it.

    Attributes:
        problem: what happened.
        attempt: 1 for the first failure since the last sign of life, then 2 and so on.
        delay: seconds until the next attempt.
        cursor: where reading will go on; None where no cursor is known yet.
    """

    problem: str
    attempt: int
    delay: float
    cursor: str | None


class Position:
    """Where in a log a reader is, and how often in a row it failed. Pure."""

    __slots__ = ("after", "cursor", "ended", "failures")

    def __init__(self, after: str | None) -> None:
        self.after = after
        self.cursor: str | None = None
        self.failures = 0
        self.ended = False

    def took(self, message: Message) -> None:
        """Move behind a message. Raises `ConnectionLost` where it asks to reconnect."""
        kind = message["type"]
        cursor = message.get("resumed" if kind == "gap" else "id")
        if isinstance(cursor, str):
            self.after = self.cursor = cursor
        if kind in _SIGNS_OF_LIFE:
            self.failures = 0
        if kind == "end":
            self.ended = True
        if kind == "reconnect":
            raise ConnectionLost("the server asks to reconnect", _seconds(message.get("after")))

    def lost(self, loss: ConnectionLost, backoff: Backoff, chance: float) -> Loss:
        """Count a failure; says how long to wait."""
        delay = max(loss.retry_after, backoff.delay(self.failures, chance))
        self.failures += 1
        return Loss(loss.problem, self.failures, delay, self.cursor)


async def read_resuming(
    connect: Connect,
    send: Callable[[Message], Awaitable[object]],
    *,
    after: str | None,
    backoff: Backoff,
    on_loss: Callable[[Loss], object],
    chance: Callable[[], float] = random.random,
) -> None:
    """Read a log to its end, sending events, gaps and the end; returns once the log is finished.

    Args:
        connect: opens a connection after a cursor.
        send: takes each message, except those that only concern the connection.
        after: where to start: a cursor, ``earliest``, ``latest``, or None for the server's default.
        backoff: the waits between attempts.
        on_loss: told of each lost connection before the wait.
        chance: a random number from 0 to 1, for the jitter.

    Raises `Refused`. Cancelled, it closes the connection; a message is sent whole or not at all.
    """
    position = Position(after)
    while True:
        try:
            async with connect(position.after) as messages:
                async for message in messages:
                    if message["type"] not in _NOT_PASSED_ON:
                        await send(message)
                    position.took(message)
                    if position.ended:
                        return
                raise ConnectionLost("the server closed the connection")
        except AlreadyFinished:
            return
        except ConnectionLost as lost:
            loss = position.lost(lost, backoff, chance())
        on_loss(loss)
        await trio.sleep(loss.delay)


def _seconds(value: object) -> float:
    return max(0.0, float(value)) if isinstance(value, int | float) else 0.0
