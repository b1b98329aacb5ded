"""``GET /ws``: many topics over one WebSocket, both ways.

Two tasks a connection: one takes the client's messages, the other is the only one that writes. The
first puts answers into a bounded outbox and changes the set of readers; the second gathers the
outbox and what the readers give into frames. A client that asks without reading the answers is not
read from any more until it does.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

import trio

from penstock.wire import (
    JSON,
    MSGPACK,
    BadCursor,
    BadMessage,
    CloseCode,
    ConnectionLimits,
    Cursor,
    ErrorCode,
    ErrorMessage,
    Hello,
    JsonCodec,
    MsgpackCodec,
    Ping,
    Pong,
    Publish,
    Published,
    Reconnect,
    Ref,
    ServerMessage,
    Subscribe,
    Subscribed,
    Undecodable,
    Unsubscribe,
    Unsubscribed,
    cursor_text,
    parse_client_message,
)

from ..aside import work_on
from ..fanout import PIECE_BYTES, Piece, Reader
from ..hub import Connection, Hub
from ..hypercorn_guard import GuardedWebSocket, websocket_of
from ..publishing import Refused, store
from ..topics import Topic
from .framing import JSON_FRAMES, MSGPACK_FRAMES
from .http import Problem, Receive, Scope, Send, client_of
from .outbox import Outbox

logger = logging.getLogger("penstock.server")

_CODECS: dict[str, JsonCodec | MsgpackCodec] = {
    codec.subprotocol: codec for codec in (JSON, MSGPACK)
}


async def serve_websocket(hub: Hub, scope: Scope, receive: Receive, send: Send) -> None:
    """Accept and serve one connection until either side closes it.

    The caller has checked the origin. Cancelled, the connection is cut.
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
    session = _Session(hub, codec, client_of(scope), receive, send)
    disconnect = hub.connect(session.connection)
    try:
        await session.run()
    except Exception:
        logger.exception("a WebSocket connection failed")
        await send({"type": "websocket.close", "code": int(CloseCode.INTERNAL_ERROR)})
    finally:
        session.leave_all()
        disconnect()


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
    ) -> None:
        self.connection = Connection(
            "websocket", client, due=trio.current_time() + hub.timing.heartbeat
        )
        self._hub = hub
        self._codec = codec
        self._framing = MSGPACK_FRAMES if codec.binary else JSON_FRAMES
        self._receive = receive
        self._send = send
        self._outbox = Outbox()
        self._leave: dict[str, Any] = {}
        self._closing: tuple[CloseCode, str] | None = None
        self._pinged: float | None = None
        self._socket: GuardedWebSocket | None = websocket_of(send)
        if self._socket is not None:
            self._socket.max_message_bytes = hub.limits.max_message_bytes

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

    def leave_all(self) -> None:
        """Stop reading every topic."""
        for leave in self._leave.values():
            leave()
        self._leave.clear()

    # Writing

    async def _write_messages(self) -> None:
        connection = self.connection
        while True:
            if connection.is_due and not await self._beat():
                return
            if self._closing is not None:
                answers = self._outbox.take()
                if answers:
                    await self._send_frame(self._codec.array(answers))
                code, reason = self._closing
                await self._close(code, reason)
                return
            frame = self._next_frame()
            if frame is not None:
                await self._send_frame(frame)
            elif self._hub.farewell:
                farewell = Reconnect(self._hub.reconnect_delay())
                await self._send_frame(self._codec.array([self._codec.encode(farewell)]))
                await self._close(CloseCode.RESTART, "the server is restarting")
                return
            else:
                await connection.wake.wait()

    def _next_frame(self) -> bytes | None:
        """Answers first, then what the readers give, up to the size of a frame."""
        messages = self._outbox.take()
        size = sum(map(len, messages))
        pieces: list[Piece] = []
        readers = self.connection.readers
        for name in list(readers):
            if size > PIECE_BYTES:
                break
            reader = readers.pop(name)
            piece = reader.next()
            if not reader.end_told:
                readers[name] = reader  # to the end of the line: each topic gets its turn
            else:
                self._leave.pop(name)()
            if piece is not None:
                pieces.append(piece)
                size += len(piece.joined)
        if len(pieces) == 1 and not messages:
            return pieces[0].joined  # shared with every connection that reads the same
        for piece in pieces:
            messages += piece.framed
        return self._codec.array(messages) if messages else None

    async def _send_frame(self, frame: bytes) -> None:
        if self._codec.binary:
            await self._send({"type": "websocket.send", "bytes": frame})
        else:
            await self._send({"type": "websocket.send", "text": frame.decode()})

    async def _close(self, code: CloseCode, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": int(code), "reason": reason})

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
                for message in await self._messages_in(event):
                    # Each is answered, and a frame may hold many thousands of them.
                    await self._outbox.wait_for_room()
                    self._take_message(message)

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

    def _take_message(self, value: object) -> None:
        try:
            message = parse_client_message(value)
        except BadMessage as fault:
            self._refuse(ErrorCode.BAD_MESSAGE, fault.message, fault.ref)
            return
        match message:
            case Subscribe():
                self._subscribe(message)
            case Unsubscribe():
                self._unsubscribe(message)
            case Publish():
                self._publish(message)
            case Ping():
                self._say(Pong(message.ref))

    def _refuse(
        self, code: ErrorCode, problem: str, ref: Ref | None, topic: str | None = None
    ) -> None:
        self._say(ErrorMessage(code, problem, ref, topic))

    def _topic(self, name: str, ref: Ref | None) -> Topic[Any] | None:
        topic = self._hub.topics.get(name)
        if topic is None:
            problem = f"there is no topic {name[:128]!r}"
            self._refuse(ErrorCode.UNKNOWN_TOPIC, problem, ref, name[:128])
        return topic

    def _subscribe(self, message: Subscribe) -> None:
        topic = self._topic(message.topic, message.ref)
        if topic is None:
            return
        readers, most = self.connection.readers, self._hub.limits.max_subscriptions
        if topic.name in readers:
            problem = "this connection reads the topic already; unsubscribe first"
            self._refuse(ErrorCode.ALREADY_SUBSCRIBED, problem, message.ref, topic.name)
        elif len(readers) >= most:
            problem = f"a connection reads at most {most} topics"
            self._refuse(ErrorCode.LIMIT, problem, message.ref, topic.name)
        elif message.slow not in (None, "skip"):
            problem = f"slow={message.slow!r} is not milder than the topic's own, 'skip'"
            self._refuse(ErrorCode.INVALID, problem, message.ref, topic.name)
        else:
            self._start_reading(topic, message)

    def _start_reading(self, topic: Topic[Any], message: Subscribe) -> None:
        asked: Any = message.after
        if asked not in ("earliest", "latest"):
            try:
                asked = Cursor.parse(asked)
            except BadCursor as fault:
                self._refuse(ErrorCode.BAD_CURSOR, str(fault), message.ref, topic.name)
                return
        start = self._hub.start_of(topic, asked)
        reader: Reader = self._hub.reader(topic, self._framing, start)
        self.connection.readers[topic.name] = reader
        self._leave[topic.name] = topic.readers.add(self.connection.wake.set)
        self._say(Subscribed(topic.name, reader.cursor, message.ref))

    def _unsubscribe(self, message: Unsubscribe) -> None:
        topic = self._topic(message.topic, message.ref)
        if topic is None:
            return
        if self.connection.readers.pop(topic.name, None) is not None:
            self._leave.pop(topic.name)()
        self._say(Unsubscribed(topic.name, message.ref))

    def _publish(self, message: Publish) -> None:
        topic = self._topic(message.topic, message.ref)
        if topic is None:
            return
        if not topic.publishable:
            problem = "the topic takes no publications"
            self._refuse(ErrorCode.NOT_PUBLISHABLE, problem, message.ref, topic.name)
        elif self._hub.draining:
            problem = "the server is going away; publish again after reconnecting"
            self._refuse(ErrorCode.UNAVAILABLE, problem, message.ref, topic.name)
        else:
            try:
                offset = store(self._hub, topic, [message.data], message.event)
            except Refused as fault:
                problem = f"{fault.problem} (at {fault.path})"
                self._refuse(ErrorCode.INVALID, problem, message.ref, topic.name)
            else:
                cursor = cursor_text(topic.log.epoch, offset)
                self._say(Published(topic.name, cursor, 1, message.ref))
