"""``POST /topics/{topic}``: publications over HTTP."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

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
from .request_values import (
    Parse,
    idempotency_key,
    parse_values,
    parser_for,
    read_body,
    text_header,
)

logger = logging.getLogger("penstock.server")

_BODIES = ("application/json", "application/x-ndjson", "application/msgpack")


async def publish_to_topic(
    hub: Hub, topic: Topic[Any], request: Request, send: Send, cors: Headers
) -> None:
    """Store the body's values, all or none, and answer 201 with their cursors.

    Raises `Problem` as the protocol says.
    """
    try:
        publication = await _publish(hub, topic, request)
    except Refusal as refusal:
        raise problem_of(refusal) from refusal
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
    event, key = text_header(request, "event-name") or None, idempotency_key(request)
    with _counted(hub):
        body = await read_body(hub, request, "A publication")
        require_rate(hub, publisher)  # before any work on the body
        values = await parse_values(parse, body)
        if not values:
            raise Problem(400, "Unreadable Body", "The body holds no value.")
    try:
        return await publish(hub, topic, values, event, key, publisher, size=len(body))
    except Refusal:
        raise
    except Exception as error:
        logger.exception("topic %s: its type failed on a publication", topic.name)
        detail = "The topic's type failed on it; the server's log has the error."
        raise Problem(500, "Internal Server Error", detail) from error


def problem_of(refusal: Refusal) -> Problem:
    """What HTTP says of what the server doesn't take."""
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


def _check_head(hub: Hub, topic: Topic[Any], request: Request) -> Parse:
    """What reads the body. Raises `Problem` where the head says that it will not be taken."""
    if not topic.publishable:
        hub.counters.refused["not_publishable"] += 1
        raise Problem(
            405,
            "Not Publishable",
            f"Topic {topic.name} takes no publications; declare it with accepts=.",
            [(b"allow", b"GET, HEAD")],
        )
    with _counted(hub):
        return parser_for(request, _BODIES, "A publication")


_REASONS = {400: "unreadable", 408: "unreadable", 413: "too_large", 415: "media_type"}


@contextmanager
def _counted(hub: Hub) -> Generator[None]:
    """Count a request among the refused ones whose body can't be taken."""
    try:
        yield
    except Problem as problem:
        hub.counters.refused[_REASONS[problem.status]] += 1
        raise


def _address(request: Request) -> str:
    """The client's address without its port, "" where the server doesn't say."""
    client = request.scope.get("client")
    return str(client[0]) if client else ""
