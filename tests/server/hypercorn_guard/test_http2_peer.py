"""HTTP/2: GOAWAY (trap 3), floods, and requests that make no sense."""

import gc
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import h2.events
import h2.settings
import hpack
import pytest
import trio
from hyperframe.frame import (
    ContinuationFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
)
from priority.priority import TooManyStreamsError

from penstock_server.hypercorn_guard import GuardedContext
from penstock_server.hypercorn_guard._budget import BURST
from penstock_server.hypercorn_guard._http2_peer import MAX_RESETS

from .applications import START, Flood, Message, Receive, Send, Silent, body, echo, hello
from .frames_client import PREFACE, TolerantClient, request_headers
from .h2_client import H2Client, h2_client
from .serving import (
    PATIENCE,
    SOON,
    Serving,
    both,
    get,
    happens,
    hypercorn_classes,
    patience,
    read_to_end,
    read_until,
    serving,
    settled,
)

CALM = 0xB
"""ENHANCE_YOUR_CALM"""


async def endless(scope: Message, receive: Receive, send: Send) -> None:
    """A stream of its path every now and then; a POST is answered at once."""
    await send(START)
    while scope["method"] == "GET":
        await send(body(scope["path"].encode(), more=True))
        await trio.sleep(0.01)
    await send(body(b"done"))


class Context:
    """Keeps the context of a guarded server."""

    def __init__(self) -> None:
        self.it: GuardedContext | None = None

    def __call__(self, context: GuardedContext) -> None:
        self.it = context

    @property
    def floods(self) -> int:
        assert self.it is not None
        return self.it.connection_counts().floods


# --- GOAWAY ----------------------------------------------------------------------------------


@both
async def test_goaway_after_many_requests_ends_the_streams_that_run(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(endless, keep_alive_max_requests=5) as server:
            client = TolerantClient(await server.connect())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.read)
                running = await client.request()
                assert await happens(lambda: running in client.received)
                for _ in range(6):
                    await client.request(**{":method": "POST"})
                    await trio.sleep(0.01)
                assert await happens(lambda: bool(client.goaways))
                await trio.sleep(0.05)  # what was on its way has come
                before = len(client.received[running])
                goes_on = await happens(
                    lambda: len(client.received[running]) > before, patience(kind)
                )
                assert goes_on == (kind == "guarded")
                assert running not in client.ended  # in silence: no end, no RST_STREAM
                assert running not in client.resets
                nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("guarded")
async def test_after_goaway_nothing_new_is_taken_and_the_last_stream_closes() -> None:
    go = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        if scope["path"] == "/":
            await go.wait()
        await send(body(b"x" * 200_000))

    async with serving(app, keep_alive_max_requests=1) as server:
        tasks = server.tasks()
        client = TolerantClient(await server.connect())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.read)
            first = await client.request()
            assert await happens(lambda: client.goaways == [(0, first)])
            second = await client.request()
            assert await happens(lambda: client.resets == {second: 7})  # REFUSED_STREAM
            go.set()
            assert await happens(lambda: first in client.ended)
            assert len(client.received[first]) == 200_000
        assert client.is_closed
        await client.stream.aclose()
        assert await happens(lambda: server.tasks() == tasks)


@both
async def test_many_requests_over_http1_are_announced(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(hello, keep_alive_max_requests=3) as server:
            client = await server.connect()
            for _ in range(2):
                await client.send_all(get())
                assert b"close" not in await read_until(client, b"0\r\n\r\n")
            await client.send_all(get())
            with trio.fail_after(SOON):
                assert b"connection: close" in (await read_to_end(client)).lower()


@pytest.mark.usefixtures("guarded")
async def test_a_shutdown_is_announced_and_streams_end_whole() -> None:
    go = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await go.wait()
        await send(body(b"the end"))

    async with serving(app, graceful_timeout=2) as server:
        client = TolerantClient(await server.connect())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.read)
            first = await client.request()
            await trio.sleep(0.05)
            server.stop.set()
            await trio.sleep(0.05)
            late = await client.request()
            assert await happens(lambda: bool(client.goaways))
            assert await happens(lambda: client.resets == {late: 7})  # REFUSED_STREAM
            go.set()
            assert await happens(lambda: first in client.ended)
        assert client.received == {first: b"the end"}
        with trio.fail_after(SOON):
            await server.ended.wait()


