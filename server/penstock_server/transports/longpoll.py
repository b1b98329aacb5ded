"""``GET /topics/{topic}`` as one page of JSON, with ``?wait=`` a long poll."""

from __future__ import annotations

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


async def page_topic(
    hub: Hub, topic: Topic[Any], request: Request, send: Send, cors: Headers
) -> None:
    """Answer with up to ``limit`` events, at once or as soon as there is one."""
    limit = int(_number(request, "limit", 100, 1, _MAX_LIMIT, whole=True))
    wait = _number(request, "wait", 0, 0, _MAX_WAIT, whole=False)
    start, events = _read(hub, topic, position_asked(request, sse=False), limit)
    if not events and start.gap is None and wait and request.method != "HEAD":
        if not await _wait_for_more(hub, topic, request, wait):
            return
        start, events = _read(hub, topic, Cursor(topic.log.epoch, start.after), limit)
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"vary", b"Accept, Accept-Encoding"),
        *cors,
    ]
    body = _page(topic, start, events)
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


async def _wait_for_more(hub: Hub, topic: Topic[Any], request: Request, wait: float) -> bool:
    """Wait for an event, the end, the drain, or the time; False where the client has gone."""
    connection = Connection("json", request.client, due=inf, grant=request.grant)
    disconnect = hub.connect(connection)
    connection.leave["watch"] = topic.log.watch(connection.wake.set)
    connection.leave["audience"] = topic.audience.enter()
    gone = False
    try:
        async with trio.open_nursery() as nursery:

            async def watch_client() -> None:
                nonlocal gone
                await request.disconnected()
                gone = True
                nursery.cancel_scope.cancel("the client has gone")

            nursery.start_soon(watch_client)
            with trio.move_on_after(wait):
                last = topic.log.bounds().last
                while (
                    topic.log.bounds().last == last
                    and not topic.log.bounds().ended
                    and not hub.farewell
                    and connection.ending is None
                ):
                    await connection.wake.wait()
            nursery.cancel_scope.cancel("the wait is over")
    finally:
        disconnect()
    return not gone


def _page(topic: Topic[Any], start: Start, events: list[StoredEvent]) -> bytes:
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
    return msgspec.json.encode(page)


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
