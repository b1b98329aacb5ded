"""The WebSocket protocol, through the ASGI interface."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import penstock as ps
from penstock_server import Limits, Server, Timing

from ..asgi_driver import Driver, WebSocket, serving

JSON = "penstock.v1.json"
MSGPACK = "penstock.v1.msgpack"


@dataclass
class Person:
    name: str


def make() -> Server:
    server = Server(
        limits=Limits(max_message_bytes=10_000, max_subscriptions=3),
        timing=Timing(heartbeat=20, retry=2, reconnect_spread=3, grace=20),
    )
    for name in ("a", "b", "c", "d"):
        server.topic(name, accepts=object, retain=20_000)
    server.topic("people", accepts=Person)
    server.topic("closed")
    return server


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with serving(make()) as driver:
        yield driver


def cursor(driver: Driver, topic: str) -> str:
    return str(driver.server.topics[topic].cursor)


async def publish(driver: Driver, topic: str, *data: object) -> None:
    for each in data:
        await driver.server.topics[topic].publish(each)


async def subscribe(websocket: WebSocket, *topics: str, after: str = "latest") -> None:
    await websocket.send(*({"type": "subscribe", "topic": t, "after": after} for t in topics))


async def greeted(websocket: WebSocket) -> None:
    assert (await websocket.receive())["type"] == "hello"


# The handshake


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        ([JSON], JSON),
        ([MSGPACK], MSGPACK),
        (["other", MSGPACK, JSON], MSGPACK),
        ([JSON, MSGPACK], JSON),
    ],
)
async def test_the_first_known_subprotocol_is_chosen(
    driver: Driver, offered: list[str], chosen: str | None
) -> None:
    async with driver.websocket(*offered) as websocket:
        assert websocket.subprotocol == chosen
        hello = await websocket.receive()
        assert isinstance(hello.pop("session"), str)
        assert hello == {
            "type": "hello",
            "heartbeat": 20.0,
            "limits": {"max_message_bytes": 10_000, "max_subscriptions": 3},
        }


async def test_only_unknown_subprotocols_are_refused(driver: Driver) -> None:
    async with driver.websocket("graphql-ws") as websocket:
        assert websocket.refused == 400
    assert not driver.server.hub.connections


async def test_sessions_are_told_apart(driver: Driver) -> None:
    async with driver.websocket() as one, driver.websocket() as other:
        assert (await one.receive())["session"] != (await other.receive())["session"]


# Reading


@pytest.mark.parametrize("protocol", [JSON, MSGPACK])
async def test_subscribed_comes_before_the_events(driver: Driver, protocol: str) -> None:
    await publish(driver, "a", 1, {"n": [2]})
    async with driver.websocket(protocol) as websocket:
        await greeted(websocket)
        await websocket.send(
            {"type": "subscribe", "topic": "a", "after": "earliest", "ref": 7},
        )
        epoch = driver.server.topics["a"].log.epoch
        assert await websocket.receive_many(3) == [
            {"type": "subscribed", "topic": "a", "id": f"{epoch}-0", "ref": 7},
            {"type": "event", "topic": "a", "id": f"{epoch}-1", "data": 1},
            {"type": "event", "topic": "a", "id": f"{epoch}-2", "data": {"n": [2]}},
        ]
        await driver.server.topics["a"].publish(3, event="tick")
        assert await websocket.receive() == {
            "type": "event",
            "topic": "a",
            "id": f"{epoch}-3",
            "event": "tick",
            "data": 3,
        }


async def test_latest_is_the_default(driver: Driver) -> None:
    await publish(driver, "a", 1)
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await websocket.send({"type": "subscribe", "topic": "a"})
        assert (await websocket.receive())["id"] == cursor(driver, "a")
        await publish(driver, "a", 2)
        assert (await websocket.receive())["data"] == 2


async def test_several_topics_share_a_frame(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a", "b")
        await websocket.receive_many(2)
        for topic in ("a", "b"):
            driver.server.topics[topic].log.append([_encoded(topic)])
        frame = await websocket.frame()
        assert sorted(message["data"] for message in frame) == ["a", "b"]


async def test_every_topic_gets_its_turn(driver: Driver) -> None:
    size = 1000
    for topic in ("a", "b", "c"):
        await publish(driver, topic, *["x" * size] * 2000)
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a", "b", "c", after="earliest")
        got = dict.fromkeys(("a", "b", "c"), 0)
        for _ in range(6):
            for message in await websocket.frame():
                got[message["topic"]] += message["type"] == "event"
            lead = max(got.values()) - min(got.values())
            assert lead <= 2 * (256 * 1024 // size), got
        assert min(got.values()) > 0


async def test_unsubscribing_stops_the_events(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a", "b")
        await websocket.receive_many(2)
        await websocket.send({"type": "unsubscribe", "topic": "a", "ref": "u"})
        assert await websocket.receive() == {"type": "unsubscribed", "topic": "a", "ref": "u"}
        await publish(driver, "a", 1)
        await publish(driver, "b", 2)
        assert (await websocket.receive())["topic"] == "b"
        assert len(driver.server.topics["a"].audience) == 0


async def test_one_may_subscribe_again_in_the_same_breath(driver: Driver) -> None:
    await publish(driver, "a", 1)
    async with driver.websocket() as websocket:
        await greeted(websocket)
        earliest = {"type": "subscribe", "topic": "a", "after": "earliest"}
        await websocket.send(earliest, {"type": "unsubscribe", "topic": "a"}, earliest)
        kinds = [message["type"] for message in await websocket.receive_many(4)]
        assert kinds == ["subscribed", "unsubscribed", "subscribed", "event"]


async def test_the_end_of_a_topic_ends_its_subscription(autojump_clock: MockClock) -> None:
    server = make()
    server.topic("done")(lambda: ps.every(1, count=2).skip(1))
    async with serving(server) as driver, driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "done")
        messages = await websocket.receive_many(3)
        assert [message["type"] for message in messages] == ["subscribed", "event", "end"]
        assert messages[-1]["id"] == cursor(driver, "done")
        assert len(server.topics["done"].audience) == 0
        await subscribe(websocket, "done", after="earliest")
        kinds = [message["type"] for message in await websocket.receive_many(3)]
        assert kinds == ["subscribed", "event", "end"]


async def test_a_gap_is_told(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a", after="other-1")
        await websocket.receive()
        assert await websocket.receive() == {
            "type": "gap",
            "topic": "a",
            "requested": "other-1",
            "resumed": cursor(driver, "a"),
            "missed": None,
            "reason": "epoch",
        }


# Asking and publishing


@pytest.mark.parametrize("protocol", [JSON, MSGPACK])
async def test_publications_are_acknowledged(driver: Driver, protocol: str) -> None:
    async with driver.websocket(protocol) as websocket:
        await greeted(websocket)
        await websocket.send(
            {"type": "publish", "topic": "people", "data": {"name": "Ada"}, "ref": 1},
            {"type": "publish", "topic": "a", "data": None, "event": "nil"},
        )
        assert await websocket.receive_many(2) == [
            {
                "type": "published",
                "topic": "people",
                "id": cursor(driver, "people"),
                "count": 1,
                "ref": 1,
            },
            {"type": "published", "topic": "a", "id": cursor(driver, "a"), "count": 1},
        ]
    events = driver.server.topics["a"].log.read(0, 10)
    assert isinstance(events, list)
    assert [(event.json, event.name) for event in events] == [(b"null", "nil")]


async def test_pings_are_answered(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await websocket.send({"type": "ping", "ref": "r"}, {"type": "ping"})
        assert await websocket.receive_many(2) == [{"type": "pong", "ref": "r"}, {"type": "pong"}]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "subscribe", "topic": "nothing", "ref": 1}, "unknown_topic"),
        ({"type": "unsubscribe", "topic": "nothing", "ref": 1}, "unknown_topic"),
        ({"type": "publish", "topic": "nothing", "data": 1, "ref": 1}, "unknown_topic"),
        ({"type": "subscribe", "topic": "a", "after": "newest", "ref": 1}, "bad_cursor"),
        ({"type": "subscribe", "topic": "a", "slow": "block", "ref": 1}, "invalid"),
        ({"type": "publish", "topic": "closed", "data": 1, "ref": 1}, "not_publishable"),
        ({"type": "publish", "topic": "people", "data": {"name": 1}, "ref": 1}, "invalid"),
        ({"type": "publish", "topic": "a", "data": 1, "event": "a\nb", "ref": 1}, "invalid"),
        ({"type": "publish", "topic": "a", "ref": 1}, "bad_message"),
        ({"type": "subscribe", "ref": 1}, "bad_message"),
        ({"type": "shout", "ref": 1}, "bad_message"),
        ({"topic": "a", "ref": 1}, "bad_message"),
        (["nested"], "bad_message"),
        (7, "bad_message"),
    ],
)
async def test_errors_are_answers_and_the_connection_lives_on(
    driver: Driver, message: Any, code: str
) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await websocket.send(message, {"type": "ping"})
        error, pong = await websocket.receive_many(2)
        assert (error["type"], error["code"], pong) == ("error", code, {"type": "pong"})
        assert error.get("ref") == (1 if isinstance(message, dict) else None)
        assert 0 < len(error["message"]) < 300


async def test_a_topic_is_read_once_a_connection(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a", "a")
        assert [message["type"] for message in await websocket.receive_many(2)] == [
            "subscribed",
            "error",
        ]


async def test_subscriptions_are_limited(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a", "b", "c", "d")
        error = (await websocket.receive_many(4))[-1]
        assert (error["code"], error["topic"]) == ("limit", "d")
        await websocket.send({"type": "unsubscribe", "topic": "a"})
        await subscribe(websocket, "d")
        assert (await websocket.receive_many(2))[-1]["type"] == "subscribed"


# Bounds


async def test_a_client_that_takes_no_answers_is_not_read_any_more(
    autojump_clock: MockClock, driver: Driver
) -> None:
    async with driver.websocket() as websocket:
        sent = 0
        with trio.move_on_after(10):
            while sent < 5000:
                await websocket.send({"type": "ping", "ref": sent})
                sent += 1
        assert sent < 1000
        await greeted(websocket)
        pongs = await websocket.receive_many(sent)
        assert [pong["ref"] for pong in pongs] == list(range(sent))
        await websocket.send({"type": "ping", "ref": "again"})
        assert (await websocket.receive())["ref"] == "again"


async def test_a_frame_full_of_questions_is_answered_bit_by_bit(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await websocket.send_frame("[" + ",".join(["0"] * 4999) + "]")
        sizes: list[int] = []
        await greeted(websocket)
        while sum(sizes) < 4999:
            sizes.append(len(await websocket.frame()))
        assert max(sizes) <= 300


async def test_answers_to_a_full_frame_do_not_hold_others_up(driver: Driver) -> None:
    async with driver.websocket() as flooding, driver.websocket() as other:
        await greeted(flooding)
        await greeted(other)
        await flooding.send_frame("[" + ",".join(["0"] * 4999) + "]")
        await other.send({"type": "ping"})
        assert await other.receive() == {"type": "pong"}


# Closing


@pytest.mark.parametrize(
    ("protocol", "frame", "code"),
    [
        (JSON, b"[]", 1003),
        (MSGPACK, "[]", 1003),
        (JSON, "[", 1007),
        (JSON, "", 1007),
        (JSON, "\ud800", 1007),
        (MSGPACK, b"\xc1", 1007),
        (MSGPACK, b"\x91", 1007),
        (MSGPACK, b"\x90\x90", 1007),
        (JSON, "[" + "0" * 10_000 + "]", 1009),
        (MSGPACK, b"\x90" * 10_001, 1009),
    ],
)
async def test_frames_that_end_the_connection(
    driver: Driver, protocol: str, frame: bytes | str, code: int
) -> None:
    async with driver.websocket(protocol) as websocket:
        await greeted(websocket)
        await websocket.send_frame(frame)
        assert await websocket.closed() == code
    await trio.testing.wait_all_tasks_blocked()
    assert not driver.server.hub.connections


async def test_answers_come_before_the_close(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await websocket.send({"type": "ping"})
        await websocket.send_frame(b"binary")
        assert await websocket.receive() == {"type": "pong"}
        assert await websocket.closed() == 1003


async def test_a_busy_topic_does_not_put_the_close_off(driver: Driver) -> None:
    async with driver.websocket() as websocket:
        await greeted(websocket)
        driver.server.topics["a"].log.append([_encoded(n) for n in range(10_000)])
        await subscribe(websocket, "a", after="earliest")
        await websocket.send_frame(b"binary")
        events = 0
        while frame := await websocket.frame():
            events += len(frame)
        assert websocket.close_code == 1003
        assert events < 5000


async def test_a_draining_server_tells_when_to_come_back(
    autojump_clock: MockClock, driver: Driver
) -> None:
    async with driver.websocket() as websocket, trio.open_nursery() as nursery:
        await greeted(websocket)
        await subscribe(websocket, "a")
        await websocket.receive()
        nursery.start_soon(driver.shut_down)
        message = await websocket.receive()
        assert message["type"] == "reconnect"
        assert 2 <= message["after"] <= 5
        assert await websocket.closed() == 1012


async def test_a_client_that_leaves_is_forgotten(driver: Driver) -> None:
    hub = driver.server.hub
    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a", "b")
        await websocket.receive_many(2)
        assert len(hub.connections) == 1
    await trio.testing.wait_all_tasks_blocked()
    assert not hub.connections
    assert [len(topic.audience) for topic in hub.topics.values()] == [0] * len(hub.topics)


@pytest.mark.expect_error_log
async def test_a_fault_of_ours_closes_with_1011(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(after: int, limit: int) -> Any:
        raise OSError("the disk is on fire")

    async with driver.websocket() as websocket:
        await greeted(websocket)
        await subscribe(websocket, "a")
        await websocket.receive()
        monkeypatch.setattr(driver.server.topics["a"].log, "read", broken)
        await publish(driver, "a", 1)
        assert await websocket.closed() == 1011
        await trio.testing.wait_all_tasks_blocked()
    assert not driver.server.hub.connections


async def test_other_paths_are_no_websockets(driver: Driver) -> None:
    async with driver.websocket(target="/topics/a") as websocket:
        assert websocket.refused is not None


def _encoded(value: object) -> Any:
    from penstock_server.encoding import encode

    return encode(value, "json")
