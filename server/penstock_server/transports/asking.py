"""What a client asks for when it begins to read: in which format, from where, and how when it is
slow.
"""

from __future__ import annotations

from typing import Any, Protocol

from penstock.wire import BadCursor, Cursor

from ..fanout import Slow, milder_or_same
from ..fanout.policy import POLICIES
from .http import Problem, Request
from .negotiation import Format, NotAcceptable, choose


class HasPolicy(Protocol):
    """What says how those who fall behind are treated: a topic, or options."""

    @property
    def slow(self) -> Slow:
        """The policy."""
        ...


class BadPolicy(ValueError):
    """A ``slow`` that there is not, or that the topic doesn't grant."""


def format_of(request: Request) -> Format:
    """The representation that ``?format=`` or ``Accept`` asks for. Raises `Problem` 400 and 406."""
    try:
        return choose(request.header("accept"), request.query("format"))
    except NotAcceptable as fault:
        status = 400 if request.query("format") is not None else 406
        title = "Bad Parameter" if status == 400 else "Not Acceptable"
        raise Problem(status, title, f"{str(fault)[0].upper()}{str(fault)[1:]}.") from fault


def policy_asked(topic: HasPolicy, asked: str | None) -> Slow:
    """How a subscriber is treated that falls behind. Raises `BadPolicy`."""
    if asked is None:
        return topic.slow
    if asked not in POLICIES:
        raise BadPolicy(f"slow is one of {', '.join(POLICIES)}, not {asked[:40]!r}")
    policy: Slow = next(each for each in POLICIES if each == asked)
    if not milder_or_same(policy, topic.slow):
        raise BadPolicy(f"slow={asked!r} is not milder than the topic's own, {topic.slow!r}")
    return policy


def position_asked(request: Request, *, sse: bool, default: str = "latest") -> Any:
    """Where the client wants to start: a `Cursor`, ``earliest`` or ``latest``.

    With `sse`, ``Last-Event-ID`` wins; `default` is for a client that doesn't say. Raises `Problem`
    400 for anything else.
    """
    last_event_id = request.header("last-event-id") if sse else None
    asked = last_event_id or request.query("after")
    if asked is None:
        return default
    if asked in ("earliest", "latest"):
        return asked
    try:
        return Cursor.parse(asked)
    except BadCursor as fault:
        raise Problem(
            400,
            "Bad Cursor",
            f"{fault}; use a cursor that this server gave, or earliest, or latest.",
        ) from fault


def policy_of(request: Request, topic: HasPolicy) -> Slow:
    """What ``?slow=`` asks for. Raises `Problem` 400."""
    try:
        return policy_asked(topic, request.query("slow"))
    except BadPolicy as fault:
        raise Problem(400, "Bad Parameter", f"{fault}.") from fault
