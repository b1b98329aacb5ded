"""The WebSocket: messages both ways, in both codecs, and every refusal that leaves it open."""

import math
from typing import Any

import pytest
import trio

from penstock.wire import Cursor

from .clients import JSON_PROTOCOL, MSGPACK_PROTOCOL, open_socket, raw_client
from .serving import ServerProcess

both = pytest.mark.parametrize("protocol", [JSON_PROTOCOL, MSGPACK_PROTOCOL])


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        ([JSON_PROTOCOL], JSON_PROTOCOL),
        ([MSGPACK_PROTOCOL], MSGPACK_PROTOCOL),
        (["graphql-ws", MSGPACK_PROTOCOL, JSON_PROTOCOL], MSGPACK_PROTOCOL),
        ([JSON_PROTOCOL, MSGPACK_PROTOCOL], JSON_PROTOCOL),
    ],
)
async def test_hello_in_the_chosen_subprotocol(
    server: ServerProcess, offered: list[str], chosen: str | None
) -> None:
    async with open_socket(server, *offered, hello=False) as websocket:
        assert websocket.connection.subprotocol == chosen
        hello = await websocket.next()
    assert hello.pop("session")
    limits = {"max_message_bytes": 65536, "max_subscriptions": 5}
    assert hello == {"type": "hello", "heartbeat": 0.3, "limits": limits}


async def test_each_connection_is_a_session_of_its_own(server: ServerProcess) -> None:
    sessions = set[str]()
    for _ in range(2):
        async with open_socket(server, hello=False) as websocket:
            sessions.add((await websocket.next())["session"])
    assert len(sessions) == 2


def test_unknown_subprotocols_are_refused_before_the_upgrade(server: ServerProcess) -> None:
    with raw_client(server) as client:
        head = client.ask_for_upgrade("/ws", "Sec-WebSocket-Protocol: graphql-ws")
        assert head.startswith("HTTP/1.1 400")
        client.until(JSON_PROTOCOL.encode())  # what it knows instead


@both
async def test_subscribe_events_unsubscribe(server: ServerProcess, protocol: str) -> None:
    async with open_socket(server, protocol) as websocket:
        cursor = server.cursor("anything")
        subscribed = await websocket.ask(type="subscribe", topic="anything", ref="a")
        assert subscribed == {"type": "subscribed", "topic": "anything", "id": cursor, "ref": "a"}
        data = {"text": "größe", "list": [1, -2.5, None, True]}
        posted = await trio.to_thread.run_sync(server.post, "anything", data)
        event = {"type": "event", "topic": "anything", "id": posted.json()["last"], "data": data}
        assert await websocket.next() == event
        answer = await websocket.ask(type="unsubscribe", topic="anything", ref=7)
        assert answer == {"type": "unsubscribed", "topic": "anything", "ref": 7}
        await trio.to_thread.run_sync(server.post, "anything", "unheard")
        assert await websocket.ask(type="ping") == {"type": "pong"}
        again = await websocket.ask(type="subscribe", topic="anything")
        assert (again["type"], "ref" in again) == ("subscribed", False)


@both
async def test_after(server: ServerProcess, protocol: str) -> None:
    first = server.post("anything", "one").json()["last"]
    server.post("anything", "two")
    async with open_socket(server, protocol) as websocket:
        subscribed = await websocket.ask(type="subscribe", topic="anything", after=first)
        assert subscribed["id"] == first
        assert (await websocket.next())["data"] == "two"
        subscribed = await websocket.ask(type="subscribe", topic="named", after="earliest")
        assert Cursor.parse(subscribed["id"]).offset == 0
        *events, end = await websocket.take(4)
        assert [event.get("event") for event in events] == ["first", None, "größe"]
        assert end == {"type": "end", "topic": "named", "id": events[-1]["id"]}
        # What has ended is no longer subscribed, so it can be asked for anew.
        await websocket.send({"type": "subscribe", "topic": "named", "after": end["id"]})
        assert [m["type"] for m in await websocket.take(2)] == ["subscribed", "end"]


@both
async def test_gaps(server: ServerProcess, protocol: str) -> None:
    old = server.post("small", "old").json()["last"]
    for n in range(7):
        server.post("small", n)
    async with open_socket(server, protocol) as websocket:
        subscribed = await websocket.ask(type="subscribe", topic="small", after=old)
        gap, event = await websocket.take(2)
        assert (gap["type"], gap["reason"], gap["missed"]) == ("gap", "expired", 2)
        assert (gap["requested"], gap["resumed"]) == (old, subscribed["id"])
        assert event["data"] == 2


