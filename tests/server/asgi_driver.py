"""An ASGI server and its clients, in memory: they drive a `Server` without a socket.

Nothing is buffered on the way, so a client that takes nothing holds the application's ``send`` up,
and a message that the application doesn't receive holds the client up. Whatever a client waits for
must come within `PATIENCE` seconds of Trio's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import trio

from penstock.wire import JSON, MSGPACK, ServerSentEvent, SSEDecoder
from penstock_server import Server

Message: TypeAlias = dict[str, Any]

PATIENCE = 30.0
HOST = "testserver"


class Exchange:
    """One ASGI scope that the application works on."""

    def __init__(self, server: Server, scope: Message, received: Iterable[Message] = ()) -> None:
        self._server = server
        self._scope = scope
        self._received = deque(received)
        self._to_app, self._app_receives = trio.open_memory_channel[Message](0)
        self._app_sends, self._from_app = trio.open_memory_channel[Message](0)
        self._disconnect = {"type": f"{scope['type']}.disconnect"}

    async def run(self) -> None:
        """Call the application."""
        async with self._app_sends, self._app_receives:
            await self._server(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._received:
            await trio.lowlevel.checkpoint()
            return self._received.popleft()
        try:
            return await self._app_receives.receive()
        except trio.EndOfChannel:
            return self._disconnect

    async def _send(self, message: Any) -> None:
        try:
            await self._app_sends.send(dict(message))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()  # as a server does once the client has gone

    async def say(self, message: Message) -> None:
        """Let the application receive a message; waits until it does."""
        with trio.fail_after(PATIENCE):
            await self._to_app.send(message)

    async def hear(self) -> Message | None:
        """What the application sends next; None once it has returned."""
        with trio.fail_after(PATIENCE):
            try:
                return await self._from_app.receive()
            except trio.EndOfChannel:
                return None

    def leave(self) -> None:
        """The client goes away."""
        self._to_app.close()
        self._from_app.close()


class Response:
    """An answer over HTTP, read as it comes."""

    def __init__(self, exchange: Exchange, start: Message) -> None:
        assert start["type"] == "http.response.start", start
        self.status: int = start["status"]
        pairs: list[tuple[bytes, bytes]] = start["headers"]
        self.headers = {name.decode().lower(): value.decode() for name, value in pairs}
        self._exchange = exchange
        self._ended = False
        self._decoder = SSEDecoder()
        self._events: deque[ServerSentEvent] = deque()

    async def piece(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        while not self._ended:
            message = await self._exchange.hear()
            assert message is not None, "the body was not ended"
            self._ended = not message.get("more_body", False)
            if message["body"]:
                return cast("bytes", message["body"])
        return None

    async def read(self) -> bytes:
        """The rest of the body."""
        pieces: list[bytes] = []
        while (piece := await self.piece()) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    async def json(self) -> Any:
        """The body, decoded."""
        return JSON.decode_value(await self.read())

    async def lines(self) -> list[Any]:
        """The messages of the next piece of an NDJSON stream; none at the end."""
        return list(JSON.decode_values(await self.piece() or b""))

    async def event(self) -> ServerSentEvent:
        """The next event of an SSE stream."""
        while not self._events:
            piece = await self.piece()
            assert piece is not None, "the stream has ended"
            self._events.extend(self._decoder.feed(piece))
        return self._events.popleft()

    async def events(self, count: int) -> list[ServerSentEvent]:
        """That many events of an SSE stream."""
        return [await self.event() for _ in range(count)]


class WebSocket:
    """The client's end of a WebSocket.

    Attributes:
        subprotocol: what the server chose.
        refused: the HTTP status, or 403 for a plain close, of a handshake that was refused.
        close_code: why the server closed it.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.subprotocol: str | None = None
        self.refused: int | None = None
        self.close_code: int | None = None
        self._exchange = exchange
        self._messages: deque[Message] = deque()

    async def connect(self) -> None:
        """Take the answer to the handshake."""
        answer = await self._exchange.hear()
        assert answer is not None
        if answer["type"] == "websocket.accept":
            self.subprotocol = answer["subprotocol"]
        else:
            self.refused = answer.get("status", 403)
            while await self._exchange.hear() is not None:
                pass

    @property
    def codec(self) -> Any:
        """The codec of the subprotocol."""
        return MSGPACK if self.subprotocol == MSGPACK.subprotocol else JSON

    async def send(self, *messages: object) -> None:
        """Send messages in one frame; waits until the server takes it."""
        payload = self.codec.array([self.codec.encode(message) for message in messages])
        await self.send_frame(payload if self.codec.binary else payload.decode())

    async def send_frame(self, payload: bytes | str) -> None:
        """Send a frame as it is."""
        kind = "bytes" if isinstance(payload, bytes) else "text"
        await self._exchange.say({"type": "websocket.receive", kind: payload})

    async def frame(self) -> list[Message]:
        """The messages of the next frame; none once the server has closed."""
        heard = await self._exchange.hear()
        if heard is None:
            return []
        if heard["type"] == "websocket.close":
            self.close_code = heard["code"]
            return []
        payload = heard["bytes"] if self.codec.binary else heard["text"]
        return cast("list[Message]", self.codec.decode_frame(payload))

    async def receive(self) -> Message:
        """The next message."""
        while not self._messages:
            frame = await self.frame()
            assert frame, f"the server closed with {self.close_code}"
            self._messages.extend(frame)
        return self._messages.popleft()

    async def receive_many(self, count: int) -> list[Message]:
        """That many messages."""
        return [await self.receive() for _ in range(count)]

    async def closed(self) -> int | None:
        """Drop what still comes, and give the close code."""
        while await self.frame():
            pass
        return self.close_code


