"""Each fault of the plain Hypercorn, reproduced, and the same scenario with it corrected."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import logging
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
import trio_websocket
from hypercorn.config import Config
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER
from hypercorn.trio import serve
from wsproto.connection import Connection, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    TextMessage,
)

from penstock_server.hypercorn_guard import (
    GuardedContext,
    _install,
    _websocket,
    context_of,
    install,
    websocket_of,
)
from penstock_server.hypercorn_guard._connection import GuardedTCPServer
from penstock_server.hypercorn_guard._context import STALL_TIMEOUT, TerminationEvent
from penstock_server.hypercorn_guard._http1 import MAX_PIPELINED_BYTES

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
E = TypeVar("E", bound=h2.events.Event)

GRACE = 0.3
PATIENCE = 0.3
"""Seconds to wait for what plain Hypercorn is shown not to do."""
KIBIBYTE = 1024
CHUNK = b"x" * 8 * KIBIBYTE
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
ACCEPT: Message = {"type": "websocket.accept"}


# --- Serving ---------------------------------------------------------------------------------


@contextmanager
def hypercorn_classes(*, guarded: bool) -> Generator[None]:
    before = names()[0] is GuardedTCPServer
    set_to(guarded)
    try:
        yield
    finally:
        set_to(before)


def set_to(guarded: bool) -> None:
    if guarded:
        assert install()
    else:
        _install._uninstall()


@pytest.fixture
def guarded() -> Generator[None]:
    with hypercorn_classes(guarded=True):
        yield


@pytest.fixture
def plain() -> Generator[None]:
    with hypercorn_classes(guarded=False):
        yield


both = pytest.mark.parametrize("kind", ["plain", "guarded"])


@dataclass
class Serving:
    port: int
    nursery: trio.Nursery
    stop: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    clients: list[trio.socket.SocketType] = field(default_factory=list)

    async def connect(self) -> trio.SocketStream:
        """Connect with a small receive buffer, so that a peer that doesn't read soon is stuck."""
        client = trio.socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * KIBIBYTE)
        self.clients.append(client)
        await client.connect(("127.0.0.1", self.port))
        return trio.SocketStream(client)

    def tasks(self) -> int:
        """How many tasks the server runs."""
        nurseries, count = [self.nursery], 0
        while nurseries:
            for task in nurseries.pop().child_tasks:
                nurseries.extend(task.child_nurseries)
                count += 1
        return count


@asynccontextmanager
async def serving(app: App, **settings: object) -> AsyncGenerator[Serving]:
    """Run an application under Hypercorn on a free port."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = GRACE
    for name, value in settings.items():
        setattr(config, name, value)
    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        server = Serving(0, nursery)

        async def run(task_status: trio.TaskStatus[list[str]]) -> None:
            await serve(
                with_lifespan(app),  # type: ignore[arg-type] # typed more narrowly than ASGI
                config,
                shutdown_trigger=server.stop.wait,
                task_status=task_status,
            )
            server.ended.set()

        with trio.fail_after(20):
            binds = await nursery.start(run)
            server.port = int(binds[0].rpartition(":")[2])
            await trio.testing.wait_all_tasks_blocked()  # all that it runs by itself is there
            try:
                yield server
            finally:
                for client in server.clients:
                    client.close()  # a plain server may wait for nothing else
        outer.cancel_scope.cancel()


def with_lifespan(app: App) -> App:
    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for _ in range(2):
            event = await receive()
            await send({"type": event["type"] + ".complete"})

    return wrapped


async def happens(condition: Callable[[], bool], within: float = 2.0) -> bool:
    """Whether the condition comes true in time."""
    with trio.move_on_after(within):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.01)
        return True
    return False


async def settled(progress: Callable[[], int]) -> int:
    """The value of a counter once it has stopped growing."""
    last = -1
    while progress() != last:
        last = progress()
        await trio.sleep(0.1)
    return last


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def reset(stream: trio.SocketStream) -> None:
    """Close with RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def read_to_end(stream: trio.SocketStream) -> bytes:
    return b"".join([bytes(data) async for data in stream])


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    data = bytearray()
    while not data.endswith(end):
        part = await stream.receive_some()
        assert part, bytes(data)
        data += part
    return bytes(data)


