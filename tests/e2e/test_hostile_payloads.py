"""Publications that would be more than they seem: bombs, deep nesting, lengths that lie."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from .clients import MSGPACK_PROTOCOL, open_socket, raw_client
from .conftest import Launch
from .serving import CONFIGS, MIB, SERVE, ServerProcess
from .test_websocket_faults import frame, raw_websocket

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.fixture(scope="module")
def server(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / "hostile.py"), "--bind", "127.0.0.1:0"))


BOMBS = {
    "deep JSON": ("application/json", b"[" * 500_000 + b"]" * 500_000),
    "deep JSON objects": ("application/json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "unfinished JSON": ("application/json", b"[" * 1_000_000),
    "deep NDJSON": ("application/x-ndjson", (b"[" * 10_000 + b"]" * 10_000 + b"\n") * 40),
    "a number without end": ("application/json", b"9" * 1_000_000),
    "deep MessagePack": ("application/msgpack", b"\x91" * 1_000_000),
    "deep MessagePack maps": ("application/msgpack", b"\x81\xa1a" * 300_000 + b"\xc0"),
    "an array of 4 billion": ("application/msgpack", b"\xdd\xff\xff\xff\xff"),
    "a map of 4 billion": ("application/msgpack", b"\xdf\xff\xff\xff\xff\xa1a\x01"),
    "4 GB of text": ("application/msgpack", b"\xdb\xff\xff\xff\xffx"),
    "4 GB of bytes": ("application/msgpack", b"\xc6\xff\xff\xff\xffx"),
    "4 GB of an extension": ("application/msgpack", b"\xc9\xff\xff\xff\xff\x01x"),
    "arrays of 4 billion, nested": ("application/msgpack", b"\xdd\xff\xff\xff\xff" * 1_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_over_http(server: ServerProcess, name: str) -> None:
    kind, body = BOMBS[name]
    memory = server.rss
    assert server.post_body("anything", body, kind).status_code in (400, 422)
    assert server.rss - memory < 30 * MIB
    server.assert_unharmed()


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_over_a_websocket(server: ServerProcess, name: str) -> None:
    kind, body = BOMBS[name]
    memory = server.rss
    protocols = (MSGPACK_PROTOCOL,) if "msgpack" in kind else ()
    async with open_socket(server, *protocols) as websocket:
        if protocols:
            # As the data of a publication, and not the frame itself.
            head = b"\x91\x83\xa4type\xa7publish\xa5topic\xa8anything\xa4data"
            await websocket.connection.send_message(head + body[:900_000])
        else:
            head = b'[{"type":"publish","topic":"anything","data":'
            await websocket.connection.send_message((head + body[:900_000] + b"}]").decode())
        assert await websocket.close_code() == 1007
    assert server.rss - memory < 30 * MIB
    server.assert_unharmed()


def test_a_compression_bomb(server: ServerProcess) -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12)
    megabyte = compressor.compress(b" " * MIB) + compressor.flush(zlib.Z_FULL_FLUSH)
    bomb = megabyte * 1024  # a gigabyte of spaces
    assert len(bomb) < 1.2 * MIB
    head = bytes([0xC1, 0xFF]) + len(bomb).to_bytes(8, "big") + bytes(4)
    memory, peak = server.rss, 0
    with raw_client(server) as client:
        assert "permessage-deflate" in client.ask_for_upgrade("/ws", DEFLATE)
        with suppress(BrokenPipeError, ConnectionResetError):
            client.send(head)
            for start in range(0, len(bomb), 50_000):
                client.send(bomb[start : start + 50_000])
                peak = max(peak, server.rss)
        client.until(b"\x88\x02" + (1009).to_bytes(2, "big"))
    assert peak - memory < 6 * MIB
    server.assert_unharmed()


def test_compressed_messages_pass(server: ServerProcess) -> None:
    publication = [{"type": "publish", "topic": "anything", "data": "x" * 5_000, "ref": 1}]
    packed = zlib.compress(json.dumps(publication).encode(), 9, wbits=-12)
    message = frame(1, packed)
    with raw_client(server) as client:
        assert "permessage-deflate" in client.ask_for_upgrade("/ws", DEFLATE)
        client.send(bytes([message[0] | 0x40]) + message[1:])
        client.until(b'"published"')  # short, and so not compressed


def test_compression_is_off_by_default(launch: Launch) -> None:
    with ExitStack() as stack:
        command = (*SERVE, str(CONFIGS / "defaults.py"), "--bind", "127.0.0.1:0")
        server = launch(stack, command)
        with raw_client(server) as client:
            assert "permessage-deflate" not in client.ask_for_upgrade("/ws", DEFLATE)


def test_a_frame_that_says_it_is_compressed_where_nothing_was_agreed(server: ServerProcess) -> None:
    with raw_websocket(server) as client:
        client.until(b'"hello"')
        message = frame(1, b"[]")
        client.send(bytes([message[0] | 0x40]) + message[1:])
        client.until(b"\x88\x02" + (1002).to_bytes(2, "big"))
