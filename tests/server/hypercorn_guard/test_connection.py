"""A connection: stuck readers, its errors, its end (traps 1 and 8)."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import logging
from collections.abc import Awaitable, Callable

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing

from penstock_server.hypercorn_guard import (
    context_of,
)
from penstock_server.hypercorn_guard._http1 import GuardedH11Protocol

from .applications import (
    KIBIBYTE,
    START,
    Flood,
    Message,
    Receive,
    Send,
    body,
    hello,
)
from .h2_client import H2Client, h2_client
from .serving import (
    GRACE,
    PATIENCE,
    SOON,
    Serving,
    both,
    get,
    happens,
    hypercorn_classes,
    patience,
    read_to_end,
    reset,
    serving,
    settled,
)
from .websocket_client import handshake


@both
@pytest.mark.parametrize("websocket", [False, True])
async def test_a_stuck_reader_holds_up_the_shutdown(kind: str, websocket: bool) -> None:
    app = Flood()
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            client = await server.connect()
            await client.send_all(handshake() if websocket else get())
            await settled(lambda: app.sent)

            server.stop.set()

            if kind == "guarded":
                with trio.fail_after(GRACE + 1):
                    await server.ended.wait()
            else:
                assert not await happens(server.ended.is_set, GRACE + PATIENCE)
            reset(client)
            with trio.fail_after(2):
                await server.ended.wait()


@pytest.mark.usefixtures("guarded")
async def test_cancelling_the_server_cuts_a_stuck_write() -> None:
    app = Flood()
    async with serving(app) as server:
        client = await server.connect()
        await client.send_all(get())
        await settled(lambda: app.sent)

        with trio.fail_after(GRACE + 1):
            server.nursery.cancel_scope.cancel()
            await happens(app.finished.is_set)


@both
async def test_a_stuck_reader_holds_its_application(kind: str) -> None:
    app = Flood(stall_timeout=0.2)
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            client = await server.connect()
            await client.send_all(get())
            await settled(lambda: app.sent)

            assert await happens(app.disconnected.is_set, 2 * patience(kind)) == (kind == "guarded")

            reset(client)
            assert await happens(app.finished.is_set)


@pytest.mark.usefixtures("guarded")
async def test_a_slow_reader_that_reads_on_is_not_cut() -> None:
    size = 24 * KIBIBYTE * KIBIBYTE

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        context = context_of(send)
        assert context is not None
        context.stall_timeout = 0.2
        await send({**START, "headers": [(b"content-length", b"%d" % size)]})
        await send(body(bytes(size)))

    async with serving(app) as server:
        client = await trio.open_tcp_stream("127.0.0.1", server.port)
        await client.send_all(get())
        received, started = 0, trio.current_time()
        while received < size:
            received += len(await client.receive_some(512 * KIBIBYTE))
            await trio.sleep(0.01 if trio.current_time() - started < 0.8 else 0)
        assert trio.current_time() - started > 0.4  # twice what a peer may stand still
        await client.aclose()


async def malformed_websocket(server: Serving) -> None:
    client = await server.connect()
    request = handshake("Sec-WebSocket-Protocol: ?").replace(b"?", b"\xff")
    await client.send_all(request)
    await ignore_end(client)


async def malformed_h2_path(server: Serving) -> None:
    client = H2Client(await server.connect())
    headers = [(b":method", b"GET"), (b":path", b"/\xff"), (b":scheme", b"http")]
    client.protocol.send_headers(1, [*headers, (b":authority", b"a")], end_stream=True)
    await client.flush()
    await ignore_end(client.stream)


async def connect_without_path(server: Serving) -> None:
    client = H2Client(await server.connect())
    client.protocol.send_headers(1, [(":method", "CONNECT"), (":authority", "a:1")])
    await client.flush()
    await ignore_end(client.stream)


async def data_after_the_answer(server: Serving) -> None:
    async with h2_client(server) as client:
        await client.request(method="POST", end=False)
        await happens(lambda: bool(client.of(h2.events.StreamEnded)))
        client.protocol.send_data(1, b"late")
        await client.flush()
        await happens(server.ended.is_set, 0.2)


async def ignore_end(client: trio.abc.ReceiveStream) -> None:
    with trio.move_on_after(0.5):
        await read_to_end(client)


Misdeed = Callable[[Serving], Awaitable[None]]
misdeeds = pytest.mark.parametrize(
    "misdeed", [malformed_websocket, malformed_h2_path, data_after_the_answer, connect_without_path]
)


@misdeeds
@pytest.mark.usefixtures("plain")
async def test_one_request_ends_a_plain_server(misdeed: Misdeed) -> None:
    faults = (UnicodeDecodeError, KeyError, UnboundLocalError)
    with pytest.RaisesGroup(pytest.RaisesExc(faults), flatten_subgroups=True):
        async with serving(hello) as server:
            await misdeed(server)
            await trio.sleep(PATIENCE)


@misdeeds
@pytest.mark.usefixtures("guarded")
async def test_no_request_ends_the_server(
    misdeed: Misdeed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(hello, errorlog=logging.getLogger("connection errors")) as server:
        await misdeed(server)

        client = await server.connect()
        await client.send_all(get("/", "Connection: close"))
        assert b"hello" in await read_to_end(client)
    assert not [record for record in caplog.records if record.exc_info]
    assert all(
        record.levelno < logging.WARNING
        for record in caplog.records
        if record.name.startswith("penstock")
    )


@pytest.mark.expect_error_log
@pytest.mark.usefixtures("guarded")
async def test_a_fault_of_ours_is_an_error_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(GuardedH11Protocol, "_create_stream", fail)
    async with serving(hello, errorlog=logging.getLogger("connection errors")) as server:
        client = await server.connect()
        await client.send_all(get())
        assert await read_to_end(client) == b""
        monkeypatch.undo()
        client = await server.connect()
        await client.send_all(get("/", "Connection: close"))
        assert b"hello" in await read_to_end(client)
    assert "Error in a connection" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@both
async def test_a_connection_that_was_left_is_kept_for_the_keep_alive_timeout(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(hello, keep_alive_timeout=60) as server:
            tasks = server.tasks()
            client = await server.connect()
            assert await happens(lambda: server.tasks() > tasks)
            await client.aclose()
            assert await happens(lambda: server.tasks() == tasks, patience(kind)) == (
                kind == "guarded"
            )


@pytest.mark.usefixtures("guarded")
async def test_connection_close_is_closed_at_once() -> None:
    async with serving(hello, keep_alive_timeout=60) as server:
        tasks = server.tasks()
        client = await server.connect()
        await client.send_all(get("/", "Connection: close"))
        with trio.fail_after(SOON):
            assert (await read_to_end(client)).endswith(b"0\r\n\r\n")
        assert await happens(lambda: server.tasks() == tasks, SOON)
