"""What a reader gets: events, and gaps where events are missing."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.wire import Gap

__all__ = ["Event", "Gap"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag="event"):
    """An event as it was received, its data decoded.

    Attributes:
        topic: the topic it is of; of a job's run ``{job}.{id}``. A server of another kind has no
            topics: there it is the last part of the URL's path.
        id: the cursor behind the event, as text; reading after it gives what comes next. "" where
            a server of another kind sent none.
        data: a plain value: None, a bool, a number, text, bytes (MessagePack only), a list, a dict.
        event: the event's name, None where it has none.
    """

    topic: str
    id: str
    data: Any
    event: str | None = None