def get(path: str = "/", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


# --- Applications ----------------------------------------------------------------------------


@dataclass
class Flood:
    """Sends without end; notes how many bytes were taken and whether it heard of a disconnect."""

    chunk: bytes = CHUNK
    stall_timeout: float = STALL_TIMEOUT
    sent: int = 0
    send: Send | None = None
    disconnected: trio.Event = field(default_factory=trio.Event)
    finished: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.send = send
        if (context := context_of(send)) is not None:
            context.stall_timeout = self.stall_timeout
        await send(ACCEPT if scope["type"] == "websocket" else START)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, receive, nursery.cancel_scope)
                while True:
                    await send(self._message(scope))
                    self.sent += len(self.chunk)
        finally:
            self.finished.set()

    def _message(self, scope: Message) -> Message:
        if scope["type"] == "websocket":
            return {"type": "websocket.send", "bytes": self.chunk}
        return {"type": "http.response.body", "body": self.chunk, "more_body": True}

    async def _listen(self, receive: Receive, scope: trio.CancelScope) -> None:
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        self.disconnected.set()
        scope.cancel()


@dataclass
class Silent:
    """Begins an answer or accepts, unless told not to, then only receives."""

    answers: bool = True
    received: list[Message] = field(default_factory=list)
    disconnected: trio.Event = field(default_factory=trio.Event)
    send: Send | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.send = send
        if self.answers:
            await send(ACCEPT if scope["type"] == "websocket" else START)
        while True:
            event = await receive()
            self.received.append(event)
            if event["type"].endswith(".disconnect"):
                self.disconnected.set()
                return


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with the request's path and body, or a WebSocket's messages."""
    if scope["type"] == "http":
        await send(START)
        await send(body(scope["path"].encode() + b" ", more=True))
        while True:
            event = await receive()
            await send(body(event.get("body", b""), more=event.get("more_body", False)))
            if not event.get("more_body"):
                return
    await receive()
    await send(ACCEPT)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


# --- WebSocket clients -----------------------------------------------------------------------


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


async def read_head(stream: trio.SocketStream) -> bytes:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    return bytes(data)


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


# --- HTTP/2 clients --------------------------------------------------------------------------


class H2Client:
    """A client of HTTP/2 with prior knowledge that grants a window only where it is told to."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        self.protocol.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.grants = False
        self._writing = trio.Lock()

    async def request(self, *extra: tuple[str, str], method: str = "GET", end: bool = True) -> int:
        stream_id = self.protocol.get_next_available_stream_id()
        headers = [(":method", method), (":path", "/"), (":scheme", "http"), (":authority", "a")]
        self.protocol.send_headers(stream_id, [*headers, *extra], end_stream=end)
        await self.flush()
        return stream_id

    async def flush(self) -> None:
        async with self._writing:
            await self.stream.send_all(self.protocol.data_to_send())

    async def read(self) -> None:
        """Take what comes until the server ends the connection; to be run in a task."""
        async for data in self.stream:
            for event in self.protocol.receive_data(bytes(data)):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived) and self.grants:
                    self._acknowledge(event)
            await self.flush()

    async def grant(self) -> None:
        """From now on, and for what has come, open the window again."""
        self.grants = True
        for event in self.of(h2.events.DataReceived):
            self._acknowledge(event)
        await self.flush()

    def _acknowledge(self, event: h2.events.DataReceived) -> None:
        self.protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def data(self) -> bytes:
        return b"".join(event.data for event in self.of(h2.events.DataReceived))


@asynccontextmanager
async def h2_client(server: Serving) -> AsyncGenerator[H2Client]:
    client = H2Client(await server.connect())
    await client.flush()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(client.stream)


