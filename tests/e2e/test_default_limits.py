"""One client's biggest permitted message, full of the smallest values, holds nobody up."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from .conftest import StartServer
from .serving import MIB, ServerProcess
from .test_websocket_faults import frame, raw_websocket


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    return start_server("defaults.py")


@contextmanager
def others_are_served(server: ServerProcess) -> Generator[None]:
    """Meanwhile another client asks again and again; between a question and its answer the server
    computes for less than half a second.
    """
    over, waits = threading.Event(), list[float]()

    def ask() -> None:
        while not over.is_set():
            asked = server.cpu_seconds
            assert server.get("/topics/anything?format=json&limit=1").status_code == 200
            waits.append(server.cpu_seconds - asked)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert len(waits) > 3
    assert max(waits) < 0.5


@pytest.mark.parametrize(
    ("kind", "body", "count"),
    [
        ("application/x-ndjson", b"0\n" * 100_000, 100_000),
        ("application/msgpack", b"\x00" * 100_000, 100_000),
        ("application/json", b"[" + b"0," * 500_000 + b"0]", 1),
    ],
)
def test_publications(server: ServerProcess, kind: str, body: bytes, count: int) -> None:
    with others_are_served(server):
        answer = server.post_body("anything", body, kind)
    assert answer.status_code == 201
    assert answer.json()["count"] == count
    assert server.stats()["topics"]["anything"]["last"] == count


def test_websocket_messages(server: ServerProcess) -> None:
    publications = [{"type": "publish", "topic": "anything", "data": n} for n in range(18_000)]
    memory = server.rss
    with others_are_served(server), raw_websocket(server) as client:
        client.send(frame(1, b"[" + b"0," * 400_000 + b"0]"))
        client.send(frame(1, json.dumps(publications).encode()))
        while b'"ref":' not in client.received and len(client.received) < 1 << 20:
            client.receive()
    assert server.rss - memory < 60 * MIB
    server.assert_unharmed()


def test_big_events_are_not_kept_beside_the_log(server: ServerProcess) -> None:
    body = b'"' + b"x" * 900_000 + b'"'
    with raw_websocket(server) as client:
        client.send(frame(1, b'[{"type":"subscribe","topic":"anything"}]'))
        client.until(b'"subscribed"')
        memory = server.rss
        for _ in range(40):
            assert server.post_body("anything", body, "application/json").status_code == 201
            client.until(b'xxx"')
    assert server.rss - memory < 45 * MIB  # 16 MiB of it is the log
