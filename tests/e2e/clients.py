"""Clients for the tests: they read one event or message at a time and never wait for ever."""

from __future__ import annotations

import json
import os
import socket
import time
from base64 import b64encode
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar, cast

import httpx
import msgpack  # type: ignore[import-untyped] # it ships no annotations
import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from penstock.wire import ServerSentEvent, SSEDecoder, encode_msgpack

from .serving import ServerProcess

T = TypeVar("T")
Message = dict[str, Any]

PATIENCE = 10.0
"""Seconds within which anything that is waited for must have happened."""

JSON_PROTOCOL = "penstock.v1.json"
MSGPACK_PROTOCOL = "penstock.v1.msgpack"


class Ended(Exception):
    """The stream came to its end."""


class _Decoder(Protocol[T]):
    def feed(self, data: bytes) -> list[T]: ...


class Stream(Generic[T]):
    """An open response, and what its decoder makes of it."""

    def __init__(self, response: httpx.Response, decoder: _Decoder[T]) -> None:
        self.response = response
        self._decoder = decoder
        self._pieces = response.iter_raw()
        self._due: deque[T] = deque()

    def next(self) -> T:
        """The next event or message. Raises `Ended` at the end of the response."""
        deadline = time.monotonic() + PATIENCE
        while not self._due:
            assert time.monotonic() < deadline, "nothing came"
            self.pull()
        return self._due.popleft()

    def pull(self) -> None:
        """Take the next piece of the response, whatever is in it. Raises `Ended`."""
        try:
            piece = next(self._pieces)
        except StopIteration:
            raise Ended from None
        self._due.extend(self._decoder.feed(piece))

    def take(self, number: int) -> list[T]:
        return [self.next() for _ in range(number)]

    def rest(self) -> list[T]:
        """All that comes to the end of the response."""
        got: list[T] = []
        while True:
            try:
                got.append(self.next())
            except Ended:
                return got


class EventStream(Stream[ServerSentEvent]):
    """An open event stream; `retry` and `last_event_id` are what it said last."""

    def __init__(self, response: httpx.Response) -> None:
        self.decoder = SSEDecoder()
        super().__init__(response, self.decoder)


class MessageStream(Stream[Message]):
    """An open stream of messages."""

    def find(self, kind: str) -> Message:
        """The next message of that type; others are passed over."""
        while (message := self.next())["type"] != kind:
            pass
        return message

    def events(self, number: int) -> list[Message]:
        """The next messages but keepalives."""
        got: list[Message] = []
        while len(got) < number:
            message = self.next()
            if message["type"] != "keepalive":
                got.append(message)
        return got


class LineDecoder:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


class UnpackDecoder:
    def __init__(self) -> None:
        self._unpacker: Any = msgpack.Unpacker()  # pyright: ignore[reportUnknownMemberType] # as above

    def feed(self, data: bytes) -> list[Message]:
        self._unpacker.feed(data)
        return list(self._unpacker)


@contextmanager
def open_response(
    server: ServerProcess, topic: str, accept: str, headers: dict[str, str], after: str | None
) -> Generator[httpx.Response]:
    query = {} if after is None else {"after": after}
    url = f"{server.url}/topics/{topic}"
    headers = {"accept": accept, "accept-encoding": "identity", **headers}
    with server.client.stream("GET", url, params=query, headers=headers) as response:
        yield response


@contextmanager
def open_sse(
    server: ServerProcess,
    topic: str,
    after: str | None = None,
    last_event_id: str | None = None,
) -> Generator[EventStream]:
    headers = {} if last_event_id is None else {"last-event-id": last_event_id}
    with open_response(server, topic, "text/event-stream", headers, after) as response:
        assert response.status_code == 200
        yield EventStream(response)


_DECODERS: dict[str, Callable[[], _Decoder[Message]]] = {
    "application/x-ndjson": LineDecoder,
    "application/msgpack": UnpackDecoder,
}
MESSAGE_TYPES = tuple(_DECODERS)


