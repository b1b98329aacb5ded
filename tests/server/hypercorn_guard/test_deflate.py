"""permessage-deflate (RFC 7692): off by default, and no bomb where it is on."""

import os
import zlib

import psutil
import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate

from penstock_server.hypercorn_guard import _websocket, context_of, websocket_of
from penstock_server.hypercorn_guard._deflate import (
    MIN_COMPRESSED,
    BoundedDeflate,
    accept_deflate,
)

from .applications import App, Message, Receive, Send, Silent, echo
from .serving import both, happens, hypercorn_classes, serving
from .websocket_client import WebSocketClient, close_codes, frame

OFFER = "permessage-deflate; client_max_window_bits"
LIMIT = 2**20
TAIL = b"\x00\x00\xff\xff"


def limit() -> int:
    return LIMIT


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ([OFFER], "server_max_window_bits=12; client_max_window_bits=12"),
        (["permessage-deflate"], "server_max_window_bits=12"),
        (["permessage-deflate; server_max_window_bits=10"], "server_max_window_bits=10"),
        (["permessage-deflate; server_no_context_takeover"], "server_max_window_bits=12"),
        (
            ['permessage-deflate; client_max_window_bits="9"'],
            "server_max_window_bits=12; client_max_window_bits=9",
        ),
        (
            ["x-unknown", "permessage-deflate; nonsense", "permessage-deflate"],
            "server_max_window_bits=12",
        ),
        (["permessage-deflate; server_max_window_bits=8"], None),
        (["permessage-deflate; server_max_window_bits=x"], None),
        (["permessage-deflate; server_max_window_bits=٩"], None),
        (["permessage-deflate; server_max_window_bits"], None),
        (["permessage-deflate; client_max_window_bits=99"], None),
        (["permessage-deflate; client_no_context_takeover=1"], None),
        (["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
        (["permessage-bzip2"], None),
        ([], None),
    ],
)
def test_the_first_offer_that_makes_sense_is_accepted(
    offers: list[str], answer: str | None
) -> None:
    agreed = accept_deflate(offers, limit)
    both_forget = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
    assert (None if agreed is None else agreed[0]) == (
        None if answer is None else both_forget + answer
    )


def pair() -> tuple[Connection, Connection]:
    """A client of wsproto's, and a server of ours."""
    agreed = accept_deflate([OFFER], limit)
    assert agreed is not None
    theirs = PerMessageDeflate()
    theirs.finalize(agreed[0])
    return (
        Connection(ConnectionType.CLIENT, [theirs]),
        Connection(ConnectionType.SERVER, [agreed[1]]),
    )


@settings(max_examples=30)
@given(
    st.lists(st.binary(max_size=100).map(lambda data: data * 20) | st.binary(max_size=2000)),
    st.integers(1, 5000),
)
def test_messages_pass_both_ways(messages: list[bytes], size: int) -> None:
    client, server = pair()
    for sender, receiver in ((client, server), (server, client)):
        sent = b""
        for message in messages:
            sent += sender.send(Ping(b"between")) + sender.send(BytesMessage(message))
        got, part = [], b""
        for start in range(0, len(sent), size):
            receiver.receive_data(sent[start : start + size])
            for event in receiver.events():
                if isinstance(event, BytesMessage):
                    part += event.data
                    if event.message_finished:
                        got.append(part)
                        part = b""
        assert got == messages


def test_a_control_frame_within_a_message_changes_nothing() -> None:
    client, server = pair()
    text = "many words, many words, " * 50
    sent = client.send(TextMessage(text[:700], message_finished=False))
    sent += client.send(Ping())
    sent += client.send(TextMessage(text[700:]))
    server.receive_data(sent)
    parts = [event.data for event in server.events() if isinstance(event, TextMessage)]
    assert "".join(parts) == text


def test_small_messages_are_left_as_they_are() -> None:
    _, server = pair()
    small, big = "x" * (MIN_COMPRESSED - 1), "x" * MIN_COMPRESSED
    assert server.send(TextMessage(small)).endswith(small.encode())
    assert len(server.send(TextMessage(big))) < 30


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        (b"\xf2H\xcd\xc9\xc9\x07\x00", "Hello"),  # RFC 7692, section 7.2.3.1
        (b"\xf3H\xcd\xc9\xc9\x07\x00\x00", "Hello"),  # 7.2.3.4: the final block is final
        (b"\xf3H\xcd\xc9\xc9\x07\x00", "Hello"),
        (b"\xf3H\xcd\xc9\xc9\x07\x00" * 2, 1007),  # data after the end of the data
        (b"\xff\xff\xff", 1007),
        (zlib.compress(b"x" * LIMIT, wbits=-12), "x" * LIMIT),
        (zlib.compress(b"x" * (LIMIT + 1), wbits=-12), 1009),
    ],
)
def test_what_is_inflated(payload: bytes, outcome: str | int) -> None:
    _, server = pair()
    head = frame(1, payload)
    server.receive_data(bytes([head[0] | 0x40]) + head[1:])
    events = list(server.events())
    if isinstance(outcome, str):
        assert "".join(e.data for e in events if isinstance(e, TextMessage)) == outcome
    else:
        assert close_codes(events) == [outcome]