# --- Installing ------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain")
def test_another_version_is_left_alone() -> None:
    before = names()

    assert not _install._install_on("0.19.0")

    assert names() == before


@pytest.mark.usefixtures("plain")
def test_install_is_idempotent_and_can_be_undone() -> None:
    before = names()

    assert install()
    after = names()
    assert install()
    assert names() == after
    assert all(
        new is not old and issubclass(new, old) for new, old in zip(after, before, strict=True)
    )

    _install._uninstall()
    assert names() == before


def names() -> list[type]:
    return [getattr(module, name) for module, name, _ in _install._REPLACED]


@pytest.mark.usefixtures("plain")
async def test_plain_hypercorn_has_no_context_and_no_websocket() -> None:
    app = Silent()
    async with serving(app) as server:
        await WebSocketClient.open(server)
        assert context_of(app.send) is None
        assert websocket_of(app.send) is None


@pytest.mark.usefixtures("guarded")
async def test_a_wrapped_send_has_no_context_and_no_websocket() -> None:
    app = Silent()
    async with serving(app) as server:
        await WebSocketClient.open(server)
        assert app.send is not None
        assert context_of(app.send) is not None
        assert websocket_of(app.send) is not None
        assert context_of(partial(app.send)) is None
        assert websocket_of(partial(app.send)) is None


# --- Shutdown and stalled peers (trap 1) -----------------------------------------------------


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

            assert await happens(app.disconnected.is_set, 0.5) == (kind == "guarded")

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


@both
async def test_the_application_hears_of_a_shutdown_at_once(kind: str) -> None:
    heard: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        if (context := context_of(send)) is not None:
            context.on_terminated(append)
            context.on_terminated(append)
        await send(body(b"!", more=True))
        try:
            await receive_disconnect(receive)
        finally:
            heard.append("over")

    def append() -> None:
        heard.append("terminated")

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            client = await server.connect()
            await client.send_all(get())
            await read_until(client, b"!\r\n")
            server.stop.set()
            assert await happens(lambda: bool(heard), GRACE / 2) == (kind == "guarded")
            await server.ended.wait()
            assert heard == (["terminated", "over"] if kind == "guarded" else ["over"])


async def receive_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_who_registers_after_the_shutdown_is_called_at_once() -> None:
    context = GuardedContext(None)
    calls: list[int] = []
    assert not context.is_terminated
    await context.terminated.set()
    await context.terminated.set()

    context.on_terminated(lambda: calls.append(1))

    assert context.is_terminated
    assert calls == [1]


async def test_a_failing_callback_keeps_none_of_the_others_from_being_called() -> None:
    context = GuardedContext(None)
    calls: list[int] = []

    def fail() -> None:
        raise ValueError

    context.on_terminated(fail)
    context.on_terminated(lambda: calls.append(1))
    with pytest.RaisesGroup(ValueError):
        await context.terminated.set()

    assert isinstance(context.terminated, TerminationEvent)
    assert context.is_terminated
    assert calls == [1]


APP_OF_ITS_OWN = """
from penstock_server.hypercorn_guard import install

assert install()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
"""


async def test_the_command_of_hypercorn_ends_within_its_grace(tmp_path: Path) -> None:
    (tmp_path / "flood.py").write_text(APP_OF_ITS_OWN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hypercorn", "-k", "trio", "-b", f"127.0.0.1:{port}"]
    process = await trio.lowlevel.open_process(
        [*command, "--graceful-timeout", "1", "flood:app"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(15):
            client = await connect_when_up(port)
            await client.send_all(get())
            await client.receive_some()
            await trio.sleep(0.3)  # it fills the buffers; nothing tells when
            process.send_signal(signal.SIGTERM)
            with trio.fail_after(4):
                assert await process.wait() == 0
            await client.aclose()
    finally:
        process.kill()
        await process.wait()


async def connect_when_up(port: int) -> trio.SocketStream:
    while True:
        try:
            return await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)


# --- A connection's errors, and its end ------------------------------------------------------


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


async def data_after_the_answer(server: Serving) -> None:
    async with h2_client(server) as client:
        await client.request(method="POST", end=False)
        await happens(lambda: bool(client.of(h2.events.StreamEnded)))
        client.protocol.send_data(1, b"late")
        await client.flush()
        await happens(server.ended.is_set, 0.2)


async def ignore_end(client: trio.SocketStream) -> None:
    with trio.move_on_after(0.5):
        await read_to_end(client)


Misdeed = Callable[[Serving], Awaitable[None]]
misdeeds = pytest.mark.parametrize(
    ("misdeed", "logged"),
    [(malformed_websocket, True), (malformed_h2_path, True), (data_after_the_answer, False)],
)


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"hello"))


