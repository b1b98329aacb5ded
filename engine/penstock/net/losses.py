"""Why a client can't go on: for good, or until another attempt."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

from penstock._errors import PenstockError

logger = logging.getLogger("penstock.net")


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


def log_loss(url: str, loss: Loss) -> None:
    """What becomes of losses where nobody else is told: the first in a row is a warning."""
    level = logging.WARNING if loss.attempt == 1 else logging.DEBUG
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]  # user and query may hold a secret
    place = parts._replace(netloc=host, query="", fragment="").geturl()
    logger.log(level, "%s: %s; trying again in %.3g s", place, loss.problem, loss.delay)
