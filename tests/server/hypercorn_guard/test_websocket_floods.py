"""WebSocket clients that send what does nothing, and never end; handshakes that lead nowhere."""

import struct
import time

import h2.events
import pytest
import trio
from wsproto.events import CloseConnection, Ping, Pong

from penstock_server.hypercorn_guard import _websocket
from penstock_server.hypercorn_guard._budget import BURST
from penstock_server.hypercorn_guard._message import MAX_EMPTY_PARTS

from .applications import ACCEPT, Message, Receive, Send, Silent, echo
from .h2_client import H2Client, h2_client
from .serving import (
    PATIENCE,
    SOON,
    both,
    get,
    happens,
    hypercorn_classes,
    patience,
    read_head,
    read_to_end,
    serving,
)
from .websocket_client import WebSocketClient, close_codes, frame, handshake


@pytest.fixture(autouse=True)
def quick_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_websocket, "CLOSING_TIMEOUT", 0.2)


async def send_what_is_taken(client: WebSocketClient, data: bytes) -> None:
    try:
        await client.stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


@both
@pytest.mark.parametrize(
    ("flood", "code"),
    [
        (frame(9, b"") * 100_000, 1008),
        (frame(10, b"") * 100_000, 1008),
        (frame(1, b"", final=False) + frame(0, b"", final=False) * 100_000, 1009),
        (frame(2, b"", final=False) + frame(0, b"x", final=False) * 100_000, 1009),
    ],
    ids=["pings", "pongs", "empty fragments", "fragments"],
)
async def test_a_flood_is_taken_without_end(kind: str, flood: bytes, code: int) -> None:
    app, slowest = Silent(), [0.0]

    async def watch_the_loop() -> None:
        while True:
            asleep = time.process_time()  # not of the clock: the machine may be busy
            await trio.sleep(0.001)
            slowest.append(time.process_time() - asleep)

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app, websocket_max_message_size=2_000) as server:
            client = await WebSocketClient.open(server)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_what_is_taken, client, flood)
                if kind == "plain":
                    assert not await happens(app.disconnected.is_set, PATIENCE)
                else:
                    nursery.start_soon(watch_the_loop)
                    assert close_codes(await client.read()) == [code]
                    assert app.received[1:] == [{"type": "websocket.disconnect", "code": code}]
                nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(client.stream)
    assert max(slowest) < 0.1


@pytest.mark.usefixtures("guarded")
async def test_what_an_honest_client_sends_is_no_flood() -> None:
    async with serving(echo) as server:
        client = await WebSocketClient.open(server)
        pieces = frame(2, b"", final=False) + frame(0, b"x", final=False) * 500
        await client.stream.send_all(pieces + frame(0, b"") * (MAX_EMPTY_PARTS // 1000))
        for number in range(BURST // 4):
            await client.send(Ping(b"%d" % number))
            await client.send(Pong())
        await client.send(CloseConnection(1000))
        events = await client.read()
        assert any(isinstance(event, Pong) for event in events)
        assert close_codes(events) == [1000]


@pytest.mark.usefixtures("guarded")
async def test_tiny_messages_by_the_ten_thousand_leave_others_their_turn() -> None:
    slowest = 0.0
    async with serving(echo) as server:
        client, other = await WebSocketClient.open(server), await WebSocketClient.open(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_what_is_taken, client, frame(2, b"x") * 50_000)
            nursery.start_soon(client.read)
            for _ in range(20):
                asked = time.process_time()
                await other.stream.send_all(frame(2, b"here"))
                assert bytes(await other.stream.receive_some()) == b"\x82\x04here"
                slowest = max(slowest, time.process_time() - asked)
            nursery.cancel_scope.cancel()
    assert slowest < 0.2


@both
@pytest.mark.parametrize(
    "request_",
    [
        get("/", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 8"),
        handshake().replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Kee"),
    ],
    ids=["version", "key"],
)
async def test_a_refused_handshake_keeps_its_connection(kind: str, request_: bytes) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(echo) as server:
            tasks = server.tasks()
            client = await server.connect()
            await client.send_all(request_)
            assert b"HTTP/1.1 400 " in await read_head(client)
            gone = await happens(lambda: server.tasks() == tasks, patience(kind))
            assert gone == (kind == "guarded")


@pytest.mark.usefixtures("guarded")
async def test_a_handshake_that_is_not_ascii() -> None:
    async with serving(echo) as server:
        client = await server.connect()
        await client.send_all(handshake("Sec-WebSocket-Protocol: ?").replace(b"?", b"\xff"))
        with trio.fail_after(SOON):
            assert (await read_to_end(client)).startswith(b"HTTP/1.1 400 ")


# --- Over HTTP/2 (RFC 8441) ------------------------------------------------------------------


async def connect(client: H2Client, *, end: bool = False, version: str = "13") -> int:
    return await client.request(
        (":protocol", "websocket"), ("sec-websocket-version", version), method="CONNECT", end=end
    )


@both
async def test_the_end_of_the_peers_half_goes_unseen(kind: str) -> None:
    app = Silent()
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server, h2_client(server) as client:
            stream_id = await connect(client)
            assert await happens(lambda: bool(client.of(h2.events.ResponseReceived)))
            client.protocol.end_stream(stream_id)
            await client.flush()
            seen = await happens(app.disconnected.is_set, patience(kind))
            assert seen == (kind == "guarded")
            if seen:
                assert app.received[-1] == {"type": "websocket.disconnect", "code": 1006}
                assert await happens(lambda: bool(client.of(h2.events.StreamEnded)))


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("end", "version"), [(True, "13"), (False, "8")])
async def test_a_refused_handshake_ends_its_stream_only(end: bool, version: str) -> None:
    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await trio.sleep(0.1)
            await send(ACCEPT)
        else:
            await echo(scope, receive, send)

    async with (
        serving(slow, keep_alive_timeout=0.2) as server,
        h2_client(server) as client,
    ):
        await connect(client, end=end, version=version)
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)))
        headers = dict(client.of(h2.events.ResponseReceived)[0].headers)
        assert headers[b":status"] == b"400"
        await client.request()
        assert await happens(lambda: client.data() == b"/ ")
        assert await happens(lambda: bool(client.of(h2.events.ConnectionTerminated)))  # it is idle


@pytest.mark.usefixtures("guarded")
async def test_a_close_code_and_a_ping_over_http2() -> None:
    app = Silent()
    async with serving(app) as server, h2_client(server) as client:
        stream_id = await connect(client)
        assert await happens(lambda: bool(client.of(h2.events.ResponseReceived)))
        client.protocol.send_data(stream_id, frame(9, b"are you there"))
        await client.flush()
        assert await happens(lambda: client.data() == b"\x8a\x0dare you there")
        client.protocol.send_data(stream_id, frame(8, struct.pack("!H", 4001)))
        await client.flush()
        assert await happens(app.disconnected.is_set)
        assert app.received[-1]["code"] == 4001
        assert await happens(lambda: client.data().endswith(b"\x88\x02" + struct.pack("!H", 4001)))
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)))
