"""Jobs in real processes: a reader's going reaches the producer, and the server it reads from."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from typing import Any

import httpx
import pytest

from .clients import EventStream, raw_client
from .conftest import Launch, StartServer
from .http2 import http2
from .serving import CONFIGS, SERVE, ServerProcess, eventually
from .tls import TestAuthority, make_certificate

SSE = {"accept": "text/event-stream", "accept-encoding": "identity"}
_COMMAND = (*SERVE, str(CONFIGS / "jobs.py"), "--bind", "127.0.0.1:0")
_NUMBERS = count()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def server(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, _COMMAND)


@pytest.fixture(scope="module")
def upstream(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, _COMMAND)


@pytest.fixture(scope="module")
def secure(launch: Launch, certificate: TestAuthority) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*_COMMAND, *certificate.options))


def jobs_of(server: ServerProcess) -> Any:
    return server.get("/stats").json()["jobs"]


def running(server: ServerProcess, job: str) -> int:
    return int(jobs_of(server)[job]["running"])


@contextmanager
def posted(server: ServerProcess, job: str, body: object) -> Generator[httpx.Response]:
    """The answer to a POST, as it comes."""
    url = f"{server.url}/jobs/{job}"
    with server.client.stream("POST", url, json=body, headers=SSE) as response:
        assert response.status_code == 200
        yield response


def head_of(job: str, body: object) -> bytes:
    """A POST, as it is on the wire."""
    content = json.dumps(body).encode()
    lines = [
        f"POST /jobs/{job} HTTP/1.1",
        "Host: test",
        "Accept: text/event-stream",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


# The ways in which a reader goes: each reads for a while, and is gone after the block.


@contextmanager
def closes(server: ServerProcess, body: object) -> Generator[None]:
    with posted(server, "relayed", body) as response:
        stream = EventStream(response)  # whose end would close the response
        stream.take(5)
        yield


@contextmanager
def resets(server: ServerProcess, body: object) -> Generator[None]:
    with raw_client(server) as client:
        client.send(head_of("relayed", body))
        client.until(b"data: ")
        yield
        client.vanish()


@contextmanager
def resets_a_stream(server: ServerProcess, body: object) -> Generator[None]:
    """Of an HTTP/2 connection that goes on."""
    with http2(server) as client:
        stream = client.request(
            "/jobs/relayed",
            "POST",
            end=False,
            content_type="application/json",
            accept=SSE["accept"],
        )
        client.protocol.send_data(stream, json.dumps(body).encode(), end_stream=True)
        client.flush()
        client.until(lambda: b"data: " in client.data.get(stream, b""))
        assert client.status[stream] == 200
        yield
        client.protocol.reset_stream(stream)
        client.flush()
        other = client.request("/health/live")
        assert client.answer(other)[0] == 200


WAYS: list[Callable[[ServerProcess, object], AbstractContextManager[None]]] = [
    closes,
    resets,
    resets_a_stream,
]


def relay(upstream: ServerProcess) -> dict[str, str]:
    name = f"relay {next(_NUMBERS)}"
    return {"url": f"{upstream.url}/topics/ticks?format=ndjson", "name": name}


def readers_of(upstream: ServerProcess) -> int:
    return int(upstream.stats()["connections"]["total"])


@pytest.mark.parametrize("way", WAYS)
def test_the_last_reader_goes_and_the_upstream_is_let_go(
    server: ServerProcess, upstream: ServerProcess, way: Any
) -> None:
    body = relay(upstream)
    with way(server, body):
        assert readers_of(upstream) == 1
        assert running(server, "relayed") == 1
    gone = time.monotonic()
    eventually(lambda: readers_of(upstream) == 0)
    assert time.monotonic() - gone < 1
    eventually(lambda: f"ended {body['name']}\n" in server.stderr)
    eventually(lambda: running(server, "relayed") == 0)


def test_over_tls(
    secure: ServerProcess, upstream: ServerProcess, certificate: TestAuthority
) -> None:
    body = relay(upstream)
    with httpx.Client(verify=certificate.client(), trust_env=False) as client:
        url = f"https://127.0.0.1:{secure.port}/jobs/relayed"
        with client.stream("POST", url, json=body, headers=SSE) as response:
            stream = EventStream(response)
            stream.take(5)
            assert readers_of(upstream) == 1
        gone = time.monotonic()
        eventually(lambda: readers_of(upstream) == 0)
        assert time.monotonic() - gone < 1
    eventually(lambda: f"ended {body['name']}\n" in secure.stderr)


@pytest.mark.parametrize("settings", ["plain", "tls"])
def test_a_reader_that_takes_nothing_any_more(
    server: ServerProcess, secure: ServerProcess, certificate: TestAuthority, settings: str
) -> None:
    """Its cable was cut: the producer waits for it, in bounded memory, and then it is given up."""
    name = f"flood {settings}"
    chosen = server if settings == "plain" else secure
    before = chosen.rss
    with raw_client(chosen, receive_buffer=4096) as client, ExitStack() as stack:
        if settings == "tls":
            tls = certificate.client().wrap_socket(client.socket, server_hostname="127.0.0.1")
            client.socket = stack.enter_context(tls)
        client.send(head_of("flood", name))
        assert b" 200 " in client.until(b"\r\n")
        eventually(lambda: f"ended {name}\n" in chosen.stderr, 8)
        assert chosen.rss - before < 64 << 20  # in a second it would be several hundred


def test_clients_that_vanish_before_they_have_an_answer(server: ServerProcess) -> None:
    request = head_of("near", "vanished")
    for number in range(40):
        with raw_client(server) as client:
            client.send(request if number % 2 else request[: -1 - number % 7])
            client.vanish()
    eventually(lambda: running(server, "near") == 0)
    ends = jobs_of(server)["near"]
    assert ends["started"] == ends["cancelled"]


def test_a_detached_run_is_resumed_where_its_reader_was_cut_off(server: ServerProcess) -> None:
    got: list[Any] = []
    with posted(server, "safe", "resumed") as response:
        path = response.headers["location"]
        got += EventStream(response).take(20)
    for by_header in (True, False):
        query = "" if by_header else f"?after={got[-1].id}"
        headers = {**SSE, "last-event-id": got[-1].id} if by_header else SSE
        with server.client.stream("GET", server.url + path + query, headers=headers) as response:
            got += EventStream(response).take(20)
    assert [int(each.data) for each in got] == list(range(60))
    assert server.client.delete(server.url + path).status_code == 204
    eventually(lambda: "ended resumed\n" in server.stderr)
    page = server.get(f"{path}?format=json&limit=1000").json()
    assert (page["status"], page["end"]) == ("cancelled", True)
    last = {**SSE, "last-event-id": page["next"]}
    assert server.get(path, headers=last).status_code == 204


def test_nobody_comes_back(server: ServerProcess) -> None:
    with posted(server, "far", "alone") as response:
        EventStream(response).take(3)
    gone = time.monotonic()
    eventually(lambda: "ended alone\n" in server.stderr)
    assert time.monotonic() - gone > 0.9


def test_without_waiting(server: ServerProcess) -> None:
    headers = {"prefer": "respond-async", "idempotency-key": "a key"}
    url = f"{server.url}/jobs/short"
    paths = set()
    for _ in range(2):
        response = server.client.post(url, headers=headers)
        assert response.status_code == 202
        paths.add(response.headers["location"])
    assert response.headers["idempotent-replayed"] == "true"
    (path,) = paths
    after, data = "earliest", list[int]()
    page: Any = {"end": False}
    while not page["end"]:
        page = server.get(f"{path}?format=json&wait=5&after={after}").json()
        after = page["next"]
        data += [each["data"] for each in page["events"]]
    assert (data, page["status"]) == (list(range(5)), "done")


def test_a_shutdown_gives_the_runs_their_time(start_server: StartServer) -> None:
    server = start_server("jobs.py")
    with posted(server, "near", "cut off") as endless, posted(server, "short", None) as short:
        endless_stream, short_stream = EventStream(endless), EventStream(short)
        endless_stream.take(3)
        short_stream.take(1)
        server.signal(signal.SIGTERM)
        told = time.monotonic()
        eventually(lambda: server.get("/health/ready").status_code == 503)
        assert server.client.post(f"{server.url}/jobs/short").status_code == 503
        rest = short_stream.rest()
        assert [each.event for each in rest] == ["message"] * 4 + ["end"]
        *events, error, end = endless_stream.rest()
        assert [each.event for each in events] == ["message"] * len(events)
        assert (error.event, end.event) == ("error", "end")
        assert json.loads(error.data)["status"] == 503
    # Half of the four seconds' grace is the producers', three quarters of that the runs' own.
    assert time.monotonic() - told > 1.4
    assert server.wait(5) == 0
    assert "ended cut off\n" in server.stderr