@misdeeds
@pytest.mark.usefixtures("plain")
async def test_one_request_ends_a_plain_server(misdeed: Misdeed, logged: bool) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc((UnicodeDecodeError, KeyError)), flatten_subgroups=True
    ):
        async with serving(hello) as server:
            await misdeed(server)
            await trio.sleep(PATIENCE)


@misdeeds
@pytest.mark.expect_error_log
@pytest.mark.usefixtures("guarded")
async def test_no_request_ends_the_server(
    misdeed: Misdeed, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello, errorlog=logging.getLogger("connection errors")) as server:
        await misdeed(server)

        client = await server.connect()
        await client.send_all(get("/", "Connection: close"))
        assert b"hello" in await read_to_end(client)
    assert ("Error in a connection" in caplog.text) == logged


@both
async def test_a_connection_that_was_left_is_kept_for_the_keep_alive_timeout(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(hello, keep_alive_timeout=60) as server:
            tasks = server.tasks()
            client = await server.connect()
            assert await happens(lambda: server.tasks() > tasks)
            await client.aclose()
            assert await happens(lambda: server.tasks() == tasks, PATIENCE) == (kind == "guarded")


@pytest.mark.usefixtures("guarded")
async def test_connection_close_is_closed_at_once() -> None:
    async with serving(hello) as server:
        tasks = server.tasks()
        client = await server.connect()
        await client.send_all(get("/", "Connection: close"))
        with trio.fail_after(0.5):
            assert (await read_to_end(client)).endswith(b"0\r\n\r\n")
        assert await happens(lambda: server.tasks() == tasks, 0.5)


# --- Bytes after a request (trap 4) ----------------------------------------------------------


@both
@pytest.mark.parametrize("leave", ["FIN", "RST"])
@pytest.mark.parametrize(
    "request_and_more",
    [get() + b"\r\n", get() + get("/second"), get("/", "Connection: upgrade", "Upgrade: x")],
    ids=["CRLF", "pipelined", "upgrade"],
)
async def test_bytes_after_a_request_hide_the_disconnect(
    kind: str, leave: str, request_and_more: bytes
) -> None:
    app = Silent(answers=False)
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            tasks, descriptors = server.tasks(), open_descriptors()
            client = await server.connect()
            await client.send_all(request_and_more)
            assert await happens(lambda: app.received != [])

            await client.aclose() if leave == "FIN" else reset(client)

            if kind == "guarded":
                assert await happens(app.disconnected.is_set)
                assert await happens(lambda: server.tasks() == tasks)
                assert open_descriptors() == descriptors
            else:
                assert not await happens(app.disconnected.is_set, PATIENCE)
                assert server.tasks() > tasks


@pytest.mark.usefixtures("guarded")
async def test_what_was_pipelined_ends_with_the_peer() -> None:
    paths: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await receive_disconnect(receive)
        await hello(scope, receive, send)  # it has not noticed

    async with serving(app, keep_alive_timeout=60) as server:
        tasks = server.tasks()
        client = await server.connect()
        await client.send_all(get("/1") + get("/2"))
        assert await happens(lambda: paths == ["/1"])
        await client.send_eof()
        assert await happens(lambda: server.tasks() == tasks)
        assert paths == ["/1"]


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("size", [1, 7, 10_000], ids=lambda size: f"writes of {size}")
async def test_pipelined_requests_are_answered_in_order(size: int) -> None:
    requests = (
        get("/1")
        + b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst"
        + b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"
        + get("/4")
        + get("/5", "Connection: close")
    )
    async with serving(slow_echo) as server:
        client = await server.connect()
        for start in range(0, len(requests), size):
            await client.send_all(requests[start : start + size])
        answers = await read_to_end(client)
    assert contents(answers) == [b"/1 ", b"/2 first", b"/3 second", b"/4 ", b"/5 "]


async def slow_echo(scope: Message, receive: Receive, send: Send) -> None:
    await trio.sleep(0.02)
    await echo(scope, receive, send)


def contents(answers: bytes) -> list[bytes]:
    """The bodies of answers in chunked encoding."""
    bodies: list[bytes] = []
    for answer in answers.split(b"HTTP/1.1 200 \r\n")[1:]:
        rest, content = answer.partition(b"\r\n\r\n")[2], bytearray()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            content += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        bodies.append(bytes(content))
    return bodies


@pytest.mark.usefixtures("guarded")
async def test_more_is_pipelined_than_is_read_ahead() -> None:
    go = trio.Event()
    held: list[int] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            protocol = send.__self__.send.__self__  # type: ignore[attr-defined] # a bound method
            await go.wait()
            held.append(len(protocol.connection.trailing_data[0]))
        await echo(scope, receive, send)

    upload = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"u" * 200_000
    async with serving(app) as server, trio.open_nursery() as nursery:
        client = await server.connect()
        await client.send_all(get("/first"))
        requests = b"".join(upload % number for number in range(20)) + get(
            "/last", "Connection: close"
        )
        nursery.start_soon(client.send_all, requests)
        await trio.sleep(0.1)
        go.set()
        answers = contents(await read_to_end(client))
    assert MAX_PIPELINED_BYTES < held[0] <= 2 * MAX_PIPELINED_BYTES
    assert [len(answer) for answer in answers[1:-1]] == [
        200_000 + len(b"/%d " % number) for number in range(20)
    ]
    assert (answers[0], answers[-1]) == (b"/first ", b"/last ")


@pytest.mark.usefixtures("guarded")
async def test_a_pipelined_body_that_is_still_coming_keeps_its_order() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await trio.sleep(0.1)
        await send(START)
        while (event := await receive()).get("more_body"):
            await trio.lowlevel.checkpoint()
            await send(body(event["body"], more=True))
        await send(body(b""))

    chunks = [b"3\r\n%03d\r\n" % number for number in range(200)]
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(app, max_app_queue_size=2) as server:
        client = await server.connect()
        await client.send_all(get() + head + b"".join(chunks[:100]))
        for chunk in chunks[100:]:
            await client.send_all(chunk)
            await trio.sleep(0.002)  # some come while those before them wait to be received
        await client.send_all(b"0\r\n\r\n" + get("/", "Connection: close"))
        assert contents(await read_to_end(client)) == [
            b"",
            b"".join(b"%03d" % number for number in range(200)),
            b"",
        ]


@pytest.mark.usefixtures("guarded")
async def test_an_upgrade_to_h2c_may_be_pipelined() -> None:
    async with serving(slow_echo) as server:
        client = await server.connect()
        upgrade = get("/2", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        await client.send_all(get("/1") + upgrade)
        answer = b""
        while b"101" not in answer:
            answer += await client.receive_some()
        assert b"/1 " in answer


# --- HTTP/2 flow control (trap 2) ------------------------------------------------------------


WINDOW = 2**16 - 1


@both
async def test_a_closed_window_holds_the_application(kind: str) -> None:
    app = Flood()
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server, h2_client(server) as client:
            await client.request()
            bound = WINDOW + 2 * BUFFER_HIGH_WATER
            if kind == "plain":
                assert await happens(lambda: app.sent > 20 * bound)
            else:
                assert WINDOW < await settled(lambda: app.sent) <= bound
                await client.grant()  # and no wake-up is lost
                assert await happens(lambda: app.sent > 20 * bound)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("chunk", [100, BUFFER_HIGH_WATER, 3 * 2**20])
async def test_all_arrives_once_the_window_opens(chunk: int) -> None:
    size = max(chunk, 300_000) // chunk * chunk
    data = bytes(range(256)) * (size // 256 + 1)
    buffered: list[int] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        protocol = send.__self__.send.__self__  # type: ignore[attr-defined] # a bound method
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, protocol)
            for start in range(0, size, chunk):
                await send(body(data[start : start + chunk], more=True))
            nursery.cancel_scope.cancel()
        await send(body(b""))

    async def watch(protocol: Any) -> None:
        while True:
            buffered.extend(len(buffer.buffer) for buffer in protocol.stream_buffers.values())
            await trio.lowlevel.checkpoint()

    async with serving(app) as server, h2_client(server) as client:
        await client.request()
        assert await happens(lambda: len(client.data()) == WINDOW)
        await client.grant()
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)), 5)
        assert client.data() == data[:size]
        assert max(buffered) <= 2 * BUFFER_HIGH_WATER


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("end", ["reset", "close"])
async def test_an_end_lets_go_of_a_sender_that_waits(end: str) -> None:
    returned = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(bytes(4 * WINDOW), more=True))
        returned.set()

    async with serving(app) as server:
        tasks = server.tasks()
        async with h2_client(server) as client:
            stream_id = await client.request()
            assert await happens(lambda: len(client.data()) == WINDOW)
            assert not returned.is_set()
            if end == "reset":
                client.protocol.reset_stream(stream_id)
                await client.flush()
                assert await happens(returned.is_set)
        assert await happens(returned.is_set)
        assert await happens(lambda: server.tasks() == tasks)