# --- Floods ----------------------------------------------------------------------------------


def pings() -> bytes:
    return PingFrame(0, opaque_data=b"12345678").serialize() * 20_000


def settings_frames() -> bytes:
    return SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}).serialize() * 20_000


def rapid_resets() -> bytes:
    encoder = hpack.Encoder()
    return b"".join(
        HeadersFrame(number, encoder.encode(request_headers()), flags=["END_HEADERS"]).serialize()
        + RstStreamFrame(number, error_code=8).serialize()
        for number in range(1, 20_000, 2)
    )


def unknown_frames() -> bytes:
    return b"\0\0\0\xfa\0\0\0\0\0" * 20_000


def continuations() -> bytes:
    encoder = hpack.Encoder()
    start = HeadersFrame(1, encoder.encode(request_headers())).serialize()
    return start + ContinuationFrame(1, b"\x40\x01a\x01b" * 3_000).serialize() * 1_000


def empty_continuations() -> bytes:
    return HeadersFrame(1, b"").serialize() + ContinuationFrame(1, b"").serialize() * 20_000


def table_sizes() -> bytes:
    """A megabyte of header block that says nothing; the h2 library needs two seconds for it."""
    block = HeadersFrame(1, b"\x20" * 16_000).serialize()
    return block + ContinuationFrame(1, b"\x20" * 16_000).serialize() * 63


FLOODS: list[Callable[[], bytes]] = [
    pings,
    settings_frames,
    rapid_resets,
    unknown_frames,
    continuations,
    empty_continuations,
    table_sizes,
]


