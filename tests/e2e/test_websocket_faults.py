"""What closes a WebSocket, with which code; and clients that mean harm, or vanish."""

import json
import struct
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import trio

from penstock.wire import encode_msgpack

from .clients import (
    JSON_PROTOCOL,
    MSGPACK_PROTOCOL,
    RawClient,
    open_socket,
    open_sse,
    raw_client,
)
from .conftest import StartServer
from .serving import MIB, ServerProcess, eventually

LIMIT = 64 * 1024

_TEXT, _BINARY, _CLOSE, _PING = 0x1, 0x2, 0x8, 0x9


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A client's frame, masked with zeros (RFC 6455 section 5.2)."""
    head = bytes([opcode | (0x80 if final else 0)])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 1 << 16:
        head += b"\xfe" + struct.pack(">H", len(payload))
    else:
        head += b"\xff" + struct.pack(">Q", len(payload))
    return head + b"\0\0\0\0" + payload


@contextmanager
def raw_websocket(server: ServerProcess, receive_buffer: int | None = None) -> Generator[RawClient]:
    """An upgraded socket that answers nothing by itself, no ping and no close."""
    with raw_client(server, receive_buffer) as client:
        assert client.ask_for_upgrade("/ws").startswith("HTTP/1.1 101")
        yield client


def websockets(server: ServerProcess) -> int:
    return int(server.stats()["connections"]["by_transport"].get("websocket", 0))


@pytest.mark.parametrize(
    ("protocol", "payload", "code"),
    [
        (JSON_PROTOCOL, encode_msgpack([{"type": "ping"}]), 1003),
        (JSON_PROTOCOL, b"", 1003),
        (MSGPACK_PROTOCOL, '[{"type": "ping"}]', 1003),
        (JSON_PROTOCOL, "{", 1007),
        (JSON_PROTOCOL, "", 1007),
        (JSON_PROTOCOL, "[" * 30_000 + "]" * 30_000, 1007),
        (JSON_PROTOCOL, '[{"type":"ping","ref":1e999}]', 1007),
        (MSGPACK_PROTOCOL, b"", 1007),
        (MSGPACK_PROTOCOL, b"\xc1", 1007),
        (MSGPACK_PROTOCOL, b"\xdd\xff\xff\xff\xff", 1007),
        (MSGPACK_PROTOCOL, b"\xdf\xff\xff\xff\xff\xa1a\x01", 1007),
        (MSGPACK_PROTOCOL, b"\xc6\xff\xff\xff\xff", 1007),
        (MSGPACK_PROTOCOL, b"\x91" * 60_000, 1007),
        (JSON_PROTOCOL, "[" + " " * LIMIT + "]", 1009),
        (MSGPACK_PROTOCOL, b"\xc0" * (LIMIT + 1), 1009),
        (JSON_PROTOCOL, " " * (4 * MIB), 1009),
    ],
)
async def test_close_codes(
    server: ServerProcess, protocol: str, payload: str | bytes, code: int
) -> None:
    memory = server.rss
    async with open_socket(server, protocol) as websocket:
        await websocket.connection.send_message(payload)
        assert await websocket.close_code() == code
    assert server.rss - memory < 20 * MIB
    server.assert_unharmed()


async def test_a_fault_of_the_server_closes_this_connection_only(
    start_server: StartServer,
) -> None:
    server = start_server("faulty.py")
    async with open_socket(server) as other, open_socket(server) as websocket:
        await websocket.send({"type": "publish", "topic": "broken", "data": {"text": "fine"}})
        assert await websocket.close_code() == 1011
        assert server.post("broken", {"text": "fine"}).status_code == 500
        assert (await other.ask(type="ping"))["type"] == "pong"
    server.assert_unharmed()
    assert "the check itself is broken" in server.stderr
    assert server.has_new_traceback()  # this one is wanted


def test_text_that_is_not_utf_8(server: ServerProcess) -> None:
    with raw_websocket(server) as client:
        client.until(b'"hello"')
        client.send(frame(_TEXT, b'["\xff\xfe"]'))
        client.until(struct.pack(">BBH", 0x88, 2, 1007)[:1])
        while len(client.received) < 3:
            client.receive()
        assert struct.unpack(">H", client.received[1:3]) == (1007,)