@pytest.mark.usefixtures("guarded")
async def test_an_echo_through_a_closed_window_is_no_deadlock() -> None:
    upload = bytes(20_000)
    async with serving(echo) as server, h2_client(server) as client:
        stream_id = await client.request(method="POST", end=False)
        sent = 0
        while sent < 15 * len(upload):
            allowed = client.protocol.local_flow_control_window(stream_id)
            if allowed >= len(upload):
                for part in range(0, len(upload), 500):  # many frames, more than an inbox takes
                    client.protocol.send_data(stream_id, upload[part : part + 500])
                sent += len(upload)
                await client.flush()
            elif not client.grants:
                await settled(lambda: len(client.data()))
                await client.grant()
            else:
                await trio.sleep(0.01)
        client.protocol.end_stream(stream_id)
        await client.flush()
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)))
        assert len(client.data()) == len(b"/ ") + sent


@pytest.mark.usefixtures("guarded")
async def test_a_stream_that_nobody_receives_is_reset_and_the_others_go_on() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        if scope["method"] == "POST":
            await trio.sleep_forever()
        await send(body(b"hello"))

    async with serving(app) as server, h2_client(server) as client:
        upload = await client.request(method="POST", end=False)
        for _ in range(2000):
            client.protocol.send_data(upload, b"")
        await client.flush()
        await client.request()
        assert await happens(lambda: client.data() == b"hello")
        assert [event.error_code for event in client.of(h2.events.StreamReset)] == [0xB]


