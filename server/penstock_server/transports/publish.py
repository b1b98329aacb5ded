"""``POST /topics/{topic}``: publications over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from penstock.wire import JSON, MSGPACK, Undecodable, cursor_text

from ..aside import work_on
from ..hub import Hub
from ..log import EncodedEvent
from ..publishing import Refused, append, prepare
from ..topics import Topic
from .http import Headers, Problem, Request, Send, respond_json

logger = logging.getLogger("penstock.server")

_Parse = Callable[[bytes], list[object]]

_BODIES: dict[str, _Parse] = {
    "application/json": lambda body: [JSON.decode_value(body)],
    "application/x-ndjson": JSON.decode_values,
    "application/ndjson": JSON.decode_values,
    "application/msgpack": MSGPACK.decode_values,
    "application/x-msgpack": MSGPACK.decode_values,
    "application/vnd.msgpack": MSGPACK.decode_values,
}
_ACCEPTED = "application/json, application/x-ndjson, application/msgpack"


async def publish_to_topic(
    hub: Hub, topic: Topic[Any], request: Request, send: Send, cors: Headers
) -> None:
    """Store the body's values, all or none, and answer 201 with their cursors.

    Raises `Problem` as the protocol says.
    """
    if not topic.publishable:
        raise Problem(
            405,
            "Not Publishable",
            f"Topic {topic.name} takes no publications; declare it with accepts=.",
            [(b"allow", b"GET, HEAD")],
        )
    parse = _parser(request)
    event = _event_name(request)
    body = await request.body(hub.limits.max_message_bytes, hub.limits.body_timeout)
    encoded = await work_on(body, lambda body: _read(topic, parse, body, event))
    if hub.draining:
        raise Problem(
            503,
            "Going Away",
            "The server is going away; publish again in a moment.",
            [(b"retry-after", b"1")],
        )
    last = append(hub, topic, encoded)
    epoch = topic.log.epoch
    answer = {
        "count": len(encoded),
        "first": cursor_text(epoch, last - len(encoded) + 1),
        "last": cursor_text(epoch, last),
    }
    await respond_json(send, 201, answer, cors)


def _read(topic: Topic[Any], parse: _Parse, body: bytes, event: str | None) -> list[EncodedEvent]:
    """The events that a body says. Raises `Problem` 400 and 422; has no effects."""
    try:
        values = parse(body)
    except Undecodable as fault:
        raise Problem(400, "Unreadable Body", f"The body can't be read: {fault}.") from fault
    if not values:
        raise Problem(400, "Unreadable Body", "The body holds no value.")
    try:
        return prepare(topic, values, event)
    except Refused as fault:
        at = {"index": fault.index, "path": fault.path, "detail": fault.problem}
        detail = f"Value {fault.index} at {fault.path}: {fault.problem}."
        raise Problem(422, "Invalid Data", detail, errors=[at]) from fault
    except Exception as error:
        logger.exception("topic %s: its type failed on a publication", topic.name)
        detail = "The topic's type failed on it; the server's log has the error."
        raise Problem(500, "Internal Server Error", detail) from error


def _parser(request: Request) -> _Parse:
    given = (request.header("content-type") or "").partition(";")[0].strip().lower()
    try:
        return _BODIES[given]
    except KeyError:
        raise Problem(
            415,
            "Unsupported Media Type",
            f"A publication is one of {_ACCEPTED}, not {given[:80] or 'without a type'}.",
            [(b"accept-post", _ACCEPTED.encode())],
        ) from None


def _event_name(request: Request) -> str | None:
    """The name that ``Event-Name`` gives; header bytes are UTF-8 where they can be."""
    raw = request.header("event-name")
    if not raw:
        return None
    try:
        return raw.encode("latin-1").decode()
    except UnicodeDecodeError:
        return raw
