"""A log as one page of JSON, with ``?wait=`` a long poll."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import msgspec
import trio

from penstock.wire import Cursor, Gap, cursor_text

from ..aside import work_on
from ..connections import Connection
from ..hub import Hub
from ..log import Start, StoredEvent, Trimmed
from ..topics import Topic
from .asking import position_asked
from .body import encode_whole
from .http import Headers, Problem, Request, Send, respond
from .negotiation import choose_coding

_MAX_LIMIT = 1000
_MAX_WAIT = 60.0
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class PageAsked:
    """What a client asks a page for.

    Attributes:
        limit: the most events.
        wait: seconds to wait for the first one.
        position: where to start, a `Cursor`, ``earliest`` or ``latest``.
    """

    limit: int
    wait: float
    position: Any


def page_asked(request: Request, *, default: str = "latest") -> PageAsked:
    """What the query says; `default` is where a client starts that doesn't say.

    Raises `Problem` 400.
    """
    return PageAsked(
        int(_number(request, "limit", 100, 1, _MAX_LIMIT, whole=True)),
        _number(request, "wait", 0, 0, _MAX_WAIT, whole=False),
        position_asked(request, sse=False, default=default),
    )


async def page_topic(
    hub: Hub,
    topic: Topic[Any],
    request: Request,
    send: Send,
    more_headers: Headers,
    *,
    default: str = "latest",
    attends: bool = True,
    more: Callable[[], Mapping[str, Any]] = lambda: _NOTHING,
) -> None:
    """Answer with up to ``limit`` events, at once or as soon as there is one.

    `default` is where a client starts that doesn't say; `attends`, whether it counts as a reader
    while it waits. `more` gives further members of the page. Raises `Problem` 400.
    """
    asked = page_asked(request, default=default)
    start, events = _read(hub, topic, asked.position, asked.limit)
    if not events and start.gap is None and asked.wait and request.method != "HEAD":
        if not await _wait_for_more(hub, topic, request, asked.wait, attends=attends):
            return
        start, events = _read(hub, topic, Cursor(topic.log.epoch, start.after), asked.limit)
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"vary", b"Accept, Accept-Encoding"),
        *more_headers,
    ]
    body = _page(topic, start, events, more())
    coding = choose_coding(request.header("accept-encoding"))
    if coding is not None:
        headers.append((b"content-encoding", coding.encode()))
        body = await work_on(body, partial(encode_whole, coding))
    await respond(send, 200, headers, body, head=request.method == "HEAD")


def _read(hub: Hub, topic: Topic[Any], asked: Any, limit: int) -> tuple[Start, list[StoredEvent]]:
    """Where reading starts, and the events from there."""
    while True:
        start = hub.start_of(topic, asked)
        events = topic.log.read(start.after, limit)
        if not isinstance(events, Trimmed):  # which expired between the two looks
            return start, events


async def _wait_for_more(
    hub: Hub, topic: Topic[Any], request: Request, wait: float, *, attends: bool
) -> bool:
    """Wait for an event, the end, the drain, or the time; False where the client has gone."""
    connection = Connection("json", request.client, due=inf, grant=request.grant)
    disconnect = hub.connect(connection)
    connection.leave["watch"] = topic.log.watch(connection.wake.set)
    if attends:
        connection.leave["audience"] = topic.audience.enter()

    async def until_more() -> None:
        with trio.move_on_after(wait):
            last = topic.log.bounds().last
            while (
                topic.log.bounds().last == last
                and not topic.log.bounds().ended
                and not hub.farewell
                and connection.ending is None
            ):
                await connection.wake.wait()

    try:
        return await request.while_there(until_more)
    finally:
        disconnect()


def _page(
    topic: Topic[Any], start: Start, events: list[StoredEvent], more: Mapping[str, Any]
) -> bytes:
    epoch = topic.log.epoch
    bounds = topic.log.bounds()
    after = events[-1].offset if events else start.after
    page: dict[str, Any] = {
        "events": [_event(epoch, event) for event in events],
        "next": cursor_text(epoch, after),
        "end": bounds.ended and after == bounds.last,
    }
    gap: Gap | None = start.gap
    if gap is not None:
        page["gap"] = gap
    return msgspec.json.encode({**page, **more})


def _event(epoch: str, event: StoredEvent) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": cursor_text(epoch, event.offset),
        "data": msgspec.Raw(event.json),
    }
    if event.name is not None:
        fields["event"] = event.name
    return fields


def _number(
    request: Request, name: str, default: float, least: float, most: float, *, whole: bool
) -> float:
    text = request.query(name)
    if text is None:
        return default
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        kind = "a whole number" if whole else "a number"
        raise Problem(
            400, "Bad Parameter", f"{name} is {kind} from {least:g} to {most:g}, not {text[:40]!r}."
        )
    return number
