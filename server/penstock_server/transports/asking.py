"""What a client asks for when it begins to read: from where, and how when it is slow."""

from __future__ import annotations

from typing import Any

from penstock.wire import BadCursor, Cursor

from ..fanout import Slow, milder_or_same
from ..fanout.policy import POLICIES
from ..topics import Topic
from .http import Problem, Request


class BadPolicy(ValueError):
    """A ``slow`` that there is not, or that the topic doesn't grant."""


def policy_asked(topic: Topic[Any], asked: str | None) -> Slow:
    """How a subscriber is treated that falls behind. Raises `BadPolicy`."""
    if asked is None:
        return topic.slow
    if asked not in POLICIES:
        raise BadPolicy(f"slow is one of {', '.join(POLICIES)}, not {asked[:40]!r}")
    policy: Slow = next(each for each in POLICIES if each == asked)
    if not milder_or_same(policy, topic.slow):
        raise BadPolicy(f"slow={asked!r} is not milder than the topic's own, {topic.slow!r}")
    return policy


def position_asked(request: Request, *, sse: bool) -> Any:
    """Where the client wants to start: a `Cursor`, ``earliest`` or ``latest``.

    With `sse`, ``Last-Event-ID`` wins. Raises `Problem` 400 for anything else.
    """
    last_event_id = request.header("last-event-id") if sse else None
    asked = last_event_id or request.query("after")
    if asked is None:
        return "latest"
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


def policy_of(request: Request, topic: Topic[Any]) -> Slow:
    """What ``?slow=`` asks for. Raises `Problem` 400."""
    try:
        return policy_asked(topic, request.query("slow"))
    except BadPolicy as fault:
        raise Problem(400, "Bad Parameter", f"{fault}.") from fault
