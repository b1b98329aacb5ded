"""The ASGI application: what goes where, cross-origin rules, Quart beside it, and its life."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import trio
from trio.testing import MockClock

import penstock as ps
from penstock_server import Server, Timing

from .asgi_driver import HOST, Driver, serving

FRIEND = {"origin": "https://friend.example"}
STRANGER = {"origin": "https://stranger.example"}
OURSELVES = {"origin": f"http://{HOST}"}
JSON = {"content-type": "application/json"}
ALLOW = "access-control-allow-origin"


def make() -> Server:
    server = Server("A & B", cors=["https://friend.example"], timing=Timing(grace=5))
    server.topic("t", accepts=int)
    return server


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with serving(make()) as driver:
        yield driver


# Topics


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405(driver: Driver, method: str) -> None:
    response, _ = await driver.fetch(method, "/topics/t")
    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD, POST, OPTIONS"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_an_unknown_topic_is_404(driver: Driver, method: str) -> None:
    response, body = await driver.fetch(method, "/topics/" + "x" * 500, JSON, b"1")
    assert response.status == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert (body == b"") == (method == "HEAD")
    assert len(body) < 400


@pytest.mark.parametrize(
    ("accept", "query", "status"), [("text/html", "", 406), ("*/*", "?format=xml", 400)]
)
async def test_a_representation_that_there_is_not(
    driver: Driver, accept: str, query: str, status: int
) -> None:
    response, body = await driver.fetch("GET", f"/topics/t{query}", {"accept": accept})
    assert response.status == status
    assert b"ndjson" in body


# Other origins


@pytest.mark.parametrize("origin", [FRIEND, OURSELVES, {}])
async def test_who_may_publish(driver: Driver, origin: dict[str, str]) -> None:
    response, _ = await driver.fetch("POST", "/topics/t", JSON | origin, b"1")
    assert response.status == 201
    assert response.headers.get(ALLOW) == (origin["origin"] if origin is FRIEND else None)


@pytest.mark.parametrize("origin", ["https://stranger.example", "null", "http://other:99999"])
async def test_who_may_not(driver: Driver, origin: str) -> None:
    response, _ = await driver.fetch("POST", "/topics/t", JSON | {"origin": origin}, b"1")
    assert response.status == 403
    assert driver.server.topics["t"].cursor.offset == 0


async def test_pages_of_strangers_can_not_read_the_answer(driver: Driver) -> None:
    for headers in (STRANGER, {}):
        async with driver.request("GET", "/topics/t", headers) as response:
            assert response.status == 200
            assert ALLOW not in response.headers
            assert response.headers["vary"] == "Origin"  # a friend gets another answer


async def test_pages_of_strangers_get_nothing_with_the_users_cookies(driver: Driver) -> None:
    for origin, status in ((STRANGER, 403), (FRIEND, 200), (OURSELVES, 200), ({}, 200)):
        headers = origin | {"cookie": "session=1"}
        async with driver.request("GET", "/topics/t", headers) as response:
            assert response.status == status


async def test_the_lists_have_cors_headers_too(driver: Driver) -> None:
    for path in ("/topics", "/stats", "/health/live"):
        assert (await driver.fetch("GET", path, FRIEND))[0].headers[ALLOW] == FRIEND["origin"]
        assert ALLOW not in (await driver.fetch("GET", path, STRANGER))[0].headers


async def test_pages_of_friends_can_and_caches_keep_them_apart(driver: Driver) -> None:
    for query in ("", "?format=json"):
        async with driver.request("GET", f"/topics/t{query}", FRIEND) as response:
            assert response.headers[ALLOW] == FRIEND["origin"]
            assert response.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/topics/t", 422),
        ("GET", "/topics/nothing", 404),
        ("GET", "/topics/t?after=x", 400),
    ],
)
async def test_friends_can_read_problems_too(
    driver: Driver, method: str, target: str, status: int
) -> None:
    response, _ = await driver.fetch(method, target, JSON | FRIEND, b'"x"')
    assert response.status == status
    assert response.headers[ALLOW] == FRIEND["origin"]


async def test_a_preflight_is_answered(driver: Driver) -> None:
    response, body = await driver.fetch("OPTIONS", "/topics/t", FRIEND)
    assert (response.status, body) == (204, b"")
    assert response.headers[ALLOW] == FRIEND["origin"]
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "Event-Name" in response.headers["access-control-allow-headers"]
    assert "content-length" not in response.headers  # RFC 9110 section 8.6
    response, _ = await driver.fetch("OPTIONS", "/topics/t", STRANGER)
    assert ALLOW not in response.headers


@pytest.mark.parametrize(
    ("headers", "refused"), [({}, None), (OURSELVES, None), (FRIEND, None), (STRANGER, 403)]
)
async def test_origins_of_websockets(
    driver: Driver, headers: dict[str, str], refused: int | None
) -> None:
    async with driver.websocket(headers=headers) as websocket:
        assert websocket.refused == refused


# Quart beside it


async def test_the_lists(driver: Driver) -> None:
    _, topics = await driver.fetch("GET", "/topics")
    assert [topic["name"] for topic in msgspec.json.decode(topics)["topics"]] == ["t"]
    stats = msgspec.json.decode((await driver.fetch("GET", "/stats"))[1])
    assert (stats["title"], stats["status"]) == ("A & B", "ready")


async def test_unknown_paths_are_quarts_404(driver: Driver) -> None:
    assert (await driver.fetch("GET", "/nothing"))[0].status == 404
    assert (await driver.fetch("GET", "/topics/a/b"))[0].status == 404


async def test_routes_of_ones_own() -> None:
    server = make()

    @server.app.get("/hello")
    async def hello() -> str:
        await server.topics["t"].publish(7)
        return "hello"

    async with serving(server) as driver:
        assert (await driver.fetch("GET", "/hello"))[1] == b"hello"
    assert server.topics["t"].cursor.offset == 1


# Life


async def test_health_says_what_state_it_is_in(autojump_clock: MockClock) -> None:
    server = make()
    server.topic("ticks")(lambda: ps.every(1))
    async with serving(server) as driver, trio.open_nursery() as nursery:
        response, body = await driver.fetch("GET", "/health/ready")
        assert response.status == 200
        assert msgspec.json.decode(body) == {
            "status": "ready",
            "topics": {"t": "open", "ticks": "running"},
        }
        async with driver.request("GET", "/topics/t"):
            nursery.start_soon(driver.shut_down)
            await trio.sleep(1)
            response, body = await driver.fetch("GET", "/health/ready")
            assert response.status == 503
            assert msgspec.json.decode(body)["status"] == "draining"
            response, _ = await driver.fetch("GET", "/health/live")
            assert response.status == 200


async def test_before_its_start_it_is_not_ready() -> None:
    async with trio.open_nursery() as nursery:
        response, body = await Driver(make(), nursery).fetch("GET", "/health/ready")
        assert response.status == 503
        assert msgspec.json.decode(body)["status"] == "starting"


async def test_the_lifespan_runs_the_pipelines_and_cleans_them_up(
    autojump_clock: MockClock,
) -> None:
    server = make()
    seen: list[str] = []

    @ps.producer
    async def ticking() -> AsyncIterator[int]:
        try:
            while True:
                seen.append("tick")
                yield 1
                await trio.sleep(1)
        finally:
            seen.append("cleaned up")

    server.topic("ticks")(ticking)
    async with serving(server):
        await trio.sleep(2.5)
    assert seen == ["tick", "tick", "tick", "cleaned up"]
    assert server.topics["ticks"].cursor.offset == 3