async def test_many_subscriptions_share_a_connection(server: ServerProcess) -> None:
    topics = ["anything", "people", "points", "lines", "small"]
    values: list[Any] = [1, {"name": "x"}, {"x": 1, "y": 2}, "text", 2]
    async with open_socket(server) as websocket:
        await websocket.send(*({"type": "subscribe", "topic": topic} for topic in topics))
        answers = await websocket.take(5)
        assert [(a["type"], a["topic"]) for a in answers] == [("subscribed", t) for t in topics]
        sent = zip(topics, values, strict=True)
        await websocket.send(*({"type": "publish", "topic": t, "data": v} for t, v in sent))
        events = [m for m in await websocket.take(10) if m["type"] == "event"]
        assert {(e["topic"], str(e["data"])) for e in events} == {
            (topic, str(value)) for topic, value in zip(topics, values, strict=True)
        }
        one_more = await websocket.ask(type="subscribe", topic="raw", ref=6)
        assert (one_more["type"], one_more["code"], one_more["ref"]) == ("error", "limit", 6)
        await websocket.send({"type": "unsubscribe", "topic": "small"})
        assert (await websocket.next())["type"] == "unsubscribed"
        assert (await websocket.ask(type="subscribe", topic="raw"))["type"] == "subscribed"


@both
async def test_publish(server: ServerProcess, protocol: str) -> None:
    async with open_socket(server, protocol) as websocket:
        before = server.cursor("people")
        person = {"name": "Ada", "age": 36}
        answer = await websocket.ask(
            type="publish", topic="people", data=person, event="born", ref="r"
        )
        last = server.cursor("people")
        expected = {"type": "published", "topic": "people", "id": last, "count": 1, "ref": "r"}
        assert answer == expected
        page = server.get(f"/topics/people?format=json&after={before}").json()
        assert page["events"] == [{"id": last, "event": "born", "data": person}]
        null = await websocket.ask(type="publish", topic="anything", data=None)
        assert null["type"] == "published"


@both
async def test_arrays_lone_maps_and_empty_arrays(server: ServerProcess, protocol: str) -> None:
    async with open_socket(server, protocol) as websocket:
        await websocket.send_value({"type": "ping", "ref": "lone"})
        assert await websocket.next() == {"type": "pong", "ref": "lone"}
        await websocket.send_value([])
        await websocket.send(*({"type": "ping", "ref": n} for n in range(50)))
        assert await websocket.take(50) == [{"type": "pong", "ref": n} for n in range(50)]


@both
async def test_refs_come_back_as_they_were(server: ServerProcess, protocol: str) -> None:
    async with open_socket(server, protocol) as websocket:
        for ref in ("", "größe", 0, -1, 2**53, "x" * 1000):
            assert await websocket.ask(type="ping", ref=ref) == {"type": "pong", "ref": ref}
            answer = await websocket.ask(type="nonsense", ref=ref)
            assert (answer["code"], answer["ref"]) == ("bad_message", ref)


