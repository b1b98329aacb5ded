"""Clients that mean harm to connections: slow heads, floods of frames, more than their share."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from .clients import RawClient, open_sse, raw_client
from .conftest import Launch
from .serving import CONFIGS, MIB, SERVE, ServerProcess, eventually
from .test_websocket_faults import frame, raw_websocket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def server(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / "hostile.py"), "--bind", "127.0.0.1:0"))


@contextmanager
def others_are_served(server: ServerProcess, within: float = 1.0) -> Generator[None]:
    """Meanwhile a reader misses nothing, another client is answered soon, memory stays."""
    over, slowest, memory = threading.Event(), [0.0], server.rss

    def ask() -> None:
        while not over.wait(0.02) or len(slowest) <= 3:
            asked = time.monotonic()
            assert server.get("/health/live").status_code == 200
            slowest.append(time.monotonic() - asked)

    asking = threading.Thread(target=ask)
    with open_sse(server, "ticks") as ticks:
        ticks.next()
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join()
        seen = [int(event.data) for event in ticks.take(10)]
    assert seen == list(range(seen[0], seen[0] + 10))
    assert len(slowest) > 3
    assert max(slowest) < within
    assert server.rss - memory < 25 * MIB


def send_all_that_is_taken(server: ServerProcess, data: bytes, seconds: float = 20.0) -> bytes:
    """Send until the server has had enough; what it said."""
    with raw_client(server) as client:
        client.socket.setblocking(False)
        deadline, sent = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                try:
                    received = client.socket.recv(65536)
                except (ConnectionResetError, BrokenPipeError):
                    return client.received
                if not received:
                    return client.received
                client.received += received
            with suppress(BlockingIOError, ConnectionResetError, BrokenPipeError):
                sent += client.socket.send(data[sent : sent + 65536])
            time.sleep(0.001)
        raise AssertionError(f"it took {sent} bytes and went on")


# --- Slow heads ------------------------------------------------------------------------------


def test_many_slow_heads(server: ServerProcess) -> None:
    with ExitStack() as stack, others_are_served(server):
        slow = [stack.enter_context(raw_client(server)) for _ in range(30)]
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Drip: ":
            for client in slow:
                with suppress(BrokenPipeError, ConnectionResetError):
                    client.send(bytes([byte]))
            time.sleep(0.03)
        for client in slow:
            with suppress(ConnectionResetError):
                assert client.to_the_end().startswith(b"HTTP/1.1 408 ")


def test_many_who_say_nothing(server: ServerProcess) -> None:
    with ExitStack() as stack, others_are_served(server):
        silent = [stack.enter_context(raw_client(server)) for _ in range(30)]
        started = time.monotonic()
        for client in silent:
            assert client.to_the_end() == b""
        assert time.monotonic() - started < 2


def test_a_preface_and_nothing_more(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.send(PREFACE)
        started = time.monotonic()
        client.to_the_end()
        assert time.monotonic() - started < 2


def test_a_slow_body(server: ServerProcess) -> None:
    with raw_client(server) as client:
        head = "POST /topics/anything HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        client.send(f"{head}Content-Length: 100\r\n\r\n1".encode())
        started = time.monotonic()
        assert b" 408 " in client.until(b"\r\n")
        assert time.monotonic() - started < 2


# --- More than their share -------------------------------------------------------------------


@contextmanager
def raw_client_from(server: ServerProcess, address: str) -> Generator[RawClient]:
    """A client with another address of loopback than 127.0.0.1."""
    with raw_client(server) as client:
        if address != "127.0.0.1":
            client.socket.close()
            client.socket = socket.create_connection(
                (server.host, server.port), 5, source_address=(address, 0)
            )
        yield client


def open_until_refused(
    server: ServerProcess, stack: ExitStack, addresses: Sequence[str]
) -> tuple[list[RawClient], str]:
    """Readers from these addresses of loopback, and the head with which one was refused."""
    kept: list[RawClient] = []
    for address in addresses:
        client = stack.enter_context(raw_client_from(server, address))
        client.get("/topics/ticks")
        head = client.until(b"\r\n\r\n").decode().lower()
        if not head.startswith("http/1.1 200 "):
            return kept, head
        kept.append(client)
    raise AssertionError("none was refused")


def test_more_connections_than_an_address_may_have(server: ServerProcess) -> None:
    with ExitStack() as stack:
        kept, head = open_until_refused(server, stack, ["127.0.0.1"] * 50)
        assert 35 <= len(kept) <= 40  # those of the test before may not be over yet
        assert head.startswith("http/1.1 429 ")
        assert "retry-after: " in head
        assert "connection: close" in head
        kept.pop().vanish()
        eventually(lambda: server.get("/health/live").status_code == 200)
    said = [line for line in server.stderr.splitlines() if "max_connections_per_address" in line]
    assert len(said) == 1  # however many were refused
    assert "127.0.0.1" in said[0]
    eventually(lambda: server.get("/health/live").status_code == 200)


def test_more_connections_than_there_may_be(server: ServerProcess) -> None:
    addresses = [f"127.0.0.{number}" for number in range(2, 6) for _ in range(18)]
    with ExitStack() as stack:
        kept, head = open_until_refused(server, stack, addresses)
        assert 55 <= len(kept) <= 60
        assert head.startswith("http/1.1 503 ")
    eventually(lambda: server.get("/health/live").status_code == 200)
    assert "the limit is max_connections;" in server.stderr


# --- Floods ----------------------------------------------------------------------------------


def rapid_resets() -> bytes:
    encoder = hpack.Encoder()
    headers = [(":method", "GET"), (":path", "/topics/ticks"), (":scheme", "http")]
    return b"".join(
        HeadersFrame(
            number, encoder.encode([*headers, (":authority", "a")]), flags=["END_HEADERS"]
        ).serialize()
        + RstStreamFrame(number, error_code=8).serialize()
        for number in range(1, 20_000, 2)
    )


def continuations() -> bytes:
    start = HeadersFrame(1, b"\x82\x84\x86").serialize()
    return start + ContinuationFrame(1, b"\x40\x01a\x01b" * 3_000).serialize() * 1_000


HTTP2_FLOODS = {
    "pings": PingFrame(0, opaque_data=b"12345678").serialize() * 50_000,
    "settings": SettingsFrame(0).serialize() * 50_000,
    "continuations": continuations(),
    "resets": rapid_resets(),
}


@pytest.mark.parametrize("what", HTTP2_FLOODS)
def test_floods_over_http2(server: ServerProcess, what: str) -> None:
    with others_are_served(server):
        said = send_all_that_is_taken(
            server, PREFACE + SettingsFrame(0).serialize() + HTTP2_FLOODS[what]
        )
        time.sleep(0.1)
    assert said.startswith(b"\0\0")  # its own settings


WEBSOCKET_FLOODS = {
    "pings": (frame(9, b"") * 100_000, 1008),
    "empty fragments": (frame(1, b"", final=False) + frame(0, b"", final=False) * 100_000, 1009),
    "fragments": (frame(1, b" ", final=False) + frame(0, b" " * 60_000, final=False) * 100, 1009),
}


@pytest.mark.parametrize("what", WEBSOCKET_FLOODS)
def test_floods_over_a_websocket(server: ServerProcess, what: str) -> None:
    flood, code = WEBSOCKET_FLOODS[what]
    with others_are_served(server), raw_websocket(server) as client:
        client.until(b'"hello"')
        client.socket.settimeout(3)
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            client.send(flood)
        client.until(b"\x88\x02" + code.to_bytes(2, "big"))


def test_tiny_messages_by_the_ten_thousand(server: ServerProcess) -> None:
    with others_are_served(server), raw_websocket(server) as client:
        client.until(b'"hello"')
        reader = threading.Thread(target=read_for_good, args=(client.socket,))
        reader.start()
        with suppress(BrokenPipeError, ConnectionResetError):
            client.send(frame(1, b"0") * 10_000)
        time.sleep(0.5)
        client.socket.shutdown(socket.SHUT_RDWR)
        reader.join()


def read_for_good(connected: socket.socket) -> None:
    with suppress(OSError):
        while connected.recv(65536):
            pass
