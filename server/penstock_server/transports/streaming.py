"""A log as a stream over HTTP: SSE, NDJSON or MessagePack, or how else a `Presentation` says it.

One task writes what its reader gives; another waits for the client to go away and then cancels
the first. Nothing is queued: between two writes the connection is a position in the log. Where the
socket can be reached, a connection that is up to date rides a lane: the fan-out writes to it, and
its task sleeps until the socket blocks, or there is something else to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import trio

from penstock.wire import (
    Cursor,
    ErrorCode,
    ErrorMessage,
    Keepalive,
    Reconnect,
    ServerMessage,
    Subscribed,
)

from ..access_log import stream_ended
from ..connections import Connection, Ending
from ..fanout import Form, Framing, Lane, Piece, Reader, Slow
from ..hub import Hub
from ..hypercorn_guard import DirectSocket, abort_soon, chunk_writer_of, direct_socket_of
from ..log import Start
from ..topics import Topic
from .asking import policy_of, position_asked
from .body import Body, body_in
from .framing import MSGPACK_STREAM, NDJSON, SSEFraming
from .http import Headers, Request, Send, respond_empty
from .negotiation import Format, choose_coding

_CONTENT_TYPES: dict[Format, bytes] = {
    "sse": b"text/event-stream",
    "ndjson": b"application/x-ndjson",
    "msgpack": b"application/msgpack",
}
_WRITE_BYTES = 64 * 1024
"""A peer has one stall time-out for so many bytes."""


def _nobody() -> None:
    """What is called where nobody waits for the reader."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a log is told to one client.

    Attributes:
        framing: how events and messages are said.
        content_type: the media type of that.
        format: what it counts as.
        start: where reading starts.
        slow: what becomes of the client when it falls behind.
        headers: further headers of the answer.
        joined: called once the client counts among the log's readers.
        tells_errors: whether it has words for errors, although its format is ``sse``.
    """

    framing: Framing
    content_type: bytes
    format: Format
    start: Start
    slow: Slow
    headers: Headers = ()
    joined: Callable[[], object] = _nobody
    tells_errors: bool = False


async def stream_topic(
    hub: Hub,
    topic: Topic[Any],
    format_: Format,
    request: Request,
    send: Send,
    headers: Headers,
    *,
    default: str = "latest",
    joined: Callable[[], object] = _nobody,
) -> Ending | None:
    """Answer with a log's events until the client goes, the log ends, or the server drains.

    `default` is where a client starts that doesn't say. Gives why the server ended the stream of
    its own accord, where it did. Cancelled, the response is cut where it is.
    """
    sse = format_ == "sse"
    asked = position_asked(request, sse=sse, default=default)
    slow = policy_of(request, topic)
    start = hub.start_of(topic, asked)
    if sse and isinstance(asked, Cursor) and _is_over(topic, start):
        await respond_empty(send, 204, headers)
        return None
    framing, kind = _framing(hub, topic, format_), _CONTENT_TYPES[format_]
    presentation = Presentation(framing, kind, format_, start, slow, headers, joined)
    return await stream_log(hub, topic, presentation, request, send)


async def stream_log(
    hub: Hub, topic: Topic[Any], presentation: Presentation, request: Request, send: Send
) -> Ending | None:
    """Answer with a log in any presentation; see `stream_topic`."""
    body = body_in(choose_coding(request.header("accept-encoding")))
    with topic.held():  # until it is counted among the readers
        await _respond(send, presentation.content_type, body, presentation.headers)
    if request.method == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return None
    connection = Connection(presentation.format, request.client, inf, grant=request.grant)
    connection.abort = partial(abort_soon, send)
    connection.is_traffic = topic.is_traffic
    disconnect = hub.connect(connection)
    try:
        reader = hub.connections.join(
            connection,
            topic,
            presentation.framing,
            presentation.start,
            presentation.slow,
            connection.wake.set,
        )
        presentation.joined()
        stream = _Stream(hub, connection, reader, body, send)
        stream.tells_errors = presentation.tells_errors or presentation.format != "sse"
        async with trio.open_nursery() as nursery:

            async def watch_client() -> None:
                await request.disconnected()
                nursery.cancel_scope.cancel("the client has gone")

            nursery.start_soon(watch_client)
            await stream.run()
            nursery.cancel_scope.cancel("the stream is over")
    finally:
        disconnect()
        ending = connection.ending or ""
        stream_ended(connection, request.scope["path"], ending=ending, method=request.method)
    return connection.ending


async def _respond(send: Send, content_type: bytes, body: Body, more: Headers) -> None:
    vary = b"Accept, Accept-Encoding"
    headers = [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"vary", vary),
        *more,
    ]
    if body.coding is not None:
        headers.append((b"content-encoding", body.coding.encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def _is_over(topic: Topic[Any], start: Start) -> bool:
    """Whether a client that resumes there has had everything there will ever be."""
    bounds = topic.log.bounds()
    return bounds.ended and start.gap is None and start.after == bounds.last


def _framing(hub: Hub, topic: Topic[Any], format_: Format) -> Framing:
    if format_ == "sse":
        return SSEFraming(text=topic.encoding == "text", retry=hub.timing.retry)
    return MSGPACK_STREAM if format_ == "msgpack" else NDJSON


class _Stream:
    """One response's body, as its own task writes it, and as a lane's `Sink`."""

    __slots__ = (
        "_body",
        "_connection",
        "_direct",
        "_hub",
        "_reader",
        "_send",
        "_write_chunk",
        "tells_errors",
    )

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        reader: Reader,
        body: Body,
        send: Send,
    ) -> None:
        self._hub = hub
        self._connection = connection
        self._reader = reader
        self._body = body
        self._send = send
        self.tells_errors = True
        self._direct: DirectSocket | None = None
        self._write_chunk: Callable[[bytes], Awaitable[None]] | None = None

    async def run(self) -> None:
        """Write the whole body: the opening, then pieces as they come, then the end."""
        reader = self._reader
        # An EventSource comes back with the last id it has had, if it is cut off right after it.
        sse = self._connection.transport == "sse"
        cursor = reader.resumes_at if sse else reader.cursor
        await self._say(Subscribed(reader.feed.topic, cursor))
        if self._hub.direct:
            self._write_chunk = chunk_writer_of(self._send)
        if self._hub.direct and self._body.form is not None:
            self._direct = direct_socket_of(self._send, self._blocked)
            if self._direct is not None:
                self._direct.on_progress = self._connection.progressed
        while await self._go_on():
            pass
        end = self._body.end()
        await self._send({"type": "http.response.body", "body": end, "more_body": False})

    async def _go_on(self) -> bool:
        """Do the next thing there is to do; False where the body is to be ended."""
        connection, reader = self._connection, self._reader
        if connection.ending is not None:
            await self._say_why(connection.ending)
            return False
        if self._direct is not None and not self._direct.is_clear:
            await connection.noting(self._direct.flush())
            return True
        before = reader.position
        piece = reader.next()
        if piece is not None:
            await self._write(piece, before)
        elif reader.end_told:
            return False
        elif self._hub.farewell:
            await self._say(Reconnect(self._hub.reconnect_delay()))
            return False
        elif connection.is_due:
            await self._say(Keepalive())
        else:
            await self._wait()
        return True

    async def _wait(self) -> None:
        """Wait until there is something to do, riding a lane where that is possible."""
        form = self._body.form
        if self._direct is None or form is None or not self._board(form):
            await self._connection.wake.wait()
            return
        self._connection.due = inf  # the lane keeps it alive
        try:
            await self._connection.wake.wait()
        finally:
            self._alight()

    def _board(self, form: Form) -> bool:
        return self._reader.delivery.board(self._reader, form, self)

    def _alight(self) -> None:
        if self._reader.lane is not None:
            self._connection.due = self._reader.lane.last_write + self._hub.timing.keepalive
            self._reader.delivery.alight(self._reader)

    def _blocked(self) -> None:
        """The socket takes no more: this task has to wait for it."""
        self._alight()
        self._connection.wake.set()

    # Writing

    async def _say(self, message: ServerMessage) -> None:
        reader = self._reader
        await self._write(reader.feed.said(message, reader.position), reader.position)

    async def _say_why(self, ending: str) -> None:
        """Tell a client why its stream ends, as far as its format has words for it."""
        if ending in ("age", "slow", "stalled"):
            await self._say(Reconnect(self._hub.reconnect_delay()))
        elif self.tells_errors:
            why = f"the token has {'expired' if ending == 'expired' else 'been revoked'}"
            topic = self._reader.feed.topic
            await self._say(ErrorMessage(ErrorCode.FORBIDDEN, why, None, topic))

    async def _write(self, piece: Piece, before: int) -> None:
        connection = self._connection
        write_chunk = self._write_chunk if len(piece.joined) <= _WRITE_BYTES else None
        data = self._body.encode(piece) if write_chunk is None else self._body.chunk(piece)
        send = self._send_slices if write_chunk is None else write_chunk
        await connection.noting(send(data))
        connection.due = trio.current_time() + self._hub.timing.keepalive
        if not connection.is_traffic:
            return
        age = self._reader.delivery.lag(self._reader, before) if piece.events else None
        self._hub.connections.count(connection.transport, piece, len(data), age)

    async def _send_slices(self, data: bytes) -> None:
        """Send through ASGI, in slices each of which has one stall time-out."""
        for start in range(0, len(data), _WRITE_BYTES):
            self._connection.progressed()
            part = data[start : start + _WRITE_BYTES] if len(data) > _WRITE_BYTES else data
            await self._send({"type": "http.response.body", "body": part, "more_body": True})

    # As a lane's sink

    @property
    def send(self) -> Callable[[bytes], int]:
        """See `Sink.send`."""
        assert self._direct is not None, "who rides can be written to"
        return self._direct.send

    def owe(self, rest: bytes) -> None:
        """See `Sink.owe`."""
        assert self._direct is not None, "who rides can be written to"
        self._direct.owe(rest)

    def boarded(self, lane: Lane) -> None:
        """See `Sink.boarded`."""
        self._body.boarded(lane)

    def alighted(self, lane: Lane) -> None:
        """See `Sink.alighted`."""
        self._body.alighted(lane)
