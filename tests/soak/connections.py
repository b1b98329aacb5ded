"""Connections to the server, over HTTP and WebSocket, that can be slow, or cut at any moment."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import h11
import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from penstock.wire import encode_msgpack

from ..e2e.clients import MSGPACK_PROTOCOL


class Cut(Exception):
    """The connection ended, by whichever side."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is."""

    host: str
    port: int


async def open_tcp(address: Address, receive_buffer: int | None = None) -> trio.SocketStream:
    """A TCP connection; a small `receive_buffer`, in bytes, makes a reader that is soon full."""
    sock = trio.socket.socket()
    try:
        if receive_buffer is not None:  # before connecting, for it decides the window
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect((address.host, address.port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def reset(stream: trio.SocketStream) -> None:
    """Close with a reset, as a peer whose machine was cut off."""
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


class Http:
    """An HTTP/1.1 connection: one exchange after another. Raises `Cut` where it ends."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._parser = h11.Connection(h11.CLIENT)

    async def ask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> h11.Response:
        """Send a request, and give the head of its answer."""
        await self.send(method, target, headers, body)
        while not isinstance(event := await self._next(), h11.Response):
            pass
        return event

    async def send(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Send a request, and wait for nothing."""
        fields = {"host": "soak", "content-length": str(len(body)), **(headers or {})}
        request = h11.Request(method=method, target=target, headers=list(fields.items()))
        await self._send(request, h11.Data(data=body), h11.EndOfMessage())

    async def piece(self) -> bytes | None:
        """The next piece of the answer's body; None at its end, after which one may ask again."""
        event = await self._next()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if self._parser.our_state is not h11.MUST_CLOSE:
            self._parser.start_next_cycle()
        return None

    async def body(self) -> bytes:
        """The whole body of the answer."""
        pieces: list[bytes] = []
        while (piece := await self.piece()) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    async def _send(self, *events: h11.Event) -> None:
        try:
            await self.stream.send_all(b"".join(self._parser.send(each) or b"" for each in events))
        except (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            h11.LocalProtocolError,
        ) as fault:
            raise Cut("while a request was sent") from fault

    async def _next(self) -> h11.Event:
        while True:
            try:
                event = self._parser.next_event()
                if event is h11.NEED_DATA:
                    self._parser.receive_data(await self.stream.receive_some(16_384))
                    continue
            except (trio.BrokenResourceError, trio.ClosedResourceError) as fault:
                raise Cut("while an answer was read") from fault
            except h11.RemoteProtocolError as fault:
                raise Cut(f"in mid-answer: {fault}") from fault
            if isinstance(event, h11.ConnectionClosed):
                raise Cut("the server closed")
            return cast("h11.Event", event)


@asynccontextmanager
async def open_http(address: Address, receive_buffer: int | None = None) -> AsyncGenerator[Http]:
    """An HTTP connection; whatever its state, it is closed in the end."""
    stream = await open_tcp(address, receive_buffer)
    async with stream:
        yield Http(stream)


class Socket:
    """A WebSocket that speaks the protocol's messages. Raises `Cut` where it ends."""

    def __init__(self, connection: WebSocketConnection, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._connection = connection
        self._binary = connection.subprotocol == MSGPACK_PROTOCOL

    async def send(self, *messages: object) -> None:
        """Send messages in one frame."""
        value = list(messages)
        frame = encode_msgpack(value) if self._binary else json.dumps(value)
        try:
            await self._connection.send_message(frame)
        except (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError) as fault:
            raise Cut("while a message was sent") from fault

    async def receive(self) -> list[dict[str, Any]]:
        """The messages of the next frame."""
        try:
            frame = await self._connection.get_message()
        except ConnectionClosed as fault:
            raise Cut(f"closed: {self._connection.closed}") from fault
        decoded = msgspec.msgpack.decode(frame) if isinstance(frame, bytes) else json.loads(frame)
        return cast("list[dict[str, Any]]", decoded)


@asynccontextmanager
async def open_websocket(
    address: Address, *subprotocols: str, receive_buffer: int | None = None
) -> AsyncGenerator[Socket]:
    """A WebSocket; it is left without a word, and its socket closed."""
    cut: Cut | None = None
    stream = await open_tcp(address, receive_buffer)
    async with stream, trio.open_nursery() as nursery:
        try:
            yield Socket(await _shake_hands(nursery, stream, subprotocols), stream)
        except Cut as fault:  # raised beyond the nursery, which would put it into a group
            cut = fault
        finally:
            nursery.cancel_scope.cancel()
    if cut is not None:
        raise cut


async def _shake_hands(
    nursery: trio.Nursery, stream: trio.SocketStream, subprotocols: tuple[str, ...]
) -> WebSocketConnection:
    try:
        return await wrap_client_stream(nursery, stream, "soak", "/ws", subprotocols=subprotocols)
    except (ConnectionClosed, HandshakeError, trio.BrokenResourceError) as fault:
        raise Cut("in the handshake") from fault
