"""``POST /topics/{topic}``, through the ASGI interface."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest
import trio
from trio.testing import MockClock

import penstock as ps
from penstock_server import Limits, Server, Timing
from penstock_server.log import Start
from penstock_server.rate import Buckets
from penstock_server.transports.framing import NDJSON as FRAMING

from ..asgi_driver import Driver, Exchange, serving

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
MSGPACK = {"content-type": "application/msgpack"}


@dataclass
class Person:
    name: str
    age: int = 0


@dataclass
class Fussy:
    name: str

    def __post_init__(self) -> None:
        raise RuntimeError("not today")


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    server = Server(limits=Limits(max_message_bytes=100, body_timeout=5), timing=Timing(grace=5))
    server.topic("people", accepts=Person)
    server.topic("any", accepts=object)
    server.topic("fussy", accepts=Fussy)
    server.topic("ticks")(lambda: ps.every(1))
    async with serving(server) as driver:
        yield driver


def stored(driver: Driver, topic: str) -> list[tuple[object, str | None]]:
    events = driver.server.topics[topic].log.read(0, 100)
    assert isinstance(events, list)
    return [(msgspec.json.decode(event.json), event.name) for event in events]


@pytest.mark.parametrize(
    ("content", "body", "values"),
    [
        (JSON, b'{"name": "Ada"}', [{"name": "Ada"}]),
        ({"content-type": "Application/JSON; charset=utf-8"}, b"[1, 2]", [[1, 2]]),
        (NDJSON, b'1\n{"n": 2}\n\n', [1, {"n": 2}]),
        ({"content-type": "application/ndjson"}, b"null", [None]),
        (MSGPACK, msgspec.msgpack.encode(1) + msgspec.msgpack.encode([2]), [1, [2]]),
        ({"content-type": "application/x-msgpack"}, msgspec.msgpack.encode("x"), ["x"]),
        ({"content-type": "application/vnd.msgpack"}, msgspec.msgpack.encode(None), [None]),
    ],
)
async def test_values_are_stored_and_their_cursors_answered(
    driver: Driver, content: dict[str, str], body: bytes, values: list[object]
) -> None:
    response, answer = await driver.fetch("POST", "/topics/any", content, body)
    epoch = driver.server.topics["any"].log.epoch
    assert response.status == 201
    assert response.headers["content-type"] == "application/json"
    assert msgspec.json.decode(answer) == {
        "count": len(values),
        "first": f"{epoch}-1",
        "last": f"{epoch}-{len(values)}",
    }
    assert stored(driver, "any") == [(value, None) for value in values]


@pytest.mark.parametrize("name", ["tick", "größe"])
async def test_event_name_names_all_of_them(driver: Driver, name: str) -> None:
    await driver.fetch("POST", "/topics/any", NDJSON | {"event-name": name}, b"1\n2")
    assert stored(driver, "any") == [(1, name), (2, name)]


@pytest.mark.parametrize(
    ("topic", "headers", "body", "status"),
    [
        ("nothing", JSON, b"1", 404),
        ("ticks", JSON, b"1", 405),
        ("any", {"content-type": "text/plain"}, b"1", 415),
        ("any", {}, b"1", 415),
        ("any", JSON, b"{", 400),
        ("any", JSON, b"", 400),
        ("any", JSON, b"\xff", 400),
        ("any", JSON, b"NaN", 400),
        ("any", NDJSON, b"1\n{\n", 400),
        ("any", NDJSON, b"\n \n", 400),
        ("any", MSGPACK, b"\x92\x01", 400),
        ("any", MSGPACK, b"", 400),
        ("any", JSON, b'"' + b"x" * 100 + b'"', 413),
        ("any", JSON | {"content-length": "101"}, b"1", 413),
        ("people", JSON, b'{"name": 1}', 422),
        ("any", JSON | {"event-name": "a\x00b"}, b"1", 422),
    ],
)
async def test_what_is_refused_is_a_problem_and_not_stored(
    driver: Driver, topic: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    response, answer = await driver.fetch("POST", f"/topics/{topic}", headers, body)
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(answer)
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= set(problem)
    assert stored(driver, "any") == stored(driver, "people") == []


async def test_the_item_and_the_field_at_fault_are_named(driver: Driver) -> None:
    body = b'{"name": "Ada"}\n{"name": "Bob", "age": "x"}\n{"name": 1}'
    _, answer = await driver.fetch("POST", "/topics/people", NDJSON, body)
    problem = msgspec.json.decode(answer)
    assert problem["errors"] == [
        {"index": 1, "path": "$.age", "detail": "Expected `int`, got `str`"}
    ]
    assert "Value 1 at $.age" in problem["detail"]


@pytest.mark.parametrize(("topic", "allow"), [("ticks", "GET, HEAD")])
async def test_405_says_what_is_allowed(driver: Driver, topic: str, allow: str) -> None:
    response, _ = await driver.fetch("POST", f"/topics/{topic}", JSON, b"1")
    assert response.headers["allow"] == allow


async def test_a_body_that_does_not_come_is_408(autojump_clock: MockClock, driver: Driver) -> None:
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/topics/any", "headers": headers}
    exchange = Exchange(
        driver.server, scope, [{"type": "http.request", "body": b"[", "more_body": True}]
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run)
        start = await exchange.hear()
        assert start is not None
        assert start["status"] == 408
        assert trio.current_time() == 5
        exchange.leave()


async def test_a_client_that_leaves_in_mid_body_stores_nothing(driver: Driver) -> None:
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/topics/any", "headers": headers}
    part = {"type": "http.request", "body": b"1", "more_body": True}
    exchange = Exchange(driver.server, scope, [part, {"type": "http.disconnect"}])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run)
        assert await exchange.hear() is None
    assert stored(driver, "any") == []


async def test_a_draining_server_takes_nothing_and_says_when_to_try_again(
    autojump_clock: MockClock, driver: Driver
) -> None:
    async with driver.request("GET", "/topics/any"), trio.open_nursery() as nursery:
        nursery.start_soon(driver.shut_down)
        await trio.sleep(1)
        response, _ = await driver.fetch("POST", "/topics/any", JSON, b"1")
        assert response.status == 503
        assert int(response.headers["retry-after"]) >= 1
    assert stored(driver, "any") == []


@pytest.mark.expect_error_log
async def test_a_type_that_fails_of_its_own_is_our_fault_and_says_no_more(driver: Driver) -> None:
    response, answer = await driver.fetch("POST", "/topics/fussy", JSON, b'{"name": "Ada"}')
    assert response.status == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert b"not today" not in answer
    assert stored(driver, "fussy") == []


# Keys, rates, and what is not taken


async def test_a_repetition_gets_the_first_answer(driver: Driver) -> None:
    headers = JSON | {"idempotency-key": "k"}
    first, answer = await driver.fetch("POST", "/topics/any", headers, b"[1]")
    await driver.fetch("POST", "/topics/any", JSON, b"2")
    again, same_answer = await driver.fetch("POST", "/topics/any", headers, b"[1]")
    assert (first.status, again.status) == (201, 201)
    assert answer == same_answer
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert stored(driver, "any") == [([1], None), (2, None)]


async def test_another_body_under_the_same_key_is_422(driver: Driver) -> None:
    headers = JSON | {"idempotency-key": "k"}
    await driver.fetch("POST", "/topics/any", headers, b"1")
    response, _ = await driver.fetch("POST", "/topics/any", headers, b"2")
    assert response.status == 422
    assert stored(driver, "any") == [(1, None)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("k", '"k"'), ('a"b', r'"a\"b"'), (r"a\b", r'"a\\b"'), ("ü", '"ü"')],
)
async def test_a_key_may_be_a_quoted_string(driver: Driver, one: str, other: str) -> None:
    await driver.fetch("POST", "/topics/any", JSON | {"idempotency-key": one}, b"1")
    again, _ = await driver.fetch("POST", "/topics/any", JSON | {"idempotency-key": other}, b"1")
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("key", "status"), [("x" * 128, 201), ("x" * 129, 400), ("ü" * 65, 400), ("", 400), ('""', 400)]
)
async def test_how_long_a_key_is(driver: Driver, key: str, status: int) -> None:
    response, _ = await driver.fetch("POST", "/topics/any", JSON | {"idempotency-key": key}, b"1")
    assert response.status == status
    assert len(stored(driver, "any")) == (status == 201)


async def test_over_the_rate_is_429_and_says_when_to_try_again(
    autojump_clock: MockClock, driver: Driver
) -> None:
    driver.server.hub.rates = Buckets(rate=0.4, burst=3)
    first, _ = await driver.fetch("POST", "/topics/any", NDJSON, b"1\n2\n3")
    response, answer = await driver.fetch("POST", "/topics/any", NDJSON, b"4")
    assert (first.status, response.status) == (201, 429)
    assert response.headers["retry-after"] == "3"  # 2.5 s, in whole seconds
    assert b"0.4 publications a second" in answer
    await trio.sleep(3)
    response, _ = await driver.fetch("POST", "/topics/any", NDJSON, b"4")
    assert response.status == 201


async def test_a_batch_over_the_burst_is_413(driver: Driver) -> None:
    driver.server.hub.rates = Buckets(rate=1, burst=3)
    response, answer = await driver.fetch("POST", "/topics/any", NDJSON, b"1\n2\n3\n4")
    assert response.status == 413
    assert b"publish_burst" in answer
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, identity", "x" * 500])
async def test_a_coded_body_is_415(driver: Driver, coding: str) -> None:
    headers = JSON | {"content-encoding": coding}
    response, answer = await driver.fetch("POST", "/topics/any", headers, b"1")
    assert response.status == 415
    assert b"Content-Encoding" in answer
    assert response.headers["accept-encoding"] == "identity"
    assert len(answer) < 400


async def test_a_body_coded_as_itself_is_taken(driver: Driver) -> None:
    headers = JSON | {"content-encoding": "Identity"}
    response, _ = await driver.fetch("POST", "/topics/any", headers, b"1")
    assert response.status == 201


async def test_a_topic_without_room_is_503(autojump_clock: MockClock) -> None:
    server = Server(limits=Limits(publish_wait=2))
    topic = server.topic("full", accepts=object, slow="block", retain=1)
    async with serving(server) as driver:
        topic.delivery.join(
            FRAMING, Start(0, None), slow="block", wake=lambda: None, give_up=lambda: None
        )
        first, _ = await driver.fetch("POST", "/topics/full", JSON, b"1")
        refused, _ = await driver.fetch("POST", "/topics/full", JSON, b"2")
        too_many, answer = await driver.fetch("POST", "/topics/full", NDJSON, b"2\n3")
        assert trio.current_time() == pytest.approx(2)
        assert (first.status, refused.status, too_many.status) == (201, 503, 413)
        assert int(refused.headers["retry-after"]) >= 1
        assert b"retain" in answer
        assert stored(driver, "full") == [(1, None)]


@pytest.mark.parametrize(
    ("topic", "headers", "body", "reason"),
    [
        ("ticks", JSON, b"1", "not_publishable"),
        ("any", {"content-type": "text/plain"}, b"1", "media_type"),
        ("any", JSON, b"{", "unreadable"),
        ("any", JSON | {"idempotency-key": "x" * 200}, b"1", "unreadable"),
        ("any", JSON, b'"' + b"x" * 100 + b'"', "too_large"),
        ("people", JSON, b'{"name": 1}', "invalid"),
    ],
)
async def test_refusals_are_counted(
    driver: Driver, topic: str, headers: dict[str, str], body: bytes, reason: str
) -> None:
    refused = driver.server.hub.counters.refused
    before = dict(refused)
    await driver.fetch("POST", f"/topics/{topic}", headers, body)
    assert refused == before | {reason: 1}
