"""``POST /topics/{topic}``: publications over HTTP."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from typing import Any

from penstock.wire import JSON, MSGPACK, Undecodable

from ..aside import work_on
from ..hub import Hub
from ..publishing import (
    Publication,
    Refusal,
    Refused,
    publish,
    publisher_at,
    require_rate,
)
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

# An RFC 8941 string: printable ASCII, a quote or a backslash in it after a backslash.
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


async def publish_to_topic(
    hub: Hub, topic: Topic[Any], request: Request, send: Send, cors: Headers
) -> None:
    """Store the body's values, all or none, and answer 201 with their cursors.

    Raises `Problem` as the protocol says.
    """
    try:
        publication = await _publish(hub, topic, request)
    except Refusal as refusal:
        raise _problem(refusal) from refusal
    answer = {
        "count": publication.count,
        "first": publication.first,
        "last": publication.last,
    }
    replayed: Headers = [(b"idempotent-replayed", b"true")] if publication.replayed else []
    await respond_json(send, 201, answer, [*replayed, *cors])


async def _publish(hub: Hub, topic: Topic[Any], request: Request) -> Publication:
    parse = _check_head(hub, topic, request)
    publisher = publisher_at(hub, _address(request), request.grant)
    event, key = _text(request, "event-name") or None, _key(request)
    body = await _body(hub, request)
    require_rate(hub, publisher)  # before any work on the body
    values = await _values(hub, parse, body)
    try:
        return await publish(hub, topic, values, event, key, publisher, size=len(body))
    except Refusal:
        raise
    except Exception as error:
        logger.exception("topic %s: its type failed on a publication", topic.name)
        detail = "The topic's type failed on it; the server's log has the error."
        raise Problem(500, "Internal Server Error", detail) from error


def _problem(refusal: Refusal) -> Problem:
    """What HTTP says of a publication that is not stored."""
    detail = f"{refusal.problem[:1].upper()}{refusal.problem[1:]}."
    if isinstance(refusal, Refused):
        at = {"index": refusal.index, "path": refusal.path, "detail": refusal.problem}
        detail = f"Value {refusal.index} at {refusal.path}: {refusal.problem}."
        return Problem(refusal.status, refusal.title, detail, errors=[at])
    headers: Headers = []
    if refusal.retry_after is not None:  # whole seconds (RFC 9110 section 10.2.3), not too early
        seconds = max(1, math.ceil(refusal.retry_after))
        headers = [(b"retry-after", str(seconds).encode())]
    return Problem(refusal.status, refusal.title, detail, headers)


# The head


def _check_head(hub: Hub, topic: Topic[Any], request: Request) -> _Parse:
    """What reads the body. Raises `Problem` where the head says that it will not be taken."""
    if not topic.publishable:
        hub.counters.refused["not_publishable"] += 1
        raise Problem(
            405,
            "Not Publishable",
            f"Topic {topic.name} takes no publications; declare it with accepts=.",
            [(b"allow", b"GET, HEAD")],
        )
    coding = (request.header("content-encoding") or "identity").strip().lower()
    given = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if coding != "identity":
        problem = _unsupported(
            f"A publication is sent as it is, without Content-Encoding, not {coding[:80]}.",
            (b"accept-encoding", b"identity"),
        )
    elif given not in _BODIES:
        problem = _unsupported(
            f"A publication is one of {_ACCEPTED}, not {given[:80] or 'without a type'}.",
            (b"accept-post", _ACCEPTED.encode()),
        )
    else:
        return _BODIES[given]
    hub.counters.refused["media_type"] += 1
    raise problem


def _unsupported(detail: str, header: tuple[bytes, bytes]) -> Problem:
    return Problem(415, "Unsupported Media Type", detail, [header])


def _text(request: Request, name: str) -> str | None:
    """A header's value; its bytes are UTF-8 where they can be."""
    raw = request.header(name)
    if raw is None:
        return None
    try:
        return raw.encode("latin-1").decode()
    except UnicodeDecodeError:
        return raw


def _key(request: Request) -> str | None:
    """The idempotency key: the header's value, or what the string in it says."""
    text = _text(request, "idempotency-key")
    quoted = None if text is None else _QUOTED.fullmatch(text)
    return text if quoted is None else re.sub(r"\\(.)", r"\1", quoted[1])


def _address(request: Request) -> str:
    """The client's address without its port, "" where the server doesn't say."""
    client = request.scope.get("client")
    return str(client[0]) if client else ""


# The body


async def _body(hub: Hub, request: Request) -> bytes:
    try:
        return await request.body(hub.limits.max_message_bytes, hub.limits.body_timeout)
    except Problem as problem:
        hub.counters.refused["too_large" if problem.status == 413 else "unreadable"] += 1
        raise


async def _values(hub: Hub, parse: _Parse, body: bytes) -> list[object]:
    """The values that a body says, at least one. Raises `Problem` 400."""
    try:
        values = await work_on(body, parse)
        problem = "The body holds no value."
    except Undecodable as fault:
        values, problem = [], f"The body can't be read: {fault}."
    if not values:
        hub.counters.refused["unreadable"] += 1
        raise Problem(400, "Unreadable Body", problem)
    return values
