"""A WebSocket client that shows every frame, and sends any bytes."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import struct
from dataclasses import dataclass

import trio
import trio.testing
from wsproto.connection import Connection, ConnectionType
from wsproto.events import (
    CloseConnection,
    Event,
)

from .serving import Serving, get, read_head


@dataclass
class WebSocketClient:
    """A client that shows every frame, and sends any bytes."""

    stream: trio.SocketStream
    head: bytes
    protocol: Connection

    @classmethod
    async def open(cls, server: Serving, *headers: str) -> "WebSocketClient":
        stream = await server.connect()
        await stream.send_all(handshake(*headers))
        head, _, rest = (await read_head(stream)).partition(b"\r\n\r\n")
        protocol = Connection(ConnectionType.CLIENT)
        protocol.receive_data(rest)
        return cls(stream, head, protocol)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(bytes(self.protocol.send(event)))

    async def read(self) -> list[Event]:
        """All events until the server ends the connection."""
        events = list(self.protocol.events())
        async for data in self.stream:
            self.protocol.receive_data(bytes(data))
            events.extend(self.protocol.events())
        return events

    async def read_and_answer(self) -> list[Event]:
        """All events until the server ends the connection; a close is answered."""
        events = list(self.protocol.events())
        while not close_codes(events):
            self.protocol.receive_data(bytes(await self.stream.receive_some()))
            events.extend(self.protocol.events())
        await self.stream.send_all(frame(8, struct.pack("!H", 1000)))
        events.extend(await self.read())
        await self.stream.aclose()
        return events


def handshake(*headers: str) -> bytes:
    return get(
        "/",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    )


def frame(opcode: int, payload: bytes, *, final: bool = True, mask: bool = True) -> bytes:
    """A client's frame of at most 64 KiB, masked with zeros (RFC 6455, section 5.2)."""
    bit = 0x80 if mask else 0
    size = len(payload)
    length = bytes([bit | size]) if size < 126 else struct.pack("!BH", bit | 126, size)
    return (
        bytes([(0x80 if final else 0) | opcode]) + length + (b"\0" * 4 if mask else b"") + payload
    )


def close_codes(events: list[Event]) -> list[int]:
    return [int(event.code) for event in events if isinstance(event, CloseConnection)]
