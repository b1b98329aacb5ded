"""``--certfile`` and ``--keyfile``: every transport over TLS, and readers that get stuck there."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from trio_websocket import open_websocket_url

from .conftest import Launch, StartServer
from .http2 import Http2Client, http2
from .serving import CONFIGS, SERVE, ServerProcess, eventually
from .tls import TestAuthority, make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def server(launch: Launch, certificate: TestAuthority) -> Iterator[ServerProcess]:
    command = (*SERVE, str(CONFIGS / "topics.py"), "--bind", "127.0.0.1:0", *certificate.options)
    with ExitStack() as stack:
        yield launch(stack, command)


def client(server: ServerProcess, certificate: TestAuthority) -> httpx.Client:
    return httpx.Client(
        base_url=f"https://127.0.0.1:{server.port}",
        headers={"accept-encoding": "identity"},
        verify=certificate.client(),
        trust_env=False,
    )


def test_the_serving_line_says_https(server: ServerProcess) -> None:
    assert f"penstock: serving on https://127.0.0.1:{server.port}\n" in server.stderr


def test_streams_and_publications(server: ServerProcess, certificate: TestAuthority) -> None:
    with client(server, certificate) as https:
        assert https.post("/topics/anything", json={"over": "TLS"}).status_code == 201
        with https.stream("GET", "/topics/anything?after=earliest") as events:
            assert any('"over":"TLS"' in line for line in events.iter_lines())
        page = https.get("/topics/anything?format=json&after=earliest").json()
        assert page["events"][-1]["data"] == {"over": "TLS"}


async def test_a_websocket(server: ServerProcess, certificate: TestAuthority) -> None:
    url = f"wss://localhost:{server.port}/ws"
    async with open_websocket_url(url, ssl_context=certificate.client()) as websocket:
        assert json.loads(await websocket.get_message())[0]["type"] == "hello"
        await websocket.send_message('{"type":"subscribe","topic":"ticks"}')
        messages: list[Any] = []
        while len(messages) < 5:
            messages += json.loads(await websocket.get_message())
        assert [message["type"] for message in messages[:3]] == ["subscribed", "event", "event"]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("h2", "http/1.1"), "h2"),
        (("http/1.1",), "http/1.1"),
        (("h2",), "h2"),
        ((), None),
    ],
)
def test_the_protocol_is_negotiated(
    server: ServerProcess, certificate: TestAuthority, offered: tuple[str, ...], chosen: str | None
) -> None:
    plain = socket.create_connection((server.host, server.port), timeout=5)
    with certificate.client(*offered).wrap_socket(plain, server_hostname="localhost") as tls:
        assert tls.selected_alpn_protocol() == chosen
        assert tls.version() in ("TLSv1.2", "TLSv1.3")


def test_http2_over_tls(server: ServerProcess, certificate: TestAuthority) -> None:
    with http2(server, certificate.client("h2")) as h2:
        assert h2.answer(h2.request("/health/live"))[0] == 200


def test_plain_http_is_not_spoken(server: ServerProcess, certificate: TestAuthority) -> None:
    with socket.create_connection((server.host, server.port), timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"HTTP")
    with client(server, certificate) as https:
        assert https.get("/health/live").status_code == 200


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_a_reader_that_stops_reading_holds_nothing_up(
    start_server: StartServer, certificate: TestAuthority, protocol: str
) -> None:
    server = start_server("patient.py", "--grace", "1", *certificate.options)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((server.host, server.port))
    with certificate.client(protocol).wrap_socket(plain, server_hostname="localhost") as stuck:
        if protocol == "h2":
            Http2Client(stuck).request("/topics/firehose")
        else:
            stuck.sendall(b"GET /topics/firehose HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with client(server, certificate) as https:

            def lag() -> bool:
                topic = https.get("/stats").json()["topics"]["firehose"]
                return bool(topic["subscribers"] and topic["max_lag"] > 20)

            eventually(lag)
        server.signal()
        told = time.monotonic()
        assert server.wait(5) == 0
        assert time.monotonic() - told < 3


# --- What is refused before anything is served -----------------------------------------------


def refused(*options: str) -> str:
    """What it says, in one line, and ends with 1."""
    command = (*SERVE, str(CONFIGS / "topics.py"), "--bind", "127.0.0.1:0", *options)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    return line


def test_a_certificate_that_cannot_be_used_is_one_line(
    certificate: TestAuthority, tmp_path: Path
) -> None:
    missing = tmp_path / "none.pem"
    line = refused("--certfile", str(certificate.certfile), "--keyfile", str(missing))
    assert line == f"error: --keyfile {missing}: No such file or directory"