@both
async def test_a_cut_answer_leaves_the_client_waiting(kind: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", more=True))
        raise ValueError

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server, h2_client(server) as client:
            await client.request()
            told = await happens(lambda: bool(client.of(h2.events.StreamReset)), PATIENCE)
            assert told == (kind == "guarded")
            assert not client.of(h2.events.StreamEnded)


# --- Sending to nobody (trap 6) --------------------------------------------------------------


@both
@pytest.mark.parametrize("protocol", ["websocket", "HTTP/1.1", "HTTP/2"])
async def test_a_send_to_nobody_can_not_be_cancelled(kind: str, protocol: str) -> None:
    outcome: list[bool] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        websocket = scope["type"] == "websocket"
        await send(ACCEPT if websocket else START)
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            for _ in range(100):
                await send({"type": "websocket.send", "text": "x"} if websocket else more)
        outcome.append(cancelled.cancelled_caught)

    more = body(b"x", more=True)
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            if protocol == "websocket":
                reset((await WebSocketClient.open(server)).stream)
            elif protocol == "HTTP/1.1":
                client = await server.connect()
                await client.send_all(get())
                await read_head(client)
                reset(client)
            else:
                async with h2_client(server) as h2client:
                    stream_id = await h2client.request()
                    await happens(lambda: bool(h2client.of(h2.events.ResponseReceived)))
                    h2client.protocol.reset_stream(stream_id)
                    await h2client.flush()
                    await happens(lambda: bool(outcome))
            assert await happens(lambda: bool(outcome))
    # In plain HTTP/1.1 the lock of the connection is a checkpoint.
    assert outcome == [kind == "guarded" or protocol == "HTTP/1.1"]


@both
async def test_unread_messages_hold_up_the_disconnect(kind: str) -> None:
    finished = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        context = context_of(send)
        with trio.move_on_after(0.4):
            while True:
                await send({"type": "websocket.send", "bytes": CHUNK})
                await trio.sleep(0.01)
        finished.set()
        assert context is None or isinstance(context, GuardedContext)

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            tasks = server.tasks()
            client = await WebSocketClient.open(server)
            for _ in range(20):
                await client.send(TextMessage("unread"))
            reset(client.stream)
            gone = await happens(lambda: server.tasks() == tasks, 1)
            assert gone == (kind == "guarded")


# --- WebSocket (traps 5 and 7) ---------------------------------------------------------------


@both
async def test_compression_is_negotiated(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(echo) as server:
            client = await WebSocketClient.open(
                server, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
            )
            assert (b"permessage-deflate" in client.head.lower()) == (kind == "plain")


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
            with trio.move_on_after(PATIENCE) as patience:
                while not close_codes(events):
                    client.protocol.receive_data(bytes(await client.stream.receive_some()))
                    events.extend(client.protocol.events())
            assert close_codes(events) == [1009]
            assert await happens(app.disconnected.is_set, PATIENCE) == (kind == "guarded")
            if kind == "guarded":
                assert not patience.cancelled_caught
                assert app.received[1:] == [{"type": "websocket.disconnect", "code": 1009}]
                with trio.fail_after(1):
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
        with trio.fail_after(1):
            assert close_codes(await client.read()) == [1001]
        assert await happens(lambda: server.tasks() == tasks)


@pytest.mark.usefixtures("guarded")
async def test_a_close_of_the_peer_is_answered_and_ends_the_connection_at_once() -> None:
    app = Silent()
    async with serving(app) as server:
        tasks = server.tasks()
        client = await WebSocketClient.open(server)
        await client.send(CloseConnection(4001, "bye"))
        with trio.fail_after(0.5):
            assert close_codes(await client.read()) == [4001]
        assert await happens(lambda: server.tasks() == tasks, 0.5)
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
        with trio.fail_after(0.5):
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
            with trio.fail_after(1):
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
            assert await happens(finished.is_set, PATIENCE) == (kind == "guarded")


# --- What was right stays right --------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
async def test_an_event_stream_is_delivered_event_by_event() -> None:
    go: list[trio.Event] = [trio.Event() for _ in range(3)]
    end = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-type", b"text/event-stream")]})
        for number, event in enumerate(go):
            await event.wait()
            await send(body(b"data: %d\n\n" % number, more=True))
        await end.wait()
        await send(body(b""))

    async with serving(app) as server:
        client = await server.connect()
        await client.send_all(get())
        await read_head(client)
        for number, event in enumerate(go):
            event.set()
            assert await read_until(client, b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
        end.set()
        assert await read_until(client, b"\r\n\r\n") == b"0\r\n\r\n"


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
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)), 1)
        assert client.data() == b"\x82\x07over h2" + b"\x88\x02\x03\xe8"