def test_messages_in_endless_fragments_are_refused(server: ServerProcess) -> None:
    memory = server.rss
    with raw_websocket(server) as client:
        client.send(frame(_TEXT, b" " * 1000, final=False))
        with suppress(OSError):  # closed, as it should be
            for _ in range(50_000):
                client.send(frame(0, b" " * 1000, final=False))
        assert server.rss - memory < 20 * MIB
    server.assert_unharmed()


async def test_the_largest_message_is_taken(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        empty = json.dumps([{"type": "publish", "topic": "anything", "data": ""}])
        text = empty.replace('""', '"' + "x" * (LIMIT - len(empty)) + '"')
        assert len(text) == LIMIT
        await websocket.connection.send_message(text)
        assert (await websocket.next())["type"] == "published"


async def test_who_answers_pings_lives(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        await trio.sleep(1.5)  # five heartbeats, which trio-websocket answers by itself
        assert (await websocket.ask(type="ping"))["type"] == "pong"


def test_who_answers_no_ping_is_dropped(server: ServerProcess) -> None:
    with raw_websocket(server) as client:
        started = time.monotonic()
        client.until(b"\x89\x00")  # a ping
        with suppress(ConnectionResetError):  # dropped without farewell
            client.to_the_end()
        assert 0.4 < time.monotonic() - started < 1.5
    eventually(lambda: websockets(server) == 0)


def test_a_client_that_vanishes_is_forgotten(server: ServerProcess) -> None:
    with raw_websocket(server) as client:
        client.send(frame(_TEXT, b'[{"type":"subscribe","topic":"silent"}]'))
        client.until(b'"subscribed"')
        assert websockets(server) == 1
        client.vanish()
        eventually(lambda: websockets(server) == 0, 0.25)
    assert server.stats()["topics"]["silent"]["subscribers"] == 0


def test_a_client_that_closes_gets_its_code_back(server: ServerProcess) -> None:
    with raw_websocket(server) as client:
        client.until(b'"hello"')
        client.send(frame(_CLOSE, struct.pack(">H", 4000)))
        assert struct.pack(">BBH", 0x88, 2, 4000) in client.to_the_end()


def flood(client: RawClient, data: bytes, seconds: float) -> int:
    """Send as much as is taken; the number of bytes."""
    client.socket.settimeout(0.1)
    deadline, sent = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        try:
            sent += client.socket.send(data)
        except TimeoutError:
            continue
        except OSError:
            break  # dropped
    return sent


FLOODS: dict[str, bytes] = {
    "unknown messages": frame(_TEXT, b"[" + b"0," * 30_000 + b"0]"),
    "pings": frame(_TEXT, json.dumps([{"type": "ping", "ref": "x" * 1000}] * 50).encode()),
    "subscriptions": frame(
        _TEXT,
        json.dumps(
            [{"type": f"{un}subscribe", "topic": "silent"} for un in ("", "un")] * 500
        ).encode(),
    ),
    "pings of the protocol": frame(_PING, b"x" * 125) * 100,
}


@pytest.mark.parametrize("what", FLOODS)
def test_floods_from_who_reads_no_answer(server: ServerProcess, what: str) -> None:
    memory = server.rss
    peak, slowest = memory, 0.0
    with raw_websocket(server, receive_buffer=4096) as client, open_sse(server, "ticks") as ticks:
        ticks.next()
        for _ in range(5):
            flood(client, FLOODS[what], 0.2)
            peak = max(peak, server.rss)
            asked = time.monotonic()
            server.assert_unharmed()
            slowest = max(slowest, time.monotonic() - asked)
        seen = [int(event.data) for event in ticks.take(10)]
    assert seen == list(range(seen[0], seen[0] + 10))
    assert peak - memory < 25 * MIB
    assert slowest < 0.5
    eventually(lambda: websockets(server) == 0)


def test_the_handshake_needs_a_proper_request(server: ServerProcess) -> None:
    def status(*headers: str) -> Any:
        with raw_client(server) as client:
            client.get("/ws", *headers)
            return int(client.until(b"\r\n").split()[1])

    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    assert status() in (400, 404, 426)
    assert status(*upgrade, "Sec-WebSocket-Version: 13") == 400
    assert status(*upgrade, "Sec-WebSocket-Version: 99", "Sec-WebSocket-Key: x") in (400, 426)
    server.assert_unharmed()
