"""Why a publication is not stored: one exception each, with what HTTP and WebSocket say of it."""

from __future__ import annotations

from typing import ClassVar

from penstock.wire import ErrorCode


class Refusal(Exception):
    """A publication of which nothing is stored. Only its subclasses are raised.

    Attributes:
        problem: what was wrong, and how to mend it, in words for the client.
        reason: its label in `Counters.refused`.
        code: what a WebSocket says.
        status: what HTTP says.
        title: the short name of the problem over HTTP.
        retry_after: seconds after which it may go well; None where it never will as it is.
    """

    reason: ClassVar[str]
    code: ClassVar[ErrorCode]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.problem = problem
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.problem


class Refused(Refusal):
    """A value is not of the topic's type; `index` says which, `path` leads to the field in it."""

    reason, code, status, title = "invalid", ErrorCode.INVALID, 422, "Invalid Data"

    def __init__(self, problem: str, index: int = 0, path: str = "$") -> None:
        super().__init__(problem)
        self.args = (problem, index, path)
        self.index = index
        self.path = path


class KeyReused(Refusal):
    """The idempotency key was used for another publication, within its window."""

    reason, code, status, title = "invalid", ErrorCode.INVALID, 422, "Key Used Before"


class BadIdempotencyKey(Refusal):
    """The idempotency key is empty, too long, or not printable ASCII."""

    reason, code, status, title = "unreadable", ErrorCode.INVALID, 400, "Bad Idempotency-Key"


class TooLarge(Refusal):
    """More values at once than could ever be taken; the problem names the limit."""

    reason, code, status, title = "too_large", ErrorCode.TOO_LARGE, 413, "Content Too Large"


class RateLimited(Refusal):
    """The client publishes faster than it may."""

    reason, code, status, title = "rate_limited", ErrorCode.RATE_LIMITED, 429, "Too Many Requests"


class NoRoom(Refusal):
    """The topic waits for its slowest reader, and had no room in time."""

    reason, code, status, title = "unavailable", ErrorCode.UNAVAILABLE, 503, "No Room"


class GoingAway(Refusal):
    """The server is shutting down."""

    reason, code, status, title = "unavailable", ErrorCode.UNAVAILABLE, 503, "Going Away"
