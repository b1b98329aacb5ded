"""Who gets in, to what, and from which pages."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from penstock_server import ApiKeys, Grant

from ..asgi_driver import Driver, serving
from .guarded import (
    ALLOW,
    BOSS,
    CREDENTIALS,
    FRIEND,
    JSON,
    KEYS,
    NOBODY,
    OURSELVES,
    READER,
    STRANGER,
    WRITER,
    bearer,
    cookie,
    make,
)


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with serving(make(ApiKeys(KEYS, query_token=True))) as driver:
        yield driver


# Tokens


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (bearer(READER), ""),
        (cookie(READER), ""),
        ({}, f"&token={READER}"),
        ({**bearer(READER), **cookie("wrong")}, "&token=wrong"),
    ],
)
async def test_a_token_lets_in(driver: Driver, headers: dict[str, str], query: str) -> None:
    response, _ = await driver.fetch("GET", f"/topics/room.1?format=json{query}", headers)
    assert response.status == 200
    async with driver.websocket(headers=headers, target=f"/ws?{query}") as websocket:
        assert (await websocket.receive())["type"] == "hello"


@pytest.mark.parametrize(
    ("headers", "query", "challenge"),
    [
        ({}, "", 'Bearer realm="penstock"'),
        ({"authorization": "Basic abc"}, "", 'Bearer realm="penstock"'),
        (bearer("wrong"), "", "The key is not known."),
        (cookie("wrong"), "", "The key is not known."),
        ({}, "?token=wrong", "The key is not known."),
        ({**bearer("wrong"), **cookie(READER)}, "", "The key is not known."),
        (bearer("x" * 11_000), "", "The token is longer than 10240 characters."),
        ({"cookie": "penstock_token=a; penstock_token=b"}, "", "more than one cookie"),
    ],
)
async def test_without_a_valid_token_it_is_401(
    driver: Driver, headers: dict[str, str], query: str, challenge: str
) -> None:
    for target in (f"/topics/room.1{query}", f"/topics/nothing{query}", f"/stats{query}"):
        response, body = await driver.fetch("GET", target, headers)
        assert response.status == 401
        assert challenge in response.headers["www-authenticate"]
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert b"Unauthorized" in body
    async with driver.websocket(headers=headers, target=f"/ws{query}") as websocket:
        assert websocket.refused == 401


async def test_a_token_in_the_query_counts_only_where_it_may() -> None:
    async with serving(make(ApiKeys(KEYS))) as driver:
        response, _ = await driver.fetch("GET", f"/topics/room.1?token={READER}")
        assert response.status == 401
        async with driver.websocket(target=f"/ws?token={READER}") as websocket:
            assert websocket.refused == 401


async def test_no_token_is_logged(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for token in (READER, "wrong-0123456789"):
        await driver.fetch("GET", f"/topics/room.1?format=json&token={token}", bearer(token))
        await driver.fetch("GET", f"/stats?token={token}", cookie(token))
        async with driver.websocket(target=f"/ws?token={token}"):
            pass
        assert token not in caplog.text


async def test_who_shows_no_token_may_have_rights_too() -> None:
    auth = ApiKeys(KEYS, anonymous=Grant(subscribe=("room.1",)))
    async with serving(make(auth)) as driver:
        status = [
            (await driver.fetch("GET", target, headers))[0].status
            for target, headers in (
                ("/topics/room.1?format=json", {}),
                ("/topics/room.2?format=json", {}),  # which a token might give
                ("/stats", {}),
                ("/topics/room.1?format=json", bearer("wrong")),
                ("/topics/room.1?format=json", bearer(NOBODY)),
            )
        ]
        assert status == [200, 401, 401, 401, 403]
        async with driver.websocket() as websocket:
            assert (await websocket.receive())["type"] == "hello"


# Rights


@pytest.mark.parametrize(
    ("method", "target", "token", "status"),
    [
        ("GET", "/topics/room.1?format=json", READER, 200),
        ("HEAD", "/topics/room.2?format=json", READER, 200),
        ("GET", "/topics/room.1?format=json", WRITER, 403),
        ("GET", "/topics/secret", READER, 403),
        ("GET", "/topics/nothing", READER, 403),  # whether there is one is nobody's business
        ("GET", "/topics/room.3", READER, 404),
        ("GET", "/topics/a/b", READER, 403),
        ("POST", "/topics/room.1", WRITER, 201),
        ("POST", "/topics/room.1", READER, 403),
        ("POST", "/topics/room.2", WRITER, 403),
        ("POST", "/topics/nothing", WRITER, 403),
        ("PUT", "/topics/room.1", READER, 405),
        ("GET", "/topics", NOBODY, 200),
        ("GET", "/asyncapi.json", NOBODY, 200),
        ("GET", "/stats", READER, 403),
        ("GET", "/stats", BOSS, 200),
        ("GET", "/metrics", READER, 403),
        ("GET", "/metrics", BOSS, 200),
        ("GET", "/stats?format=sse", READER, 403),
        ("HEAD", "/stats?format=ndjson", BOSS, 200),
        ("GET", "/", "wrong", 200),  # the console is for everybody; what it shows is not
        ("GET", "/console/main.js", "wrong", 200),
        ("GET", "/client.js", "wrong", 200),
    ],
)
async def test_what_needs_which_right(
    driver: Driver, method: str, target: str, token: str, status: int
) -> None:
    response, body = await driver.fetch(method, target, JSON | bearer(token), b"1")
    assert response.status == status
    if status == 403:
        assert response.headers["content-type"] == "application/problem+json"
        assert "insufficient_scope" in response.headers["www-authenticate"]
        assert b"gives no right to" in body


async def test_health_is_for_everybody_but_says_no_names(driver: Driver) -> None:
    assert (await driver.fetch("GET", "/health/live"))[0].status == 200
    response, body = await driver.fetch("GET", "/health/ready", bearer("wrong"))
    assert (response.status, body) == (200, b'{"status":"ready"}\n')


@pytest.mark.parametrize(
    ("token", "names"), [(READER, ["room.1", "room.2"]), (WRITER, ["room.1"]), (NOBODY, [])]
)
async def test_lists_show_only_what_one_may_use(
    driver: Driver, token: str, names: list[str]
) -> None:
    response, body = await driver.fetch("GET", "/topics", bearer(token))
    assert response.headers["cache-control"] == "no-store"
    for name in ("room.1", "room.2", "secret"):
        assert (f'"{name}"'.encode() in body) == (name in names)


async def test_routes_of_ones_own_are_ones_own_to_guard() -> None:
    server = make(ApiKeys(KEYS))

    @server.app.get("/mine")
    async def mine() -> str:
        return "mine"

    async with serving(server) as driver:
        assert (await driver.fetch("GET", "/mine", bearer("theirs")))[1] == b"mine"


async def test_a_websocket_says_forbidden(driver: Driver) -> None:
    async with driver.websocket(headers=bearer(READER)) as websocket:
        await websocket.receive()
        await websocket.send(
            {"type": "subscribe", "topic": "secret", "ref": 1},
            {"type": "subscribe", "topic": "nothing", "ref": 2},
            {"type": "publish", "topic": "room.1", "data": 1, "ref": 3},
            {"type": "subscribe", "topic": "room.1", "ref": 4},
        )
        answers = await websocket.receive_many(4)
        assert [answer.get("code", answer["type"]) for answer in answers] == [
            "forbidden",
            "forbidden",
            "forbidden",
            "subscribed",
        ]
    assert driver.server.topics["room.1"].cursor.offset == 0


async def test_refused_publications_are_counted(driver: Driver) -> None:
    await driver.fetch("POST", "/topics/room.1", JSON, b"1")
    await driver.fetch("POST", "/topics/room.1", JSON | bearer(READER), b"1")
    assert driver.server.hub.counters.refused["forbidden"] == 2


# Pages


@pytest.mark.parametrize(
    ("origin", "status"), [({}, 200), (OURSELVES, 200), (FRIEND, 200), (STRANGER, 403)]
)
@pytest.mark.parametrize("credentials", [cookie(READER), bearer(READER)])
async def test_pages_of_strangers_are_refused_with_a_token(
    driver: Driver, origin: dict[str, str], status: int, credentials: dict[str, str]
) -> None:
    headers = credentials | origin
    for target in ("/topics/room.1?format=json", "/topics"):
        response, _ = await driver.fetch("GET", target, headers)
        assert response.status == status
        friend = origin is FRIEND
        assert response.headers.get(ALLOW) == (origin["origin"] if friend else None)
        assert response.headers.get(CREDENTIALS) == ("true" if friend else None)
    async with driver.websocket(headers=headers) as websocket:
        assert websocket.refused == (403 if status == 403 else None)


@pytest.mark.parametrize("auth", [None, ApiKeys(KEYS, anonymous=Grant(subscribe=("*",)))])
async def test_pages_of_strangers_get_what_everybody_gets_but_not_with_credentials(
    auth: ApiKeys | None,
) -> None:
    async with serving(make(auth)) as driver:
        target = "/topics/room.1?format=json"
        response, _ = await driver.fetch("GET", target, STRANGER)
        assert response.status == 200
        assert ALLOW not in response.headers
        for credentials in ({"cookie": "session=1"}, {"authorization": "Basic abc"}):
            response, _ = await driver.fetch("GET", target, STRANGER | credentials)
            assert response.status == 403


async def test_a_star_lists_nobody_by_name() -> None:
    auth = ApiKeys(KEYS, anonymous=Grant(subscribe=("room.1",)))
    async with serving(make(auth, cors="*")) as driver:
        target = "/topics/room.1?format=json"
        for headers, status in (
            (STRANGER, 200),
            (STRANGER | bearer(READER), 200),  # the page itself has the token
            (STRANGER | cookie(READER), 403),  # the browser has it, whoever asks
            (OURSELVES | cookie(READER), 200),
        ):
            response, _ = await driver.fetch("GET", target, headers)
            assert response.status == status
            assert response.headers[ALLOW] == "*"
            assert CREDENTIALS not in response.headers
        async with driver.websocket(headers=STRANGER | cookie(READER)) as websocket:
            assert websocket.refused == 403


@pytest.mark.parametrize(
    ("fetch", "status"),
    [
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
    ],
)
async def test_a_script_of_another_site_does_not_get_the_cookies_rights(
    driver: Driver, fetch: dict[str, str], status: int
) -> None:
    target = "/topics/room.1?format=json"
    assert (await driver.fetch("GET", target, cookie(READER) | fetch))[0].status == status
    assert (await driver.fetch("GET", target, bearer(READER) | fetch))[0].status == 200


@pytest.mark.parametrize("target", ["/topics/room.1", "/topics", "/stats"])
async def test_preflights_need_no_token(driver: Driver, target: str) -> None:
    response, _ = await driver.fetch("OPTIONS", target, FRIEND)
    assert response.status in (200, 204)
    assert response.headers[ALLOW] == FRIEND["origin"]
    wanted = response.headers["access-control-allow-headers"].split(", ")
    assert {"Authorization", "Last-Event-ID", "Idempotency-Key", "Event-Name"} <= set(wanted)
    assert ALLOW not in (await driver.fetch("OPTIONS", target, STRANGER))[0].headers


async def test_pages_may_read_the_headers_that_they_need(driver: Driver) -> None:
    headers = FRIEND | bearer(WRITER) | JSON
    response, _ = await driver.fetch("POST", "/topics/room.1", headers, b"1")
    exposed = response.headers["access-control-expose-headers"]
    assert exposed == "Location, Idempotent-Replayed, Retry-After"
    response, _ = await driver.fetch("GET", "/topics/room.1", FRIEND)
    assert (response.status, response.headers[ALLOW]) == (401, FRIEND["origin"])
