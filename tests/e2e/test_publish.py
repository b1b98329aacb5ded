"""``POST /topics/{topic}``: what is taken, and what is refused without harm."""

import gzip
import json
import time
from contextlib import suppress
from typing import Any

import pytest

from penstock.wire import Cursor, encode_msgpack

from .clients import open_socket, raw_client
from .conftest import StartServer
from .serving import MIB, ServerProcess, eventually

JSON = "application/json"
NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"

LIMIT = 64 * 1024


def stored_after(server: ServerProcess, topic: str, cursor: str) -> list[Any]:
    answer = server.get(f"/topics/{topic}?format=json&limit=1000&after={cursor}")
    return [event["data"] for event in answer.json()["events"]]


BODIES: dict[str, tuple[bytes, list[Any]]] = {
    JSON: (b'{"name": "Ada", "age": 36}', [{"name": "Ada", "age": 36}]),
    NDJSON: (
        b'{"name": "A"}\n\n{"name": "B", "age": 1}\r\n',
        [{"name": "A"}, {"name": "B", "age": 1}],
    ),
    MSGPACK: (
        encode_msgpack({"name": "M"}) + encode_msgpack({"name": "N"}),
        [{"name": "M"}, {"name": "N"}],
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_the_three_bodies(server: ServerProcess, kind: str) -> None:
    body, values = BODIES[kind]
    before = server.cursor("people")
    answer = server.post_body("people", body, f"{kind}; charset=utf-8")
    assert answer.status_code == 201
    assert answer.headers["content-type"] == JSON
    start = Cursor.parse(before)
    assert answer.json() == {
        "count": len(values),
        "first": str(Cursor(start.epoch, start.offset + 1)),
        "last": str(Cursor(start.epoch, start.offset + len(values))),
    }
    assert stored_after(server, "people", before) == values


def test_every_kind_of_type_is_validated(server: ServerProcess) -> None:
    good: dict[str, Any] = {
        "people": {"name": "Ada"},
        "points": {"x": 1, "y": 2.5},
        "readings": {"sensor": "a", "values": [1, 2]},
        "anything": None,
        "lines": "text",
    }
    bad: dict[str, tuple[Any, str]] = {
        "people": ({"name": "Ada", "age": "old"}, "$.age"),
        "points": ({"x": 1, "y": 2, "label": 3}, "$.label"),
        "readings": ({"sensor": "a", "values": [1, None]}, "$.values[1]"),
        "lines": (["no", "text"], "$"),
    }
    for topic, value in good.items():
        assert server.post(topic, value).status_code == 201, topic
    for topic, (value, path) in bad.items():
        before = server.cursor(topic)
        answer = server.post(topic, value)
        assert answer.status_code == 422, topic
        assert answer.headers["content-type"] == "application/problem+json"
        [error] = answer.json()["errors"]
        assert (error["index"], error["path"]) == (0, path)
        assert server.cursor(topic) == before


def test_a_missing_field_is_named(server: ServerProcess) -> None:
    [error] = server.post("points", {"x": 1}).json()["errors"]
    assert error["path"] == "$.y"


def test_a_batch_is_stored_whole_or_not_at_all(server: ServerProcess) -> None:
    before = server.cursor("people")
    values = [{"name": str(n)} for n in range(100)] + [{"name": 100}]
    for kind, body in (
        (NDJSON, "\n".join(map(json.dumps, values)).encode()),
        (MSGPACK, b"".join(map(encode_msgpack, values))),
    ):
        answer = server.post_body("people", body, kind)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["index"] == 100
        broken = server.post_body("people", body + b"\xc1", kind)
        assert broken.status_code == 400
    assert server.cursor("people") == before


def test_event_name(server: ServerProcess) -> None:
    before = server.cursor("anything")
    for name in ("größe".encode(), b"plain"):
        headers = {b"content-type": JSON.encode(), b"event-name": name}
        answer = server.client.post(f"{server.url}/topics/anything", content=b"1", headers=headers)
        assert answer.status_code == 201
    page = server.get(f"/topics/anything?format=json&after={before}").json()
    assert [event["event"] for event in page["events"]] == ["größe", "plain"]


def test_what_a_client_publishes_is_what_is_read(server: ServerProcess) -> None:
    before = server.cursor("anything")
    values: list[Any] = [
        0,
        -1,
        2**64 - 1,
        1.5e300,
        "",
        "\0\u2028\N{SNOWMAN}",
        [],
        {},
        {"": [[]]},
        None,
        True,
    ]
    for kind, body in (
        (NDJSON, "\n".join(map(json.dumps, values)).encode()),
        (MSGPACK, b"".join(map(encode_msgpack, values))),
    ):
        assert server.post_body("anything", body, kind).status_code == 201
    assert stored_after(server, "anything", before) == values * 2


UNREADABLE: dict[str, tuple[str, bytes]] = {
    "no JSON": (JSON, b"{"),
    "two JSON values": (JSON, b"1 2"),
    "no body": (JSON, b""),
    "NaN": (JSON, b"NaN"),
    "not UTF-8": (JSON, b'"\xff"'),
    "an integer over 64 bits": (JSON, b"1" + b"0" * 30),
    "nested lists": (JSON, b"[" * 30_000 + b"]" * 30_000),
    "nested maps": (JSON, b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "no lines": (NDJSON, b"\n\n"),
    "a broken line": (NDJSON, b"1\n2\n{\n"),
    "a nested line": (NDJSON, b"1\n" + b"[" * 30_000 + b"]" * 30_000),
    "an unfinished map": (MSGPACK, b"\x81\xa1a"),
    "a reserved byte": (MSGPACK, b"\xc1"),
    "a list of four thousand million": (MSGPACK, b"\xdd\xff\xff\xff\xff"),
    "a map of four thousand million": (MSGPACK, b"\xdf\xff\xff\xff\xff\xa1a\x01"),
    "bytes of four gigabytes": (MSGPACK, b"\xc6\xff\xff\xff\xffabc"),
    "text of four gigabytes": (MSGPACK, b"\xdb\xff\xff\xff\xffabc"),
    "an extension of four gigabytes": (MSGPACK, b"\xc9\xff\xff\xff\xff\x01abc"),
    "big lists within one another": (MSGPACK, b"\xdd\x00\xff\xff\xff" * 10_000),
    "deep lists": (MSGPACK, b"\x91" * 60_000 + b"\x01"),
    "deep maps": (MSGPACK, b"\x81\xa1a" * 20_000 + b"\x01"),
    "a timestamp": (MSGPACK, b"\xd6\xff\x00\x00\x00\x01"),
    "a key that is no text": (MSGPACK, b"\x81\x01\x01"),
    "text that is not UTF-8": (MSGPACK, b"\xa1\xff"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_unreadable_bodies(server: ServerProcess, what: str) -> None:
    kind, body = UNREADABLE[what]
    before, memory = server.cursor("anything"), server.rss
    answer = server.post_body("anything", body, kind)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 1000
    assert server.rss - memory < 20 * MIB
    assert server.cursor("anything") == before
    server.assert_unharmed()


def test_413_with_and_without_content_length(server: ServerProcess) -> None:
    before = server.cursor("anything")

    def chunks() -> Any:
        for _ in range(200):
            yield b" " * 1024

    for body in (b" " * (LIMIT + 1), b" " * (5 * MIB), chunks()):
        memory = server.rss
        answer = server.post_body("anything", body, JSON)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert server.rss - memory < 20 * MIB
    largest = b'"' + b"x" * (LIMIT - 2) + b'"'
    assert server.post_body("anything", largest, JSON).status_code == 201
    assert len(stored_after(server, "anything", before)) == 1


def test_413_comes_before_the_body_where_the_length_says_so(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.send(
            b"POST /topics/anything HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9999999999\r\n\r\n"
        )
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 413")


HEAD = (
    b"POST /topics/anything HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    b"Expect: 100-continue\r\n"
)


def test_expect_100_continue(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.send(HEAD + b"Content-Length: 2\r\n\r\n")
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.send(b"12")
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 201")


def test_a_body_that_would_be_too_large_is_not_waited_for(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.send(HEAD + b"Content-Length: 9999999\r\n\r\n")
        head = client.until(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):  # some servers say so before they look
            head = client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413")


def test_a_chunked_body_is_taken_as_it_comes(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.send(
            b"POST /topics/anything HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n"
        )
        client.send(b"3\r\n1,2\r\n")
        client.send(b"1\r\n]\r\n0\r\n\r\n")
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 201")


def test_a_coded_body_is_refused_without_being_decoded(server: ServerProcess) -> None:
    bomb = gzip.compress(b'"' + b"x" * (30 * MIB) + b'"')
    assert len(bomb) < LIMIT
    before, memory = server.cursor("anything"), server.rss
    answer = server.post_body("anything", bomb, JSON, **{"content-encoding": "gzip"})
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert "gzip" in answer.json()["detail"]
    assert server.rss - memory < 20 * MIB
    assert server.cursor("anything") == before


def test_endless_chunks_are_refused(server: ServerProcess) -> None:
    memory = server.rss
    with raw_client(server) as client:
        client.send(
            b"POST /topics/anything HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with suppress(OSError):  # closed, as it should be
            for _ in range(2000):  # 125 MiB, if it is let
                client.send(chunk)
        assert server.rss - memory < 20 * MIB
    server.assert_unharmed()


def test_a_body_that_does_not_come_is_not_waited_for(server: ServerProcess) -> None:
    started = time.monotonic()
    with raw_client(server) as client:
        client.send(
            b"POST /topics/anything HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10\r\n\r\n12"
        )
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 408")
    assert 0.8 < time.monotonic() - started < 3


def test_415(server: ServerProcess) -> None:
    for kind in ("text/plain", "application/xml", "multipart/form-data", "", "application/jsonx"):
        answer = server.post_body("anything", b"1", kind)
        assert answer.status_code == 415
        assert JSON in answer.json()["detail"]
        assert JSON in answer.headers["accept-post"]


def test_405_where_nothing_may_be_published(server: ServerProcess) -> None:
    answer = server.post("ticks", 1)
    assert answer.status_code == 405
    assert "POST" not in answer.headers["allow"]


def test_origins(server: ServerProcess) -> None:
    own = f"http://{server.host}:{server.port}"
    for origin, status in (
        (own, 201),
        ("https://friend.example", 201),
        ("https://evil.example", 403),
        (f"http://{server.host}:1", 403),
        ("null", 403),
        ("http://friend.example", 403),
        ("https://friend.example.evil.example", 403),
    ):
        before = server.cursor("anything")
        answer = server.post("anything", 1, headers={"origin": origin})
        assert answer.status_code == status, origin
        assert (server.cursor("anything") == before) == (status == 403)
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == ("https://friend.example" if origin[8:] == "friend.example" else None)


def test_preflight(server: ServerProcess) -> None:
    def ask(origin: str) -> Any:
        headers = {"origin": origin, "access-control-request-method": "POST"}
        return server.client.options(f"{server.url}/topics/anything", headers=headers)

    friend, other = ask("https://friend.example"), ask("https://evil.example")
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    assert "POST" in friend.headers["access-control-allow-methods"]
    assert "event-name" in friend.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-origin" not in other.headers


def test_many_small_values_hold_nobody_up(server: ServerProcess) -> None:
    before = server.cursor("anything")
    number = 10_000
    body = b"0\n" * number
    started = time.monotonic()
    answer = server.post_body("anything", body, NDJSON)
    assert answer.status_code == 201
    assert answer.json()["count"] == number
    assert time.monotonic() - started < 2
    gap = server.get(f"/topics/anything?format=json&after={before}").json()["gap"]
    assert gap["missed"] == number - 5000


PADDING = "x" * 20_000


async def test_a_topic_that_waits_for_its_readers_has_no_room(start_server: StartServer) -> None:
    server = start_server("room.py")
    with raw_client(server, receive_buffer=4096) as stuck:
        stuck.get("/topics/waiting?after=earliest&format=ndjson")
        stuck.until(b"subscribed")
        eventually(lambda: server.stats()["connections"]["total"] == 1)
        batch = "\n".join([json.dumps(PADDING)] * 10)
        for body in (batch, json.dumps(PADDING)):
            answers = [server.post_body("waiting", body, NDJSON)]
            while answers[-1].status_code == 201:
                answers.append(server.post_body("waiting", body, NDJSON))
                assert len(answers) < 200, "the reader is never waited for"
            assert answers[-1].status_code == 503
            assert int(answers[-1].headers["retry-after"]) >= 1
        stored = server.stats()["topics"]["waiting"]["last"]
        async with open_socket(server) as websocket:
            error = await websocket.ask(type="publish", topic="waiting", data=1, ref=7)
            assert (error["type"], error["code"], error["ref"]) == ("error", "unavailable", 7)
        too_many = server.post_body("waiting", "1\n" * 21, NDJSON)
        assert too_many.status_code == 413
        assert "retain" in too_many.json()["detail"]
        assert server.stats()["topics"]["waiting"]["last"] == stored
        stuck.vanish()
    eventually(lambda: server.post("waiting", 1).status_code == 201)


async def test_each_address_and_each_websocket_has_a_rate(start_server: StartServer) -> None:
    server = start_server("limited.py")
    assert [server.post("anything", n).status_code for n in range(3)] == [201] * 3
    refused = server.post("anything", 3)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    never = server.post_body("anything", "1\n" * 4, NDJSON)
    assert never.status_code in (413, 429)  # too many for ever, or too soon
    publish = {"type": "publish", "topic": "anything", "data": 1}
    for _ in range(2):
        async with open_socket(server) as websocket:
            await websocket.send(*(publish | {"ref": n} for n in range(4)))
            answers = await websocket.take(4)
            assert [answer["type"] for answer in answers] == ["published"] * 3 + ["error"]
            assert answers[3]["code"] == "rate_limited"
