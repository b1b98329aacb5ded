"""``Idempotency-Key`` and ``key``: sent twice, stored once, over real connections."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from .clients import JSON_PROTOCOL, MSGPACK_PROTOCOL, open_socket, raw_client
from .serving import ServerProcess, eventually

JSON = "application/json"
NDJSON = "application/x-ndjson"


_NUMBERS = count()


@pytest.fixture
def key() -> str:
    """One that no other test uses: they share the server."""
    return f"key {next(_NUMBERS)}"


def stored_after(server: ServerProcess, cursor: str) -> list[Any]:
    page = server.get(f"/topics/anything?format=json&limit=1000&after={cursor}").json()
    return [event["data"] for event in page["events"]]


def post(server: ServerProcess, body: str, key: str, kind: str = JSON) -> Any:
    return server.post_body("anything", body, kind, **{"idempotency-key": key})


def test_a_repetition_gets_the_first_answer_and_stores_nothing(
    server: ServerProcess, key: str
) -> None:
    before = server.cursor("anything")
    first, again = (post(server, "1\n2\n", key, NDJSON) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert stored_after(server, before) == [1, 2]


def test_another_body_under_the_key_is_422(server: ServerProcess, key: str) -> None:
    before = server.cursor("anything")
    post(server, "1", key)
    refused = post(server, "2", key)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert "key" in refused.json()["detail"]
    assert stored_after(server, before) == [1]


def test_what_was_refused_may_be_mended_under_its_key(server: ServerProcess, key: str) -> None:
    headers = {"idempotency-key": key}
    assert server.post("people", {"name": 1}, headers).status_code == 422
    mended = server.post("people", {"name": "Ada"}, headers)
    assert mended.status_code == 201
    assert "idempotent-replayed" not in mended.headers


def test_a_key_that_is_too_long_is_400(server: ServerProcess) -> None:
    before = server.cursor("anything")
    assert post(server, "1", "x" * 129).status_code == 400
    assert server.cursor("anything") == before


def test_many_at_once_are_stored_once(server: ServerProcess, key: str) -> None:
    before = server.cursor("anything")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(server, "[1]", key), range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert stored_after(server, before) == [[1]]


def test_who_vanished_before_the_answer_may_ask_again(server: ServerProcess, key: str) -> None:
    before = server.cursor("anything")
    with raw_client(server) as client:
        client.send(
            b"POST /topics/anything HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Idempotency-Key: %b\r\nContent-Length: 1\r\n\r\n7" % key.encode()
        )
        eventually(lambda: stored_after(server, before))
        client.vanish()
    assert post(server, "7", key).headers["idempotent-replayed"] == "true"
    assert stored_after(server, before) == [7]


@pytest.mark.parametrize("protocol", [JSON_PROTOCOL, MSGPACK_PROTOCOL])
async def test_over_a_websocket(server: ServerProcess, key: str, protocol: str) -> None:
    before = server.cursor("anything")
    async with open_socket(server, protocol) as websocket:
        publish = {"type": "publish", "topic": "anything", "data": {"n": 1}, "key": key}
        first = await websocket.ask(**publish, ref=1)
        again = await websocket.ask(**publish, ref=2)
        assert first["type"] == "published"
        assert again == first | {"ref": 2}
        refused = await websocket.ask(**publish | {"data": 2}, ref=3)
        assert (refused["code"], refused["ref"]) == ("invalid", 3)
    async with open_socket(server) as websocket:
        assert await websocket.ask(**publish, ref=1) == first
    assert stored_after(server, before) == [{"n": 1}]


async def test_who_lost_the_websocket_may_ask_again_over_http(
    server: ServerProcess, key: str
) -> None:
    before = server.cursor("anything")
    async with open_socket(server) as websocket:
        data = {"n": [1, "ü"]}
        first = await websocket.ask(type="publish", topic="anything", data=data, key=key)
    again = post(server, json.dumps(data, indent=2), key)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["last"] == first["id"]
    assert stored_after(server, before) == [data]
