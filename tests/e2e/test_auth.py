"""Tokens over real sockets: who gets in, who is put out, and what hostile tokens come to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ..server.auth.issuing import forge, issue, jwk, private_key
from .clients import open_socket, raw_client
from .conftest import Launch, StartServer
from .serving import CONFIGS, SERVE, ServerProcess

ROOM = "/topics/room.1"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def authorization(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token}".encode())]


@pytest.fixture(scope="module")
def guarded(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / "guarded.py"), "--bind", "127.0.0.1:0"))


def test_what_is_answered_to_whom(guarded: ServerProcess) -> None:
    token = issue()
    publication = {**bearer(token), "content-type": "application/json"}
    assert guarded.post("room.1", 7, publication).status_code == 201
    page = f"{ROOM}?format=json&after=earliest"
    for answer in (
        guarded.get(page, headers=bearer(token)),
        guarded.get(page, headers={"cookie": f"penstock_token={token}"}),
        guarded.get(f"{page}&token={token}"),
    ):
        assert answer.status_code == 200
        assert [event["data"] for event in answer.json()["events"]] == [7]
    refused = guarded.get(page)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="penstock"'
    assert refused.json()["status"] == 401
    assert guarded.get("/topics/secret", headers=bearer(token)).status_code == 403
    assert guarded.get("/topics/nothing", headers=bearer(token)).status_code == 403
    assert guarded.post("secret", 7, publication).status_code == 403
    assert guarded.get("/stats", headers=bearer(token)).status_code == 403
    boss = bearer(issue(penstock={"operate": True}))
    for path in ("/stats", "/metrics"):
        assert guarded.get(path, headers=boss).status_code == 200
        assert guarded.get(path).status_code == 401
    assert guarded.get("/health/ready").status_code == 200
    assert [
        topic["name"] for topic in guarded.get("/topics", headers=bearer(token)).json()["topics"]
    ] == ["room.1"]
    assert token not in guarded.stderr


async def test_a_websocket_is_refused_before_it_is_upgraded(guarded: ServerProcess) -> None:
    with raw_client(guarded) as client:
        head = client.ask_for_upgrade("/ws")
        assert head.startswith("HTTP/1.1 401 ")
        assert "www-authenticate: bearer" in head.lower()
    with raw_client(guarded) as client:
        assert client.ask_for_upgrade("/ws?token=junk").startswith("HTTP/1.1 401 ")
    with raw_client(guarded) as client:
        assert client.ask_for_upgrade(f"/ws?token={issue()}").startswith("HTTP/1.1 101 ")
    async with open_socket(guarded, headers=authorization(issue())) as websocket:
        answer = await websocket.ask(type="publish", topic="secret", data=1, ref=1)
        assert (answer["type"], answer["code"]) == ("error", "forbidden")
        answer = await websocket.ask(type="publish", topic="room.1", data=1, ref=2)
        assert answer["type"] == "published"


async def test_a_token_that_expires_ends_its_streams(guarded: ServerProcess) -> None:
    expires = int(time.time()) + 2
    token = issue(exp=expires)
    with guarded.client.stream("GET", guarded.url + ROOM, headers=bearer(token)) as stream:
        assert stream.status_code == 200
        async with open_socket(guarded, headers=authorization(token)) as websocket:
            assert await websocket.close_code() == 4401
        assert b"retry:" in b"".join(stream.iter_bytes())
    assert expires <= time.time() <= expires + 1.5
    refused = guarded.get(ROOM, headers=bearer(token))  # as EventSource, which then stays away
    assert refused.status_code == 401
    assert refused.json()["detail"] == "The token has expired."


async def test_revocation_ends_streams_at_once(guarded: ServerProcess) -> None:
    eve, bob = issue(sub="eve"), issue(sub="bob")
    with guarded.client.stream("GET", guarded.url + ROOM, headers=bearer(eve)) as stream:
        async with (
            open_socket(guarded, headers=authorization(eve)) as websocket,
            open_socket(guarded, headers=authorization(bob)) as other,
        ):
            started = time.monotonic()
            assert guarded.client.post(f"{guarded.url}/leave/eve").text == "gone"
            assert await websocket.close_code() == 1008
            assert (await other.ask(type="ping", ref=1))["type"] == "pong"
        assert b"retry:" in b"".join(stream.iter_bytes())
        assert time.monotonic() - started < 2
    assert guarded.get(ROOM, headers=bearer(eve)).status_code == 401


def test_hostile_tokens_are_401_and_leave_no_trace(guarded: ServerProcess) -> None:
    guarded.assert_unharmed()
    before = len(guarded.stderr)
    junk = [
        forge({"alg": "none"}, {"sub": "ann"}, b""),
        forge({"alg": "HS256"}, {"sub": "ann"}),
        forge({"alg": "HS256", "kid": "../../../etc/passwd"}, {}),
        issue("x" * 32),
        issue(exp=1),
        issue(nbf=1 << 40),
        issue(aud="them"),
        issue(penstock={"subscribe": "*"}),
        "a.b.c",
        "x" * 9_000,
        "\\x00",
    ]
    for token in junk * 10:
        assert guarded.get(f"{ROOM}?format=json", headers=bearer(token)).status_code == 401
    assert guarded.get(ROOM, headers=bearer("y" * 10_241)).status_code == 401
    guarded.assert_unharmed()
    said = guarded.stderr[before:]
    assert "Traceback" not in said
    assert not any(level in said for level in (" WARNING ", " ERROR "))
    assert not any(token in said for token in junk if len(token) > 10)


def test_with_auth_it_may_be_reached_from_elsewhere(start_server: StartServer) -> None:
    server = start_server("guarded.py", "--bind", "0.0.0.0:0")
    assert "in clear text" in server.stderr
    assert server.get(ROOM).status_code == 401


class KeyServer(ThreadingHTTPServer):
    """An identity provider's key set."""

    daemon_threads = True

    def __init__(self) -> None:
        self.fetched = 0
        self.body = b""
        super().__init__(("127.0.0.1", 0), _KeyHandler)


class _KeyHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.fetched += 1
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/keys")
        else:
            self.send_response(200)
        self.send_header("content-length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        return


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    with KeyServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        server.body = json.dumps({"keys": [jwk("p256", kid="a")]}).encode()
        yield server
        server.shutdown()
        thread.join()


def test_a_key_set_is_fetched_once(
    keys: KeyServer, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_JWKS", f"http://127.0.0.1:{keys.server_port}/keys")
    server = start_server("guarded.py")
    good = issue(private_key("p256"), "ES256", {"kid": "a"})
    for _ in range(3):
        assert server.get(f"{ROOM}?format=json", headers=bearer(good)).status_code == 200
    for number in range(20):
        token = issue(private_key("p256"), "ES256", {"kid": f"unknown-{number}"})
        assert server.get(ROOM, headers=bearer(token)).status_code == 401
    assert keys.fetched == 1


@pytest.mark.parametrize("fault", ["large", "moved"])
def test_a_key_set_that_can_not_be_had(
    keys: KeyServer, start_server: StartServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "large":
        keys.body += b" " * 300_000
    monkeypatch.setenv("TEST_JWKS", f"http://127.0.0.1:{keys.server_port}/{fault}")
    server = start_server("guarded.py")
    token = bearer(issue(private_key("p256"), "ES256", {"kid": "a"}))
    answers = [server.get(ROOM, headers=token) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].headers["retry-after"] == "5"
    assert keys.fetched == 1
    assert server.stderr.count("the key set can't be fetched") == 1
