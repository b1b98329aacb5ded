"""HTTP/2 over TLS and with prior knowledge: streams, publications, WebSockets (RFC 8441)."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from wsproto.events import CloseConnection
from wsproto.events import Ping as WebSocketPing

from .clients import open_sse
from .conftest import Launch, StartServer
from .http2 import Http2Client, http2
from .serving import CONFIGS, SERVE, ServerProcess, eventually
from .tls import TestAuthority, make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def servers(launch: Launch, certificate: TestAuthority) -> Iterator[dict[str, ServerProcess]]:
    command = (*SERVE, str(CONFIGS / "topics.py"), "--bind", "127.0.0.1:0")
    with ExitStack() as stack:
        yield {
            "plain": launch(stack, command),
            "TLS": launch(stack, (*command, *certificate.options)),
        }


@pytest.fixture(params=["plain", "TLS"])
def client(
    request: pytest.FixtureRequest, servers: dict[str, ServerProcess], certificate: TestAuthority
) -> Iterator[Http2Client]:
    tls = certificate.client("h2") if request.param == "TLS" else None
    with http2(servers[request.param], tls) as client:
        yield client


def test_requests_beside_each_other(client: Http2Client) -> None:
    events = client.request("/topics/ticks")
    health = client.request("/health/live")
    lists = client.request("/topics")
    assert client.answer(health)[0] == 200
    assert client.answer(lists)[0] == 200
    client.until(lambda: client.data.get(events, b"").count(b"data: ") > 5)
    assert events not in client.ended


def test_publishing_and_reading(client: Http2Client) -> None:
    post = client.request("/topics/anything", "POST", end=False, content_type="application/json")
    client.protocol.send_data(post, b'{"over":')
    client.flush()
    client.protocol.send_data(post, b'"h2"}', end_stream=True)
    client.flush()
    assert client.answer(post)[0] == 201
    events = client.request("/topics/anything?after=earliest")
    client.until(lambda: b'{"over":"h2"}' in client.data.get(events, b""))


def test_head_and_errors(client: Http2Client) -> None:
    for path, method, status in (
        ("/topics/ticks", "HEAD", 200),
        ("/topics/none", "GET", 404),
        ("/topics/ticks", "DELETE", 405),
        ("/none", "GET", 404),
        ("*", "GET", 400),
        ("none", "GET", 400),
    ):
        assert client.answer(client.request(path, method))[0] == status
    assert client.goaway is None


def test_a_websocket_subscribes_publishes_and_closes(client: Http2Client) -> None:
    websocket = client.open_websocket()
    assert websocket.next()["type"] == "hello"
    websocket.send({"type": "subscribe", "topic": "anything", "ref": 1})
    assert websocket.next()["type"] == "subscribed"
    websocket.send({"type": "publish", "topic": "anything", "data": {"n": 1}, "ref": 2})
    got = {message["type"]: message for message in (websocket.next(), websocket.next())}
    assert got["published"]["ref"] == 2
    assert got["event"]["data"] == {"n": 1}
    websocket.send_event(CloseConnection(4000))
    assert websocket.closed() == 4000
    assert client.answer(client.request("/health/live"))[0] == 200  # the connection goes on


def test_two_websockets_and_a_stream_share_a_connection(client: Http2Client) -> None:
    first, second = client.open_websocket(), client.open_websocket()
    events = client.request("/topics/ticks")
    for websocket in (first, second):
        websocket.send({"type": "subscribe", "topic": "ticks"})
    numbers = {
        websocket.stream: [websocket.find("event")["data"] for _ in range(10)]
        for websocket in (first, second)
    }
    for seen in numbers.values():
        assert seen == list(range(seen[0], seen[0] + 10))
    client.until(lambda: client.data.get(events, b"").count(b"data: ") > 5)


def test_who_answers_pings_over_http2_lives(client: Http2Client) -> None:
    websocket = client.open_websocket()
    started = time.monotonic()
    while time.monotonic() - started < 1.2:  # four heartbeats
        websocket.send({"type": "ping"})
        websocket.find("pong")
        time.sleep(0.05)
    assert len(websocket.pings) >= 3


def test_who_answers_none_loses_the_stream_only(client: Http2Client) -> None:
    websocket = client.open_websocket()
    websocket.answers_pings = False
    started = time.monotonic()
    client.until(lambda: websocket.stream in client.ended)
    assert time.monotonic() - started < 2
    assert client.resets == {websocket.stream: 8}  # CANCEL
    assert client.answer(client.request("/health/live"))[0] == 200


def test_pings_of_the_client_are_answered(client: Http2Client) -> None:
    websocket = client.open_websocket()
    websocket.send_event(WebSocketPing(b"are you there"))
    client.until(lambda: b"are you there" in client.data.get(websocket.stream, b""))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x82\0\0\0\0[{", 1007),
        (b"\x82\x80\0\0\0\0", 1003),
        (b"\x81\x02[]", 1002),
        (b"\x81\xff" + struct.pack(">Q", 1 << 20) + bytes(4) + b" " * 65_537, 1009),
    ],
)
def test_close_codes_over_http2(client: Http2Client, frame: bytes, code: int) -> None:
    websocket = client.open_websocket()
    websocket.next()
    for start in range(0, len(frame), 16_000):
        client.until(lambda: client.protocol.local_flow_control_window(websocket.stream) > 16_000)
        websocket.send_bytes(frame[start : start + 16_000])
    assert websocket.closed() == code


def test_the_end_of_the_clients_half_is_a_disconnect(client: Http2Client) -> None:
    websocket = client.open_websocket()
    websocket.next()
    client.protocol.end_stream(websocket.stream)
    client.flush()
    client.until(lambda: websocket.stream in client.ended)
    assert client.resets == {}


def test_a_websocket_that_is_none(client: Http2Client) -> None:
    client.until(lambda: client.allows_connect)
    for protocol, version, path, status in (
        ("connect-udp", "13", "/ws", 501),
        ("websocket", "8", "/ws", 400),
        ("websocket", "13", "/none", 404),
    ):
        stream = client.protocol.get_next_available_stream_id()
        headers = [
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", client.scheme),
            (":path", path),
            (":authority", "localhost"),
            ("sec-websocket-version", version),
        ]
        client.protocol.send_headers(stream, headers)
        client.flush()
        client.until(lambda stream=stream: stream in client.status)
        assert client.status[stream] in (status, 403)


def test_the_end_of_the_server_is_told_to_all(
    start_server: StartServer, certificate: TestAuthority
) -> None:
    server = start_server("topics.py", *certificate.options)
    with http2(server, certificate.client("h2")) as client:
        websocket = client.open_websocket()
        websocket.send({"type": "subscribe", "topic": "silent"})
        websocket.find("subscribed")
        events = client.request("/topics/silent")
        client.until(lambda: events in client.status)
        server.signal()
        assert websocket.find("reconnect")["after"] >= 0
        websocket.send_event(CloseConnection(1000))
        assert websocket.closed() == 1012
        assert b"retry: " in client.answer(events)[1]
        assert server.wait(5) == 0


def test_a_window_that_stays_closed_is_no_reader(start_server: StartServer) -> None:
    server = start_server("hostile.py")
    with http2(server) as client, open_sse(server, "ticks") as ticks:
        client.protocol.acknowledge_received_data = lambda *_: None  # type: ignore[method-assign] # grants nothing
        stream = client.request("/topics/firehose")
        client.until(lambda: stream in client.resets)
        assert client.resets[stream] == 8  # CANCEL
        assert len(ticks.take(5)) == 5
        eventually(lambda: server.stats()["topics"]["firehose"]["subscribers"] == 0)
