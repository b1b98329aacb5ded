"""``GET /ws``: many topics over one WebSocket, both ways.

Two tasks a connection: one takes the client's messages, the other is the only one that writes. The
first puts answers into a bounded outbox and changes the set of readers; the second gathers the
outbox and what the readers give into frames. A client that asks without reading the answers is not
read from any more until it does.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from penstock.wire import (
    JSON,
    MSGPACK,
    CloseCode,
    ConnectionLimits,
    Hello,
    JsonCodec,
    MsgpackCodec,
    Reconnect,
    ServerMessage,
    Undecodable,
)

from ..access_log import stream_ended
from ..aside import work_on
from ..connections import Connection, Ending
from ..fanout import PIECE_BYTES, Lane, Piece, Reader
from ..grants import UNRESTRICTED, Grant
from ..hub import Hub
from ..hypercorn_guard import (
    GuardedWebSocket,
    abort_soon,
    direct_socket_of,
    websocket_of,
)
from .framing import BINARY_FRAME, JSON_FRAMES, MSGPACK_FRAMES, TEXT_FRAME
from .http import Problem, Receive, Scope, Send, client_of
from .outbox import Outbox
from .requests import Requests

logger = logging.getLogger("penstock.server")

_CODECS: dict[str, JsonCodec | MsgpackCodec] = {
    codec.subprotocol: codec for codec in (JSON, MSGPACK)
}


_CLOSED_FOR: dict[Ending, tuple[CloseCode, str]] = {
    "expired": (CloseCode.TOKEN_EXPIRED, "the token has expired"),
    "revoked": (CloseCode.POLICY, "the token has been revoked"),
    "age": (CloseCode.RESTART, "the connection is old; make a new one"),
    "slow": (CloseCode.TOO_SLOW, "the client reads too slowly"),
    "stalled": (CloseCode.TOO_SLOW, "the client takes nothing"),
}


async def serve_websocket(
    hub: Hub, scope: Scope, receive: Receive, send: Send, grant: Grant = UNRESTRICTED
) -> None:
    """Accept and serve one connection until either side closes it.

    The caller has checked the origin, and who the client is. Cancelled, the connection is cut.
    """
    message = await receive()
    if message["type"] != "websocket.connect":
        return
    offered: list[str] = list(scope.get("subprotocols") or ())
    chosen = next((each for each in offered if each in _CODECS), None)
    if offered and chosen is None:
        problem = Problem(
            400, "Unknown Subprotocol", f"This server speaks {', '.join(sorted(_CODECS))}."
        )
        await refuse_websocket(scope, send, problem)
        return
    await send({"type": "websocket.accept", "subprotocol": chosen})
    codec = JSON if chosen is None else _CODECS[chosen]
    session = _Session(hub, codec, client_of(scope), receive, send, grant)
    disconnect = hub.connect(session.connection)
    try:
        await session.run()
    except Exception:
        logger.exception("a WebSocket connection failed")
        await send({"type": "websocket.close", "code": int(CloseCode.INTERNAL_ERROR)})
    finally:
        disconnect()
        status = 101 if scope.get("http_version") == "1.1" else 200
        ending = session.connection.ending or ""
        stream_ended(session.connection, scope["path"], status=status, ending=ending)


async def refuse_websocket(scope: Scope, send: Send, problem: Problem) -> None:
    """Answer the handshake with an HTTP problem, where the ASGI server can, else with 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": int(CloseCode.POLICY)})
        return
    body = problem.body()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *problem.headers,
    ]
    start = {"type": "websocket.http.response.start", "status": problem.status}
    await send({**start, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


class _Session:
    """One accepted connection."""

    def __init__(
        self,
        hub: Hub,
        codec: JsonCodec | MsgpackCodec,
        client: str,
        receive: Receive,
        send: Send,
        grant: Grant,
    ) -> None:
        self.connection = Connection(
            "websocket", client, due=trio.current_time() + hub.timing.heartbeat, grant=grant
        )
        self.connection.abort = partial(abort_soon, send)
        framing = MSGPACK_FRAMES if codec.binary else JSON_FRAMES
        self._hub = hub
        self._codec = codec
        self._form = BINARY_FRAME if codec.binary else TEXT_FRAME
        self._receive = receive
        self._send = send
        self._outbox = Outbox()
        self._requests = Requests(hub, self.connection, framing, self._say, self._wake_for)
        self._ready: dict[str, None] = {}
        self._closing: tuple[CloseCode, str] | None = None
        self._pinged: float | None = None
        self._socket: GuardedWebSocket | None = websocket_of(send)
        if self._socket is not None:
            self._socket.max_message_bytes = hub.limits.max_message_bytes
        self._direct = direct_socket_of(send, self._blocked) if hub.direct else None
        if self._direct is not None:
            self._direct.on_progress = self.connection.progressed

    def _wake_for(self, name: str) -> Callable[[], None]:
        def wake() -> None:
            self._ready[name] = None
            self.connection.wake.set()

        return wake

    async def run(self) -> None:
        """Serve until the client has gone, or until it has been told that we go."""
        limits = self._hub.limits
        self._say(
            Hello(
                secrets.token_urlsafe(9),
                self._hub.timing.heartbeat,
                ConnectionLimits(limits.max_message_bytes, limits.max_subscriptions),
            )
        )
        async with trio.open_nursery() as nursery:

            async def take_messages() -> None:
                await self._take_messages()
                nursery.cancel_scope.cancel("the client has gone")

            nursery.start_soon(take_messages)
            await self._write_messages()
            nursery.cancel_scope.cancel("the connection is closed")

    # Writing

    async def _write_messages(self) -> None:
        while await self._go_on():
            pass
        self.connection.leave_all()  # a lane must not write behind a close frame
        code, reason = self._closing or (CloseCode.INTERNAL_ERROR, "")
        await self._send({"type": "websocket.close", "code": int(code), "reason": reason})

    async def _go_on(self) -> bool:
        """Do the next thing there is to do; False where the connection is to be closed."""
        connection = self.connection
        if connection.is_due and not await self._beat():
            return False
        if connection.ending is not None and self._closing is None:
            self._closing = _CLOSED_FOR[connection.ending]
            if connection.ending == "age":
                self._say(Reconnect(self._hub.reconnect_delay()))
        if self._closing is not None:
            await self._send_messages(self._outbox.take())
            return False
        if self._direct is not None and self._direct.has_ended:
            self._direct = None  # it will never be clear; what is still said is dropped
        if self._direct is not None and not self._direct.is_clear:
            await connection.noting(self._direct.flush())
        elif await self._write_what_is_there():
            pass
        elif self._hub.farewell:
            await self._send_messages([self._codec.encode(Reconnect(self._hub.reconnect_delay()))])
            self._closing = CloseCode.RESTART, "the server is restarting"
            return False
        else:
            self._board()
            await connection.wake.wait()
        return True

    async def _write_what_is_there(self) -> bool:
        """Write a frame of answers first, then of what the readers give; whether there was any."""
        messages = self._outbox.take()
        size = sum(map(len, messages))
        given: list[tuple[Reader, Piece, int]] = []
        for name in list(self._ready):
            if size > PIECE_BYTES:
                break
            del self._ready[name]
            reader = self.connection.readers.get(name)
            if reader is None or reader.lane is not None:
                continue
            before = reader.position
            piece = reader.next()
            if piece is not None:
                given.append((reader, piece, before))
                size += len(piece.joined)
                self._ready[name] = None  # to the end of the line: each topic gets its turn
            if reader.end_told:
                self._ready.pop(name, None)
                self.connection.leave.pop(name)()
        if len(given) == 1 and not messages:
            await self._send_frame(given[0][1].joined)  # shared by all that read the same
        else:
            await self._send_messages(
                [*messages, *(frame for _, piece, _ in given for frame in piece.framed)]
            )
        for reader, piece, before in given:
            self._count(reader, piece, before)
        return bool(messages or given)

    def _count(self, reader: Reader, piece: Piece, before: int) -> None:
        age = reader.delivery.lag(reader, before)
        self._hub.connections.count("websocket", piece, len(piece.joined), age)

    async def _send_messages(self, messages: list[bytes]) -> None:
        if messages:
            await self._send_frame(self._codec.array(messages))

    async def _send_frame(self, frame: bytes) -> None:
        payload = {"bytes": frame} if self._codec.binary else {"text": frame.decode()}
        await self.connection.noting(self._send({"type": "websocket.send", **payload}))

    # Lanes

    def _board(self) -> None:
        """Let the readers ride that are up to date."""
        if self._direct is None:
            return
        for reader in self.connection.readers.values():
            if reader.lane is None:
                reader.delivery.board(reader, self._form, self)

    def _blocked(self) -> None:
        """The socket takes no more: this connection's task has to wait for it."""
        for name, reader in self.connection.readers.items():
            reader.delivery.alight(reader)
            self._ready[name] = None
        self.connection.wake.set()

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

    def alighted(self, lane: Lane) -> None:
        """See `Sink.alighted`."""

    async def _beat(self) -> bool:
        """Ping the peer; False, and the connection dropped, where its last pong is too late.

        Other ASGI servers than the guarded Hypercorn have heartbeats of their own.
        """
        self.connection.due = trio.current_time() + self._hub.timing.heartbeat
        socket = self._socket
        if socket is None:
            return True
        if self._pinged is not None and socket.last_pong < self._pinged:
            logger.info("a WebSocket peer missed its heartbeat: %s", self.connection.client)
            await socket.abort()
            return False
        self._pinged = trio.current_time()
        await socket.ping()
        return True

    def _say(self, message: ServerMessage) -> None:
        self._outbox.put(self._codec.encode(message))
        self.connection.wake.set()

    # Reading

    async def _take_messages(self) -> None:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                return
            if self._closing is None:
                messages = await self._messages_in(event)
                size = len(event.get("bytes") or event.get("text") or b"") // max(1, len(messages))
                for message in messages:
                    # Each is answered, and a frame may hold many thousands of them.
                    await self._outbox.wait_for_room()
                    await self._requests.take(message, size)

    async def _messages_in(self, event: Any) -> list[object]:
        """What a frame holds; nothing, and the connection closed soon, where it can't be read."""
        data: bytes | None = event.get("bytes")
        text: str | None = event.get("text")
        if (data is None) == self._codec.binary:
            kind = "binary" if self._codec.binary else "text"
            self._close_soon(CloseCode.WRONG_FRAME_KIND, f"{self._codec.name} is in {kind} frames")
            return []
        payload = text.encode(errors="surrogatepass") if text is not None else data or b""
        if len(payload) > self._hub.limits.max_message_bytes:
            self._close_soon(CloseCode.TOO_BIG, "the message is too big")
            return []
        try:
            return await work_on(payload, self._decode)
        except Undecodable as fault:
            self._close_soon(CloseCode.UNDECODABLE, f"not {self._codec.name}: {fault}")
            return []

    def _decode(self, payload: bytes) -> list[object]:
        try:
            return self._codec.decode_frame(payload)
        except Undecodable:
            # A lone number or text can be read; it is only no message.
            value = self._codec.decode_value(payload)
            if isinstance(value, dict | list):
                raise
            return [value]

    def _close_soon(self, code: CloseCode, reason: str) -> None:
        # A close frame holds 125 bytes, two of them the code (RFC 6455 section 5.5).
        self._closing = (code, reason.encode()[:120].decode(errors="ignore"))
        self.connection.wake.set()