@pytest.fixture
def few_to_collect() -> Generator[None]:
    """What earlier tests left is out of the collector's way, as a server's modules are in `serve`.

    Else a collection of all of it takes longer than what is to be measured.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("guarded", "few_to_collect")
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_its_connection_and_nobody_elses(flood: Callable[[], bytes]) -> None:
    context, app, slowest = Context(), Silent(), [0.0]
    sent = PREFACE + SettingsFrame(0).serialize() + flood()

    async def watch_the_loop() -> None:
        while True:
            asleep = time.process_time()  # not of the clock: the machine may be busy
            await trio.sleep(0.001)
            slowest.append(time.process_time() - asleep)

    async with (
        serving(app, prepare_context=context, keep_alive_max_requests=10**6) as server,
        h2_client(server) as other,
    ):
        await other.request()
        assert await happens(lambda: bool(other.of(h2.events.ResponseReceived)))
        tasks = await settled(server.tasks)  # the answer's own have ended
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_the_loop)
            assert CALM in await goaway_codes(server, sent) or flood is empty_continuations
            nursery.cancel_scope.cancel()
        assert await happens(lambda: server.tasks() <= tasks)
        await other.request()
        assert await happens(lambda: len(other.of(h2.events.ResponseReceived)) == 2)
    assert max(slowest) < 0.15
    assert len(app.received) < 3 * BURST


async def goaway_codes(server: Serving, sent: bytes) -> list[int]:
    """Send all that is taken; the codes with which the server ends the connection."""
    client = TolerantClient(await server.connect())
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_what_is_taken, client.stream, sent)
            with suppress(trio.BrokenResourceError):  # what was on the way when it ended
                await client.read()
            nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(client.stream)
    return [code for code, _ in client.goaways] or [CALM]


async def send_what_is_taken(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


@both
async def test_rapid_resets_are_taken_without_bound(kind: str) -> None:
    started, bound = [0], 2 * MAX_RESETS

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        started[0] += 1
        await receive()

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app, keep_alive_max_requests=10**6) as server:
            sent = PREFACE + SettingsFrame(0).serialize() + rapid_resets()
            client = await server.connect()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_what_is_taken, client, sent)
                await happens(lambda: started[0] > bound, 30 if kind == "plain" else 1)
                nursery.cancel_scope.cancel()
    assert (started[0] > bound) == (kind == "plain")


@both
async def test_priorities_are_remembered(kind: str) -> None:
    frames = [PriorityFrame(number, depends_on=0).serialize() for number in range(3, 4003, 2)]
    with hypercorn_classes(guarded=kind == "guarded"):
        try:
            async with serving(echo) as server, h2_client(server) as client:
                await client.stream.send_all(b"".join(frames))
                await client.request()
                answered = await happens(lambda: bool(client.of(h2.events.StreamEnded)), SOON)
        except* TooManyStreamsError:  # the plain server ends
            answered = False
    assert answered == (kind == "guarded")


@pytest.mark.usefixtures("guarded")
async def test_a_client_that_measures_by_pings_is_no_flood() -> None:
    context = Context()
    async with serving(hello, prepare_context=context) as server, h2_client(server) as client:
        for _ in range(BURST // 2):
            client.protocol.ping(b"12345678")
        await client.flush()
        acks = client.of
        assert await happens(lambda: len(acks(h2.events.PingAckReceived)) == BURST // 2)
        await client.request()
        assert await happens(lambda: client.data() == b"hello")
        assert context.floods == 0


# --- Requests --------------------------------------------------------------------------------


@both
async def test_more_streams_than_allowed_at_once_end_the_connection(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(Silent(), h2_max_concurrent_streams=10) as server:
            client = TolerantClient(await server.connect())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.read)
                for _ in range(15):
                    await client.request()
                if kind == "plain":
                    assert await happens(lambda: client.is_closed)
                else:
                    assert await happens(lambda: len(client.resets) == 5)
                    assert set(client.resets.values()) == {7}  # REFUSED_STREAM
                    assert await settled(lambda: len(client.goaways)) == 0
                nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (request_headers(), b"200"),
        (request_headers(big="x" * 20_000), b"431"),
        (request_headers(**{":path": "stats"}), b"400"),
        (request_headers(**{":path": "/\xff"}), b"400"),
        (request_headers(**{":method": "CONNECT", ":protocol": "connect-udp"}), b"501"),
        ([(":method", "CONNECT"), (":authority", "a:1")], b"501"),
    ],
)
async def test_a_request_is_answered_and_the_connection_goes_on(
    headers: list[tuple[str, str]], status: bytes
) -> None:
    async with serving(echo) as server, h2_client(server) as client:
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        client.protocol.send_headers(1, encoded, end_stream=True)
        await client.flush()
        assert await happens(lambda: bool(client.of(h2.events.ResponseReceived)))
        assert status_of(client) == status
        client.protocol.streams.clear()
        await client.request()
        assert await happens(lambda: len(client.of(h2.events.ResponseReceived)) == 2)


def status_of(client: H2Client) -> bytes:
    headers: list[tuple[Any, Any]] = list(client.of(h2.events.ResponseReceived)[0].headers)
    return next(bytes(value) for name, value in headers if name == b":status")


@both
async def test_a_window_that_stays_closed_holds_the_application_for_ever(kind: str) -> None:
    app = Flood(stall_timeout=0.2)
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server, h2_client(server) as client:
            await client.request()
            if kind == "plain":  # it isn't even held, see the tests of flow control
                assert not await happens(app.finished.is_set, PATIENCE)
                return
            assert await happens(app.disconnected.is_set, 2)
            assert [event.error_code for event in client.of(h2.events.StreamReset)] == [8]
