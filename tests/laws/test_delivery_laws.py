"""The law of both lanes: whatever readers do, each gets every event once and in order, or a gap.

Real sockets: a server in this process, on the direct lane or on the ordinary one, and clients that
read promptly, slowly, late, or vanish. What a client got is taken apart down to the bytes: chunks
(RFC 9112), content codings, frames (RFC 6455), blocks and messages; nothing may be left over.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import trio
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.wire import JSON, MSGPACK, Cursor, SSEDecoder
from penstock_server import Limits, Server, Timing, Topic
from penstock_server.log import EncodedEvent
from penstock_server.testing import serve_on_port

Manner = Literal["prompt", "slow", "late", "vanish"]

GREETING = {"type": "subscribe", "topic": "t", "after": "earliest"}


@dataclass(frozen=True)
class Reading:
    """How one client reads.

    Attributes:
        transport: sse, ndjson, msgpack, or websocket with a subprotocol.
        coding: the content coding that it takes; "" for none.
        manner: promptly; slowly (little at a time); late (nothing for long); it vanishes.
        slow: the policy that it asks for.
    """

    transport: str
    coding: str
    manner: Manner
    slow: str


@dataclass
class Client:
    """One connection, and the bytes that came."""

    reading: Reading
    stream: trio.SocketStream
    raw: bytearray = field(default_factory=bytearray)
    whole: bool = False

    @property
    def is_socket(self) -> bool:
        return self.reading.transport.startswith("penstock")

    async def ask(self) -> None:
        reading = self.reading
        if self.is_socket:
            key = base64.b64encode(bytes(16)).decode()
            lines = [
                "GET /ws HTTP/1.1",
                "Upgrade: websocket",
                "Connection: Upgrade",
                f"Sec-WebSocket-Key: {key}",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Protocol: {reading.transport}",
            ]
        else:
            lines = [f"GET /topics/t?after=earliest&slow={reading.slow} HTTP/1.1"]
            lines += [f"Accept: {_ACCEPT[reading.transport]}"]
            lines += [f"Accept-Encoding: {reading.coding}"] if reading.coding else []
            lines += ["Connection: close"]
        await self.stream.send_all("\r\n".join([*lines, "Host: t", "", ""]).encode())
        if self.is_socket:
            while b"\r\n\r\n" not in self.raw:
                self.raw += await self.stream.receive_some()
            message = [{**GREETING, "slow": reading.slow}]
            binary = reading.transport.endswith("msgpack")
            payload = (MSGPACK if binary else JSON).encode(message)
            head = bytes([0x82 if binary else 0x81, 0x80 | len(payload), 0, 0, 0, 0])
            await self.stream.send_all(head + payload)  # masked with zeros

    async def read(self, pause: trio.Event) -> None:
        """Read to the end, in its manner; `pause` is set when the last event is out."""
        manner = self.reading.manner
        if manner == "late":
            await pause.wait()
        size = 100 if manner == "slow" else 65_536
        while data := await self.stream.receive_some(size):
            self.raw += data
            if manner == "vanish" and len(self.raw) > 2_000:
                await trio.aclose_forcefully(self.stream)
                return
            if self.is_socket and b"end" in self.raw[-100:]:
                messages = _messages(self)
                if messages and messages[-1]["type"] == "end":
                    break  # it stays open for other topics
            if manner == "slow" and not pause.is_set():
                await trio.sleep(0.001)
        self.whole = True


_ACCEPT = {
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "msgpack": "application/msgpack",
}

readings = st.builds(
    Reading,
    transport=st.sampled_from(
        ["sse", "ndjson", "msgpack", "penstock.v1.json", "penstock.v1.msgpack"]
    ),
    coding=st.sampled_from(["", "", "gzip", "zstd"]),
    manner=st.sampled_from(["prompt", "prompt", "slow", "late", "vanish"]),
    slow=st.sampled_from(["skip", "skip", "conflate"]),
)
# How many events are appended in one go, how big they are, and whether others have a turn then.
appends = st.lists(
    st.tuples(st.integers(1, 30), st.sampled_from([1, 50, 3_000, 40_000]), st.booleans()),
    min_size=1,
    max_size=12,
)


@asynccontextmanager
async def connected(port: int, reading: Reading) -> AsyncGenerator[Client]:
    sock = trio.socket.socket()
    if reading.manner != "prompt":
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", port))
    client = Client(reading, trio.SocketStream(sock))
    try:
        yield client
    finally:
        await trio.aclose_forcefully(client.stream)


@pytest.mark.parametrize("direct", [True, False])
@given(
    st.lists(readings, min_size=1, max_size=5),
    appends,
    st.sampled_from([5, 40, 1_000]),
    st.sampled_from([1, 3, 1_000]),
)
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_everybody_gets_everything_in_order_or_is_told(
    direct: bool,
    clients: list[Reading],
    appends: list[tuple[int, int, bool]],
    retain: int,
    batch: int,
) -> None:
    timing = Timing(keepalive=60, stall_timeout=60, grace=5)
    server = Server(direct=direct, timing=timing, limits=Limits(max_connections=100))
    topic = server.topic("t", retain=retain, batch=batch)
    with trio.fail_after(60):
        async with serve_on_port(server) as url, trio.open_nursery() as nursery:
            port = int(url.rpartition(":")[2])
            out = trio.Event()
            async with trio.open_nursery() as readers:
                served = []
                for reading in clients:
                    client = await readers.start(_serve, port, reading, out)
                    served.append(client)
                await _all_there(topic, len(clients))
                await _append(topic, appends)
                topic.log.finish()
                out.set()
            nursery.cancel_scope.cancel()
    for client in served:
        _check(client, topic)


async def _serve(
    port: int,
    reading: Reading,
    out: trio.Event,
    task_status: trio.TaskStatus[Client] = trio.TASK_STATUS_IGNORED,
) -> None:
    async with connected(port, reading) as client:
        await client.ask()
        task_status.started(client)
        await client.read(out)


async def _all_there(topic: Topic[Any], number: int) -> None:
    there = trio.Event()
    unwatch = topic.audience.watch(lambda: there.set() if len(topic.audience) >= number else None)
    if len(topic.audience) < number:
        await there.wait()
    unwatch()


async def _append(topic: Topic[Any], appends: list[tuple[int, int, bool]]) -> None:
    number = 0
    for count, size, rests in appends:
        for _ in range(count):
            number += 1
            value = {"n": number, "x": "y" * size}
            topic.log.append([EncodedEvent(JSON.encode(value), MSGPACK.encode(value))])
        if rests:
            await trio.sleep(0.002)


# What came, taken apart


def _check(client: Client, topic: Topic[Any]) -> None:
    messages = _messages(client)
    if client.whole:
        assert messages[-1]["type"] == "end"
        assert Cursor.parse(messages[-1]["id"]).offset == topic.log.bounds().last
    position = 0
    for message in messages:
        match message["type"]:
            case "event":
                offset = Cursor.parse(message["id"]).offset
                assert message["data"]["n"] == offset
                if client.reading.slow == "conflate":
                    assert offset > position
                else:
                    assert offset == position + 1, "in order, each once, none left out"
                position = offset
            case "gap":
                assert message["reason"] == "slow"
                assert client.reading.slow == "skip"
                assert Cursor.parse(message["requested"]).offset == position
                resumed = Cursor.parse(message["resumed"]).offset
                assert message["missed"] == resumed - position > 0
                position = resumed
            case kind:
                assert kind in ("hello", "subscribed", "end")
    if client.whole:
        assert position == topic.log.bounds().last


def _messages(client: Client) -> list[Any]:
    if not client.raw:
        return []
    head, _, rest = bytes(client.raw).partition(b"\r\n\r\n")
    if client.is_socket:
        assert head.startswith(b"HTTP/1.1 101 ")
        return _from_frames(rest, client)
    assert head.startswith(b"HTTP/1.1 200 ")
    body = _decoded(_unchunked(rest, whole=client.whole), head, whole=client.whole)
    match client.reading.transport:
        case "sse":
            return _from_blocks(body, whole=client.whole)
        case "ndjson":
            lines = body.split(b"\n")
            assert not (client.whole and lines[-1])
            return [JSON.decode_value(line) for line in lines[:-1]]
        case _:
            return _from_msgpack(body, whole=client.whole)


def _unchunked(data: bytes, *, whole: bool) -> bytes:
    parts: list[bytes] = []
    while data:
        size, found, rest = data.partition(b"\r\n")
        if not found:
            assert not whole
            break
        length = int(size, 16)
        if length == 0:
            assert rest == b"\r\n", "nothing follows the last chunk"
            return b"".join(parts)
        if len(rest) < length + 2:
            assert not whole
            parts.append(rest[:length])
            break
        assert rest[length : length + 2] == b"\r\n", "a chunk is as long as it says"
        parts.append(rest[:length])
        data = rest[length + 2 :]
    assert not whole, "a whole body has a last chunk"
    return b"".join(parts)


def _decoded(body: bytes, head: bytes, *, whole: bool) -> bytes:
    if b"content-encoding: gzip" in head:
        gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        plain = gzip.decompress(body)
        assert gzip.eof or not whole, "a whole body has its checksum, which zlib has verified"
        assert not gzip.unused_data
        return plain
    if b"content-encoding: zstd" in head:
        plain = b""
        while body:
            frame = zstandard.ZstdDecompressor().decompressobj()
            plain += frame.decompress(body)
            if not frame.eof:
                assert not whole
                break
            body = frame.unused_data
        return plain
    return body


def _from_blocks(body: bytes, *, whole: bool) -> list[Any]:
    assert not whole or body.endswith(b"\n\n")
    messages: list[Any] = []
    for event in SSEDecoder().feed(body):
        data = JSON.decode_value(event.data)
        plain = event.event == "message"
        messages.append({"type": "event", "id": event.id, "data": data} if plain else data)
    return messages


def _from_msgpack(body: bytes, *, whole: bool) -> list[Any]:
    import msgpack  # type: ignore[import-untyped]  # it ships no annotations

    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(body)
    messages = list(unpacker)
    assert not whole or unpacker.tell() == len(body)
    return messages


def _from_frames(data: bytes, client: Client) -> list[Any]:
    binary = client.reading.transport.endswith("msgpack")
    codec = MSGPACK if binary else JSON
    messages: list[Any] = []
    while len(data) >= 2:
        opcode, size, start = data[0], data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start])
        if len(data) < start + size:
            break
        payload, data = data[start : start + size], data[start + size :]
        if opcode == 0x89:  # a ping
            continue
        assert opcode == (0x82 if binary else 0x81)
        messages += codec.decode_frame(payload)
    assert not client.whole or not data
    return messages
