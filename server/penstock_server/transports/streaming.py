"""``GET /topics/{topic}`` as a stream: SSE, NDJSON or MessagePack.

One task writes what its reader gives; another waits for the client to go away and then cancels
the first. Nothing is queued: between two writes the connection is a position in the log.
"""

from __future__ import annotations

from typing import Any

import trio

from penstock.wire import BadCursor, Cursor, Keepalive, Reconnect, ServerMessage, Subscribed

from ..fanout import Framing, Piece, Reader
from ..hub import Connection, Hub
from ..log import Start
from ..topics import Topic
from .framing import MSGPACK_STREAM, NDJSON, SSEFraming
from .http import Headers, Problem, Request, Send, respond_empty
from .negotiation import Format

_CONTENT_TYPES: dict[Format, bytes] = {
    "sse": b"text/event-stream",
    "ndjson": b"application/x-ndjson",
    "msgpack": b"application/msgpack",
}


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


async def stream_topic(
    hub: Hub, topic: Topic[Any], format_: Format, request: Request, send: Send, cors: Headers
) -> None:
    """Answer with the topic's events until the client goes, the log ends, or the server drains.

    Cancelled, the response is cut where it is.
    """
    sse = format_ == "sse"
    asked = position_asked(request, sse=sse)
    start = hub.start_of(topic, asked)
    if sse and isinstance(asked, Cursor) and _is_over(topic, start):
        await respond_empty(send, 204, cors)
        return
    headers = [
        (b"content-type", _CONTENT_TYPES[format_]),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        *cors,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if request.method == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    reader = hub.reader(topic, _framing(hub, topic, format_), start)
    connection = Connection(format_, request.client, trio.current_time() + hub.timing.keepalive)
    connection.readers[topic.name] = reader
    disconnect = hub.connect(connection)
    remove = topic.readers.add(connection.wake.set)
    try:
        async with trio.open_nursery() as nursery:

            async def watch_client() -> None:
                await request.disconnected()
                nursery.cancel_scope.cancel("the client has gone")

            nursery.start_soon(watch_client)
            await _write(hub, connection, reader, send)
            nursery.cancel_scope.cancel("the stream is over")
    finally:
        remove()
        disconnect()


def _is_over(topic: Topic[Any], start: Start) -> bool:
    """Whether a client that resumes there has had everything there will ever be."""
    bounds = topic.log.bounds()
    return bounds.ended and start.gap is None and start.after == bounds.last


def _framing(hub: Hub, topic: Topic[Any], format_: Format) -> Framing:
    if format_ == "sse":
        return SSEFraming(text=topic.encoding == "text", retry=hub.timing.retry)
    return MSGPACK_STREAM if format_ == "msgpack" else NDJSON


async def _write(hub: Hub, connection: Connection, reader: Reader, send: Send) -> None:
    """The whole body: the opening, then pieces as they come, then the end."""
    framing = reader.feed.framing

    async def write(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})
        connection.due = trio.current_time() + hub.timing.keepalive

    async def say(message: ServerMessage) -> None:
        await write(framing.join((framing.message(message),)))

    await say(Subscribed(reader.feed.topic, reader.cursor))
    while True:
        piece: Piece | None = reader.next()
        if piece is not None:
            await write(piece.joined)
        elif reader.end_told:
            break
        elif hub.farewell:
            await say(Reconnect(hub.reconnect_delay()))
            break
        elif connection.is_due:
            await say(Keepalive())
        else:
            await connection.wake.wait()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
