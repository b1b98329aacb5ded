"""Paths that try to be another resource, or to break something."""

from __future__ import annotations

import pytest

from .clients import raw_client
from .http2 import http2
from .serving import ServerProcess

PATHS = [
    "/topics/../stats",
    "/topics/%2e%2e/stats",
    "/topics/..%2fstats",
    "/topics/ticks/../../stats",
    "/topics/./ticks",
    "/topics/ticks%00",
    "/topics/%00",
    "/topics/ticks%2f..%2fstats",
    "/topics/%c0%ae%c0%ae/stats",
    "/topics/%ff%fe",
    "/topics/%",
    "/topics/%zz",
    "/topics/ticks;x=1",
    "/topics/ticks\\..\\stats",
    "/topics/" + "x" * 10_000,
    "/topics/" + "%2e" * 3_000,
    "/topics//",
    "//topics/none",
    "//stats/none",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/../../etc/passwd",
    "/ws/../stats",
    "/ws%00",
    "/client.js/../none",
]


def statuses(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_path_is_another(server: ServerProcess, path: str, method: str) -> None:
    with raw_client(server) as client:
        client.send(
            f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close"
            "\r\n\r\n".encode()
        )
        answer = client.to_the_end()
    assert 300 <= statuses(answer) < 500
    assert b'"pipelines"' not in answer
    assert b"root:" not in answer


def test_a_head_that_is_too_long(server: ServerProcess) -> None:
    for head in ("GET /" + "x" * 100_000, "GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 100_000):
        with raw_client(server) as client:
            client.send(head.encode())
            assert statuses(client.to_the_end()) in (400, 414, 431)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://a/health/live HTTP/1.1", 200),
        ("GET http://other.example/health/live HTTP/1.1", 200),
        ("GET HTTP://a HTTP/1.1", 200),
        ("OPTIONS * HTTP/1.1", 404),
        ("GET * HTTP/1.1", 400),
        ("GET stats HTTP/1.1", 400),
        ("GET ../stats HTTP/1.1", 400),
        ("GET ftp://a/stats HTTP/1.1", 400),
        ("CONNECT a:443 HTTP/1.1", 400),
        ("GET / HTTP/3.0", 505),
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("/ HTTP/1.1", 400),
    ],
)
def test_other_forms_of_a_target(server: ServerProcess, request_line: str, status: int) -> None:
    with raw_client(server) as client:
        client.send(f"{request_line}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert statuses(client.to_the_end()) == status
    server.assert_unharmed()


@pytest.mark.parametrize(
    "path", ["/", "/stats", "/topics/ticks", "/ws/", "/ws/../ws", "/%77s/x", "/none", "/ws%00"]
)
def test_a_websocket_anywhere_else(server: ServerProcess, path: str) -> None:
    with raw_client(server) as client:
        status = int(client.ask_for_upgrade(path).split()[1])
    assert 300 <= status < 500


def test_odd_paths_over_http2(server: ServerProcess) -> None:
    with http2(server) as client:
        for path in [*PATHS, "*", "stats", "http://a/stats"]:
            status, body = client.answer(client.request(path))
            assert 300 <= status < 500
            assert b'"pipelines"' not in body
        assert client.answer(client.request("/health/live"))[0] == 200


def test_malformed_requests_leave_no_traceback(server: ServerProcess) -> None:
    for request in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\r\n".join(
            [
                b"GET /ws HTTP/1.1",
                b"Host: a",
                b"Upgrade: websocket",
                b"Connection: Upgrade",
                b"Sec-WebSocket-Version: 13",
                b"Sec-WebSocket-Key: x",
                b"Sec-WebSocket-Protocol: \xff\xfe",
                b"\r\n",
            ]
        ),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ):
        with raw_client(server) as client:
            client.send(request)
            client.socket.shutdown(1)
            client.to_the_end()
    assert "Error in a connection" not in server.stderr
    server.assert_unharmed()