@pytest.mark.parametrize("opcode", [0, 9])
def test_only_a_message_may_be_marked_as_compressed(opcode: int) -> None:
    _, server = pair()
    server.receive_data(frame(1, b"x", final=False))
    head = frame(opcode, b"x")
    server.receive_data(bytes([head[0] | 0x40]) + head[1:])
    assert close_codes(list(server.events())) == [1002]


# --- With a server ---------------------------------------------------------------------------


def accepting(app: App) -> App:
    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if (context := context_of(send)) is not None:
            context.accepts_deflate = True
        await app(scope, receive, send)

    return wrapped


@both
async def test_compression_is_negotiated(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(echo) as server:
            client = await WebSocketClient.open(server, f"Sec-WebSocket-Extensions: {OFFER}")
            assert (b"permessage-deflate" in client.head.lower()) == (kind == "plain")


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("offer", [OFFER, "permessage-deflate; server_max_window_bits=x"])
async def test_compression_can_be_switched_on(offer: str) -> None:
    async with serving(accepting(echo)) as server:
        client = await WebSocketClient.open(server, f"Sec-WebSocket-Extensions: {offer}")
        assert (b"permessage-deflate" in client.head) == (offer == OFFER)
        if offer != OFFER:
            return
        await client.stream.send_all(compressed(b"x" * 10_000))
        answer = await client.stream.receive_some()
        assert answer[0] == 0xC2  # a whole binary message, compressed
        assert len(answer) < 100


def compressed(data: bytes) -> bytes:
    return marked(frame(2, zlib.compress(data, wbits=-12)))


def marked(head: bytes) -> bytes:
    return bytes([head[0] | 0x40]) + head[1:]


def bomb() -> bytes:
    """A megabyte that becomes a gigabyte."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12)
    megabyte = compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return megabyte * 1024


@both
async def test_a_bomb_fills_the_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_websocket, "CLOSING_TIMEOUT", 0.2)
    app = Silent()
    packed = bomb()
    assert len(packed) < 1.2 * LIMIT
    chunks = [packed[start : start + 60_000] for start in range(0, len(packed), 60_000)]
    process = psutil.Process(os.getpid())
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(accepting(app), websocket_max_message_size=LIMIT) as server:
            client = await WebSocketClient.open(server, f"Sec-WebSocket-Extensions: {OFFER}")
            before, peak = process.memory_info().rss, 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_parts, client, chunks)
                with trio.move_on_after(10):
                    while not await happens(lambda: len(app.received) > 1, 0.001):
                        peak = max(peak, process.memory_info().rss - before)
                        if kind == "plain" and peak > 40 * LIMIT:
                            break
                nursery.cancel_scope.cancel()
            if kind == "guarded":
                assert app.received[1:] == [{"type": "websocket.disconnect", "code": 1009}]
                assert close_codes(await client.read()) == [1009]
                assert peak < 4 * LIMIT
            else:
                assert peak > 40 * LIMIT


async def send_parts(client: WebSocketClient, parts: list[bytes]) -> None:
    for number, part in enumerate(parts):
        head = frame(0 if number else 2, part, final=False)
        try:
            await client.stream.send_all(head if number else marked(head))
        except trio.BrokenResourceError:
            return
        await trio.lowlevel.checkpoint()


def test_between_messages_there_is_no_compressor() -> None:
    """wsproto's own hold some 100 KB for each connection."""

    def held(extension: PerMessageDeflate) -> list[bool]:
        extension._enabled = True
        server = Connection(ConnectionType.SERVER, [extension])
        server.send(TextMessage("x" * 1000))
        server.receive_data(compressed(b"x" * 1000))
        assert [type(event) for event in server.events()] == [BytesMessage]
        return [extension._compressor is not None, extension._decompressor is not None]

    assert held(PerMessageDeflate()) == [True, True]
    assert held(BoundedDeflate(12, 12, limit)) == [False, False]


@pytest.mark.usefixtures("guarded")
async def test_the_limit_may_be_changed_after_the_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_websocket, "CLOSING_TIMEOUT", 0.2)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        websocket = websocket_of(send)
        assert websocket is not None
        websocket.max_message_bytes = 100
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with serving(accepting(app)) as server:
        client = await WebSocketClient.open(server, f"Sec-WebSocket-Extensions: {OFFER}")
        await client.stream.send_all(compressed(b"x" * 101))
        assert close_codes(await client.read()) == [1009]