@contextmanager
def open_messages(
    server: ServerProcess,
    topic: str,
    accept: str = "application/x-ndjson",
    after: str | None = None,
) -> Generator[MessageStream]:
    with open_response(server, topic, accept, {}, after) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == accept
        yield MessageStream(response, _DECODERS[accept]())


class RawClient:
    """A socket and what it has received."""

    def __init__(self, server: ServerProcess, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:  # before connecting, for it decides the window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((server.host, server.port))
        self.received = b""

    def get(self, path: str, *headers: str) -> None:
        self.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *headers, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bool:
        """Take what there is; False at the end."""
        data = self.socket.recv(65536)
        self.received += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`, which is taken off `received`."""
        while mark not in self.received:
            assert self.receive(), f"the server closed after {self.received!r}"
        before, _, self.received = self.received.partition(mark)
        return before + mark

    def ask_for_upgrade(self, path: str, *headers: str) -> str:
        """Begin a WebSocket; gives the head of the answer."""
        key = b64encode(os.urandom(16)).decode()
        self.get(
            path,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            *headers,
        )
        return self.until(b"\r\n\r\n").decode()

    def to_the_end(self) -> bytes:
        """Everything until the server closes."""
        while self.receive():
            pass
        return self.received

    def vanish(self) -> None:
        """Close with a reset, as a peer whose machine was cut off."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


@contextmanager
def raw_client(server: ServerProcess, receive_buffer: int | None = None) -> Generator[RawClient]:
    client = RawClient(server, receive_buffer)
    try:
        yield client
    finally:
        client.socket.close()


class WebSocket:
    """An open WebSocket that speaks the messages of one subprotocol."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self.binary = connection.subprotocol == MSGPACK_PROTOCOL
        self._due: deque[Message] = deque()

    async def send(self, *messages: object) -> None:
        """Send messages as one frame, an array."""
        await self.send_value(list(messages))

    async def send_value(self, value: object) -> None:
        frame = encode_msgpack(value) if self.binary else json.dumps(value)
        await self.connection.send_message(frame)

    async def next(self) -> Message:
        """The next message. Raises trio_websocket's ``ConnectionClosed``."""
        while not self._due:
            frame = await self.connection.get_message()
            assert isinstance(frame, bytes) == self.binary
            messages = (
                msgspec.msgpack.decode(frame) if isinstance(frame, bytes) else json.loads(frame)
            )
            assert isinstance(messages, list)
            self._due.extend(cast("list[Message]", messages))
        return self._due.popleft()

    async def take(self, number: int) -> list[Message]:
        return [await self.next() for _ in range(number)]

    async def find(self, kind: str) -> Message:
        """The next message of that type; others are passed over."""
        while (message := await self.next())["type"] != kind:
            pass
        return message

    async def ask(self, **message: Any) -> Message:
        """Send one message, give the next."""
        await self.send(message)
        return await self.next()

    async def close_code(self) -> int:
        """The code with which the server closes; what it says before is dropped."""
        with suppress(ConnectionClosed):
            while True:
                await self.connection.get_message()
        reason = self.connection.closed
        assert reason is not None
        return int(reason.code)


@asynccontextmanager
async def open_socket(
    server: ServerProcess,
    *subprotocols: str,
    headers: list[tuple[bytes, bytes]] | None = None,
    hello: bool = True,
) -> AsyncGenerator[WebSocket]:
    """A connection that has taken the ``hello``; all of it within `PATIENCE`."""
    stream = await trio.open_tcp_stream(server.host, server.port)
    with trio.fail_after(PATIENCE):
        # Not open_websocket(), which leaves the socket open where the server closes.
        async with stream, trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery,
                stream,
                f"{server.host}:{server.port}",
                "/ws",
                subprotocols=subprotocols,
                extra_headers=headers,
            )
            websocket = WebSocket(connection)
            if hello:
                assert (await websocket.next())["type"] == "hello"
            yield websocket
            await connection.aclose()
            nursery.cancel_scope.cancel()
