"""An item as it is queued: encoded, its event's name and its key checked. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from penstock._errors import PenstockError
from penstock.wire import Unencodable, encode_msgpack, normalise

# Both go as the values of headers, which lose spaces around them.
_NAME = re.compile(r"[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")
_KEY = re.compile(r"[\x21\x23-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?")


class NotPublishable(PenstockError, ValueError):
    """An item can't be published: it can't be said on the wire, or its event name or key can't."""


class Encoded(NamedTuple):
    """An item as it is queued: MessagePack, its event's name and its key, where it has them."""

    body: bytes
    event: str | None
    key: str | None


def encoded(data: object, event: str | None = None, key: str | None = None) -> Encoded:
    """An item as it is queued. Raises `NotPublishable`."""
    if event is not None and (not event or _NAME.fullmatch(event) is None):
        raise NotPublishable(
            f"an event's name is text on one line, without spaces around it, not {event!r:.100}"
        )
    if key is not None and _KEY.fullmatch(key) is None:
        raise NotPublishable(
            f"an idempotency key is 1 to 128 printable ASCII characters, not {key!r:.200}"
        )
    try:
        return Encoded(encode_msgpack(normalise(data)), event, key)
    except Unencodable as error:
        raise NotPublishable(str(error)) from error