async def test_unknown_fields_are_ignored(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        pong = await websocket.ask(type="ping", ref=1, colour="blue", deep={"er": [1]})
        assert pong == {"type": "pong", "ref": 1}


ERRORS: list[tuple[object, str]] = [
    ({"type": "unheard of"}, "bad_message"),
    ({"ref": 1}, "bad_message"),
    ({}, "bad_message"),
    (5, "bad_message"),
    ("text", "bad_message"),
    (None, "bad_message"),
    ([{"type": "ping"}], "bad_message"),
    ({"type": 3}, "bad_message"),
    ({"type": "subscribe"}, "bad_message"),
    ({"type": "subscribe", "topic": 3}, "bad_message"),
    ({"type": "subscribe", "topic": "anything", "after": 3}, "bad_message"),
    ({"type": "subscribe", "topic": "anything", "slow": "never"}, "bad_message"),
    ({"type": "ping", "ref": True}, "bad_message"),
    ({"type": "ping", "ref": [1]}, "bad_message"),
    ({"type": "publish", "topic": "anything"}, "bad_message"),
    ({"type": "publish", "topic": "anything", "data": 1, "event": 3}, "bad_message"),
    ({"type": "subscribe", "topic": "absent"}, "unknown_topic"),
    ({"type": "subscribe", "topic": ""}, "unknown_topic"),
    ({"type": "unsubscribe", "topic": "absent"}, "unknown_topic"),
    ({"type": "publish", "topic": "absent", "data": 1}, "unknown_topic"),
    ({"type": "subscribe", "topic": "anything", "after": "soon"}, "bad_cursor"),
    ({"type": "subscribe", "topic": "anything", "after": ""}, "bad_cursor"),
    ({"type": "subscribe", "topic": "anything", "after": "a-" + "1" * 100}, "bad_cursor"),
    ({"type": "publish", "topic": "ticks", "data": 1}, "not_publishable"),
    ({"type": "publish", "topic": "people", "data": {"name": 5}}, "invalid"),
    ({"type": "publish", "topic": "lines", "data": 5}, "invalid"),
    ({"type": "publish", "topic": "anything", "data": 1, "event": "a\nb"}, "invalid"),
    ({"type": "publish", "topic": "anything", "data": 1, "event": "a\0"}, "invalid"),
]


@both
async def test_errors_leave_the_connection_open(server: ServerProcess, protocol: str) -> None:
    before = server.cursor("anything")
    async with open_socket(server, protocol) as websocket:
        for message, code in ERRORS:
            await websocket.send(message)
            answer = await websocket.next()
            assert (answer["type"], answer["code"]) == ("error", code), message
            assert answer["message"]
            assert ("topic" in answer) == (code != "bad_message")
        await websocket.ask(type="subscribe", topic="anything")
        again = await websocket.ask(type="subscribe", topic="anything", ref="twice")
        assert (again["code"], again["ref"]) == ("already_subscribed", "twice")
        assert again["topic"] == "anything"
    assert server.cursor("anything") == before


async def test_one_bad_message_does_not_spoil_its_frame(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        await websocket.send({"type": "ping", "ref": 1}, 5, {"type": "ping", "ref": 2})
        assert [m["type"] for m in await websocket.take(3)] == ["pong", "error", "pong"]


async def test_a_publication_comes_back_to_its_sender_in_order(server: ServerProcess) -> None:
    async with open_socket(server, MSGPACK_PROTOCOL) as websocket:
        await websocket.ask(type="subscribe", topic="anything")
        for n in range(100):
            await websocket.send({"type": "publish", "topic": "anything", "data": n, "ref": n})
        messages = await websocket.take(200)
        events = [m for m in messages if m["type"] == "event"]
        published = [m for m in messages if m["type"] == "published"]
        assert [m["data"] for m in events] == [m["ref"] for m in published] == list(range(100))
        assert [m["id"] for m in events] == [m["id"] for m in published]


async def test_an_event_wakes_every_connection(server: ServerProcess) -> None:
    async with (
        open_socket(server, JSON_PROTOCOL) as one,
        open_socket(server, MSGPACK_PROTOCOL) as two,
        open_socket(server, JSON_PROTOCOL) as three,
    ):
        for websocket in (one, two, three):
            await websocket.ask(type="subscribe", topic="readings")
        reading = {"sensor": "s", "values": [math.pi]}
        await trio.to_thread.run_sync(server.post, "readings", reading)
        got = [await websocket.next() for websocket in (one, two, three)]
    assert got[0] == got[1] == got[2]
    assert got[0]["data"] == reading


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("own", True),
        ("https://friend.example", True),
        ("https://evil.example", False),
        ("null", False),
        ("http://127.0.0.1:1", False),
    ],
)
async def test_origins(server: ServerProcess, origin: str, allowed: bool) -> None:
    if origin == "own":
        origin = server.url
    headers = [(b"Origin", origin.encode())]
    if allowed:
        async with open_socket(server, headers=headers) as websocket:
            assert (await websocket.ask(type="ping"))["type"] == "pong"
        return
    with raw_client(server) as client:
        head = client.ask_for_upgrade("/ws", f"Origin: {origin}")
        assert head.startswith("HTTP/1.1 403")
        assert "application/problem+json" in head


def test_other_paths_are_not_upgraded(server: ServerProcess) -> None:
    with raw_client(server) as client:
        assert client.ask_for_upgrade("/wsx").startswith("HTTP/1.1 404")
