"""What a connection may take of time, and how many there may be."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import h2.events
import pytest
import trio
import trustme
from hypercorn.config import Config

from penstock_server.hypercorn_guard import GuardedContext
from penstock_server.hypercorn_guard._admission import ConnectionCounts

from .applications import hello
from .h2_client import H2Client
from .serving import (
    SOON,
    Serving,
    both,
    get,
    happens,
    hypercorn_classes,
    read_head,
    read_to_end,
    reset,
    serving,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ONE_LINE = b"GET / HTTP/1.1\r\n"


@dataclass
class Limited:
    """Sets limits before the first connection, and keeps the context."""

    header_timeout: float = 0.2
    max_connections: int = 100
    max_connections_per_address: int = 100
    context: GuardedContext | None = None

    def __call__(self, context: GuardedContext) -> None:
        assert self.context is None, "it is called once"
        self.context = context
        context.header_timeout = self.header_timeout
        context.max_connections = self.max_connections
        context.max_connections_per_address = self.max_connections_per_address

    @property
    def counts(self) -> ConnectionCounts:
        assert self.context is not None
        return self.context.connection_counts()


async def is_open(stream: trio.SocketStream, within: float) -> bool:
    with trio.move_on_after(within) as scope:
        while await stream.receive_some():
            pass
    return scope.cancelled_caught


# --- Time ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (ONE_LINE, b"HTTP/1.1 408 "),
        (ONE_LINE + b"Host: a\r\n", b"HTTP/1.1 408 "),
        (PREFACE[:10], b"HTTP/1.1 408 "),
        (PREFACE[:20], b"\0\0"),  # a frame of HTTP/2
        (PREFACE, b"\0\0"),
    ],
)
async def test_a_head_that_is_not_whole_in_time(sent: bytes, answer: bytes) -> None:
    limited = Limited()
    async with serving(hello, prepare_context=limited) as server:
        tasks = server.tasks()
        client = await server.connect()
        for start in range(len(sent)):
            await client.send_all(sent[start : start + 1])
        with trio.fail_after(SOON):
            said = await read_to_end(client)
        assert said.startswith(answer)
        assert bool(said) == bool(answer)
        assert await happens(lambda: server.tasks() == tasks)
        assert limited.counts.timed_out == 1
        assert limited.counts.open == 0


@both
async def test_the_begin_of_http2_and_then_nothing(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(hello, prepare_context=Limited(), keep_alive_timeout=0.2) as server:
            client = await server.connect()
            await client.send_all(PREFACE)
            assert await is_open(client, 0.5 if kind == "plain" else SOON) == (kind == "plain")


@pytest.mark.usefixtures("guarded")
async def test_a_client_that_drips_is_cut_and_one_that_is_slow_but_in_time_is_not() -> None:
    async with serving(hello, prepare_context=Limited(header_timeout=0.4)) as server:
        client = await server.connect()
        slow = get()
        for part in (slow[:10], slow[10:20], slow[20:]):
            await client.send_all(part)
            await trio.sleep(0.1)
        assert (await read_head(client)).startswith(b"HTTP/1.1 200")
        with pytest.raises(trio.BrokenResourceError):  # the drip takes its time
            for byte in get("/" + "x" * 1000):
                await client.send_all(bytes([byte]))
                await trio.sleep(0.02)


@pytest.mark.usefixtures("guarded")
async def test_the_next_head_has_its_time_from_its_first_byte() -> None:
    limited = Limited(header_timeout=0.2)
    async with serving(hello, prepare_context=limited, keep_alive_timeout=60) as server:
        client = await server.connect()
        for _ in range(2):
            await client.send_all(get())
            await read_head(client)
            await trio.sleep(0.3)  # idle, which is allowed for longer
        await client.send_all(ONE_LINE)
        with trio.fail_after(SOON):
            assert b"HTTP/1.1 408 " in await read_to_end(client)


@pytest.mark.usefixtures("guarded")
async def test_an_idle_connection_is_closed_without_a_word() -> None:
    limited = Limited()
    async with serving(hello, prepare_context=limited, keep_alive_timeout=0.1) as server:
        client = await server.connect()
        await client.send_all(get())
        assert (await read_to_end(client)).endswith(b"0\r\n\r\n")
        assert limited.counts.timed_out == 0


@pytest.mark.usefixtures("guarded")
async def test_an_idle_http2_connection_is_told_and_closed() -> None:
    async with serving(hello, prepare_context=Limited(), keep_alive_timeout=0.1) as server:
        client = H2Client(await server.connect())
        await client.flush()
        with trio.fail_after(SOON):
            await client.read()
        (told,) = client.of(h2.events.ConnectionTerminated)
        assert told.error_code == 0


# --- TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    directory: Path = tmp_path_factory.mktemp("certificate")
    issued.private_key_pem.write_to_path(str(directory / "key"))
    issued.cert_chain_pems[0].write_to_path(str(directory / "certificate"))
    return {"certfile": str(directory / "certificate"), "keyfile": str(directory / "key")}


def unchecked(*protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


async def tls(server: Serving, *protocols: str) -> trio.SSLStream[trio.SocketStream]:
    stream = trio.SSLStream(await server.connect(), unchecked(*protocols), https_compatible=True)
    await stream.do_handshake()
    return stream


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", ONE_LINE])
async def test_a_handshake_that_is_none(sent: bytes, certificate: dict[str, str]) -> None:
    limited = Limited()
    async with serving(hello, prepare_context=limited, **certificate) as server:
        client = await server.connect()
        await client.send_all(sent)
        assert not await is_open(client, SOON)
        counts = limited.counts
        assert (counts.timed_out, counts.faulty) == ((0, 1) if sent == ONE_LINE else (1, 0))


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_a_head_over_tls(protocol: str, certificate: dict[str, str]) -> None:
    limited = Limited()
    async with serving(hello, prepare_context=limited, **certificate) as server:
        client = await tls(server, protocol)
        assert client.selected_alpn_protocol() == protocol
        with trio.fail_after(SOON):
            async for _ in client:
                pass
        assert limited.counts.timed_out == 1


# --- Number ----------------------------------------------------------------------------------


@both
async def test_more_connections_than_there_may_be(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    limited = Limited(max_connections=3, header_timeout=5)
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(hello, prepare_context=limited) as server:
            clients = [await server.connect() for _ in range(5)]
            for client in clients:
                await client.send_all(get("/", "Connection: close"))
            answers = [await read_to_end(client) for client in clients]
            if kind == "plain":
                assert all(b"hello" in answer for answer in answers)
                return
    served = [answer for answer in answers if b"hello" in answer]
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
    assert len(served) + len(refused) == 5
    assert served
    assert len(refused) == limited.counts.refused


@pytest.mark.usefixtures("guarded")
async def test_one_address_has_its_share(caplog: pytest.LogCaptureFixture) -> None:
    limited = Limited(max_connections_per_address=2, header_timeout=5)
    async with serving(hello, prepare_context=limited) as server:
        kept = [await server.connect() for _ in range(2)]
        assert await happens(lambda: limited.context is not None and limited.counts.open == 2)
        for _ in range(3):
            client = await server.connect()
            await client.send_all(get())
            answer = await read_to_end(client)
            head = answer.partition(b"\r\n\r\n")[0].lower().splitlines()
            assert head[0].startswith(b"http/1.1 429 ")
            assert b"retry-after: 10" in head
            assert b"connection: close" in head
        assert limited.counts.refused_of_address == 3
        reset(kept[0])
        assert await happens(lambda: limited.counts.open == 1)
        client = await server.connect()
        await client.send_all(get("/", "Connection: close"))
        assert b"hello" in await read_to_end(client)
    lines = [r.getMessage() for r in caplog.records if r.name == "penstock.server.connections"]
    assert len(lines) == 1  # of three, for a minute
    assert "max_connections_per_address" in lines[0]
    assert "127.0.0.1" in lines[0]


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("over_tls", [False, True])
async def test_a_refusal_in_http2(over_tls: bool, certificate: dict[str, str]) -> None:
    limited = Limited(max_connections=0)
    settings = certificate if over_tls else {}
    async with serving(hello, prepare_context=limited, **settings) as server:
        stream = await tls(server, "h2") if over_tls else await server.connect()
        client = H2Client(stream)
        await client.flush()
        with trio.fail_after(SOON):
            while not client.of(h2.events.ConnectionTerminated):
                data = bytes(await stream.receive_some())
                client.events += client.protocol.receive_data(data)
        (told,) = client.of(h2.events.ConnectionTerminated)
        assert (told.error_code, told.last_stream_id) == (0xB, 0)
        await trio.aclose_forcefully(stream)


@pytest.mark.usefixtures("guarded")
async def test_a_refused_client_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_server.hypercorn_guard._refusal.REFUSAL_TIMEOUT", 0.2)
    async with serving(hello, prepare_context=Limited(max_connections=0)) as server:
        assert not await is_open(await server.connect(), SOON)


async def test_a_configuration_prepares_the_context_once() -> None:
    class Prepared(Config):
        def prepare_context(self, context: GuardedContext) -> None:
            context.max_connections += 1

    context = GuardedContext(None)
    before = context.max_connections
    for _ in range(2):
        context.prepare(Prepared())
    assert context.max_connections == before + 1
    assert context.is_time_to_log("this")
    assert not context.is_time_to_log("this")
    assert context.is_time_to_log("that")
