"""WebSocket: extensions, limits, close codes and heartbeats (traps 5 and 7)."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import struct

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
import trio_websocket
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
)

from penstock_server.hypercorn_guard import (
    _websocket,
    websocket_of,
)

from .applications import ACCEPT, Flood, Message, Receive, Send, Silent, echo
from .h2_client import h2_client
from .serving import (
    SOON,
    both,
    happens,
    hypercorn_classes,
    patience,
    read_head,
    read_to_end,
    serving,
    settled,
)
from .websocket_client import WebSocketClient, close_codes, frame, handshake


@both
async def test_an_oversized_message_leaves_the_connection_open(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_websocket, "CLOSING_TIMEOUT", 0.2)
    app = Silent()
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app, websocket_max_message_size=100) as server:
            client = await WebSocketClient.open(server)
            await client.stream.send_all(frame(2, bytes(101)))
            events: list[Event] = []
            with trio.fail_after(SOON):
                while not close_codes(events):
                    client.protocol.receive_data(bytes(await client.stream.receive_some()))
                    events.extend(client.protocol.events())
            assert close_codes(events) == [1009]
            assert await happens(app.disconnected.is_set, patience(kind)) == (kind == "guarded")
            if kind == "guarded":
                assert app.received[1:] == [{"type": "websocket.disconnect", "code": 1009}]
                with trio.fail_after(SOON):
                    assert await client.stream.receive_some() == b""


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    ("sent", "fits"),
    [
        (frame(1, "ééééé".encode()), True),  # 5 characters, 10 bytes
        (frame(1, "éééééé".encode()), False),
        (frame(1, "ééé".encode(), final=False) + frame(0, "éé".encode()), True),
        (frame(1, "ééé".encode(), final=False) + frame(0, "ééé".encode()), False),
        (frame(2, bytes(10)) * 3, True),
        (bytes([0x82, 0xFF]) + struct.pack("!Q", 2**40) + bytes(4 + 100), False),
    ],
    ids=["text", "long text", "parts", "long parts", "three", "not yet whole"],
)
async def test_the_limit_of_a_message_is_counted_in_bytes(sent: bytes, fits: bool) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        websocket = websocket_of(send)
        assert websocket is not None
        websocket.max_message_bytes = 10
        assert websocket.max_message_bytes == 10
        await echo(scope, receive, send)

    async with serving(app) as server:
        client = await WebSocketClient.open(server)
        await client.stream.send_all(sent)
        if fits:
            await client.send(CloseConnection(1000))
        else:
            await client.stream.send_eof()
        assert close_codes(await client.read()) == [1000 if fits else 1009]


@both
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"\xff\xfe"), 1007),
        (frame(1, b"\xc3"), 1007),
        (frame(2, b"unmasked", mask=False), 1002),
        (frame(0, b"continues nothing"), 1002),
    ],
)
async def test_what_cannot_be_read_is_refused_in_silence(kind: str, sent: bytes, code: int) -> None:
    app = Silent()
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            client = await WebSocketClient.open(server)
            await client.stream.send_all(sent)
            await client.stream.send_eof()
            assert close_codes(await client.read()) == ([code] if kind == "guarded" else [])
            assert await happens(app.disconnected.is_set)
            assert app.received[-1]["code"] == (code if kind == "guarded" else 1006)


@pytest.mark.usefixtures("guarded")
async def test_a_client_that_keeps_sending_still_sees_the_close_code() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await trio.sleep(0.05)
        await send({"type": "websocket.close", "code": 1008})

    async with serving(app) as server:
        client = await WebSocketClient.open(server)
        events: list[Event] = []
        with trio.fail_after(2):
            while not close_codes(events):
                with trio.move_on_after(0.001):
                    client.protocol.receive_data(bytes(await client.stream.receive_some()))
                    events.extend(client.protocol.events())
                await client.stream.send_all(frame(2, bytes(60_000)))
        assert close_codes(events) == [1008]


@pytest.mark.usefixtures("guarded")
async def test_a_peer_that_never_answers_a_close_is_left_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_websocket, "CLOSING_TIMEOUT", 0.2)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 1001})

    async with serving(app) as server:
        tasks = server.tasks()
        client = await WebSocketClient.open(server)
        with trio.fail_after(SOON):
            assert close_codes(await client.read()) == [1001]
        assert await happens(lambda: server.tasks() == tasks)


@pytest.mark.usefixtures("guarded")
async def test_a_close_of_the_peer_is_answered_and_ends_the_connection_at_once() -> None:
    app = Silent()
    async with serving(app) as server:
        tasks = server.tasks()
        client = await WebSocketClient.open(server)
        await client.send(CloseConnection(4001, "bye"))
        with trio.fail_after(SOON):
            assert close_codes(await client.read()) == [4001]
        assert await happens(lambda: server.tasks() == tasks, SOON)
        assert app.received[-1] == {"type": "websocket.disconnect", "code": 4001}


@pytest.mark.usefixtures("guarded")
async def test_a_ping_is_answered_and_noted() -> None:
    app = Silent()
    async with serving(app) as server:
        client = await WebSocketClient.open(server)
        websocket = websocket_of(app.send)
        assert websocket is not None
        accepted = websocket.last_pong
        assert trio.current_time() - 1 < accepted <= trio.current_time()

        await websocket.ping()
        client.protocol.receive_data(bytes(await client.stream.receive_some()))
        (ping,) = client.protocol.events()
        assert isinstance(ping, Ping)
        assert websocket.last_pong == accepted
        await client.send(ping.response())

        assert await happens(lambda: websocket.last_pong > accepted)
        await client.send(CloseConnection(1000))
        await client.read()
        with trio.CancelScope() as scope:
            scope.cancel()
            await websocket.ping()  # of a connection that has ended: a checkpoint
        assert scope.cancelled_caught


@pytest.mark.usefixtures("guarded")
async def test_the_last_of_the_peers_pings_is_answered() -> None:
    async with serving(Silent()) as server:
        client = await WebSocketClient.open(server)
        for number in range(200):
            await client.send(Ping(b"%d" % number))
        await client.send(CloseConnection(1000))
        pongs = [event for event in await client.read() if isinstance(event, Pong)]
        assert 1 <= len(pongs) <= 200
        assert pongs == sorted(pongs, key=lambda pong: int(pong.payload))


@pytest.mark.usefixtures("guarded")
async def test_a_ping_does_not_mix_with_a_message_that_is_being_written() -> None:
    message = bytes(8 * 2**20)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        websocket = websocket_of(send)
        assert websocket is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, {"type": "websocket.send", "bytes": message})
            await trio.sleep(0.1)
            nursery.start_soon(websocket.ping)
        await send({"type": "websocket.close", "code": 1000})

    async with serving(app) as server:
        client = await WebSocketClient.open(server)
        await trio.sleep(0.2)  # the message and the ping wait for a reader
        events = await client.read_and_answer()
        parts = [event.data for event in events if isinstance(event, BytesMessage)]
        assert b"".join(bytes(part) for part in parts) == message
        assert sum(isinstance(event, Ping) for event in events) == 1
        assert close_codes(events) == [1000]


@pytest.mark.usefixtures("guarded")
async def test_abort_ends_a_send_that_is_stuck() -> None:
    app = Flood()
    async with serving(app) as server:
        tasks = server.tasks()
        await WebSocketClient.open(server)
        await settled(lambda: app.sent)
        assert not app.finished.is_set()

        websocket = websocket_of(app.send)
        assert websocket is not None
        with trio.fail_after(SOON):
            await websocket.abort()
            await app.disconnected.wait()

        assert await happens(lambda: server.tasks() == tasks)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("accepts", [False, True])
async def test_a_websocket_application_that_fails_is_reported_as_our_fault(accepts: bool) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        if accepts:
            await send(ACCEPT)
        raise ValueError

    async with serving(app) as server:
        client = await WebSocketClient.open(server)
        if accepts:
            assert close_codes(await client.read_and_answer()) == [1011]
        else:
            assert client.head.startswith(b"HTTP/1.1 500 ")
            with trio.fail_after(SOON):
                await read_to_end(client.stream)


@both
async def test_frames_before_the_handshake_is_answered_leave_the_application_alone(
    kind: str,
) -> None:
    finished = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await trio.sleep(0.1)
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        finished.set()

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            client = await server.connect()
            await client.send_all(handshake() + frame(1, b"early"))
            assert b"HTTP/1.1 400 " in await read_head(client)
            await client.aclose()
            assert await happens(finished.is_set, patience(kind)) == (kind == "guarded")


@pytest.mark.usefixtures("guarded")
async def test_a_websocket_exchange() -> None:
    async with serving(echo) as server:
        async with trio_websocket.open_websocket_url(f"ws://127.0.0.1:{server.port}/") as client:
            for message in ("text", b"bytes", "ß" * 100_000, b"", bytes(300_000)):
                await client.send_message(message)
                assert await client.get_message() == message
            await client.ping()
        assert client.closed is not None
        assert client.closed.code == 1000


@pytest.mark.usefixtures("guarded")
async def test_a_websocket_over_http2() -> None:
    async with serving(echo) as server, h2_client(server) as client:
        stream_id = await client.request(
            (":protocol", "websocket"),
            ("sec-websocket-version", "13"),
            method="CONNECT",
            end=False,
        )
        assert await happens(lambda: bool(client.of(h2.events.ResponseReceived)))
        client.protocol.send_data(stream_id, frame(2, b"over h2"))
        await client.flush()
        assert await happens(lambda: client.data() == b"\x82\x07over h2")
        client.protocol.send_data(stream_id, frame(8, struct.pack("!H", 1000)))
        await client.flush()
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)), SOON)
        assert client.data() == b"\x82\x07over h2" + b"\x88\x02\x03\xe8"