class Driver:
    """Runs one server and opens connections to it."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.server = server
        self._nursery = nursery
        self._lifespan = Exchange(server, {"type": "lifespan", "asgi": _ASGI})
        self._shut_down = False

    async def start_up(self) -> None:
        """The ASGI lifespan's startup."""
        self._nursery.start_soon(self._lifespan.run)
        await self._lifespan.say({"type": "lifespan.startup"})
        assert await self._lifespan.hear() == {"type": "lifespan.startup.complete"}

    async def shut_down(self) -> None:
        """The ASGI lifespan's shutdown, which drains the server; once."""
        if not self._shut_down:
            self._shut_down = True
            await self._lifespan.say({"type": "lifespan.shutdown"})
            assert await self._lifespan.hear() == {"type": "lifespan.shutdown.complete"}

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> AsyncGenerator[Response]:
        """A request, and the response as it comes; the client leaves with the block."""
        scope = _scope("http", target, headers) | {"method": method}
        exchange = Exchange(self.server, scope, [{"type": "http.request", "body": body}])
        self._nursery.start_soon(exchange.run)
        try:
            start = await exchange.hear()
            assert start is not None, "no response"
            yield Response(exchange, start)
        finally:
            exchange.leave()

    async def fetch(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[Response, bytes]:
        """A request, and the whole response."""
        async with self.request(method, target, headers, body) as response:
            return response, await response.read()

    @asynccontextmanager
    async def websocket(
        self, *subprotocols: str, headers: Mapping[str, str] | None = None, target: str = "/ws"
    ) -> AsyncGenerator[WebSocket]:
        """A WebSocket; the client leaves with the block, without a word."""
        scope = _scope("websocket", target, headers) | {"subprotocols": list(subprotocols)}
        scope |= {"scheme": "ws", "extensions": {"websocket.http.response": {}}}
        exchange = Exchange(self.server, scope, [{"type": "websocket.connect"}])
        self._nursery.start_soon(exchange.run)
        websocket = WebSocket(exchange)
        try:
            await websocket.connect()
            yield websocket
        finally:
            exchange.leave()


@asynccontextmanager
async def serving(server: Server) -> AsyncGenerator[Driver]:
    """Run a server for a block; leaving the block shuts it down in an orderly way."""
    async with trio.open_nursery() as nursery:
        driver = Driver(server, nursery)
        await driver.start_up()
        yield driver
        await driver.shut_down()


_ASGI = {"version": "3.0", "spec_version": "2.3"}


def _scope(kind: str, target: str, headers: Mapping[str, str] | None) -> Message:
    path, _, query = target.partition("?")
    pairs = {"host": HOST, **(headers or {})}
    return {
        "type": kind,
        "asgi": _ASGI,
        "http_version": "1.1",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs.items()],
        "client": ("192.0.2.7", 5000),
        "server": (HOST, 80),
        "extensions": {},
    }
