"""How those who are in are put out again: expiry, revocation, the user's own check."""

from __future__ import annotations

import logging
import time
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock import PenstockError
from penstock_server import JWT, ApiKeys, Grant, Server
from penstock_server.auth import AccessPolicy, CannotVerify, Revocations
from penstock_server.connections import Connection

from ..asgi_driver import serving
from .guarded import KEYS, READER, bearer, make
from .issuing import SECRET, issue


async def test_a_stream_ends_when_its_token_expires(autojump_clock: MockClock) -> None:
    """The clock of the tests stands for both: how long it runs, and what time it is."""
    begin = time.time()
    auth = JWT(SECRET)
    server = make(auth)
    server.hub.connections._clock = lambda: begin + trio.current_time() - started
    started = trio.current_time()
    token = bearer(issue(exp=int(begin) + 20))
    async with (
        serving(server) as driver,
        driver.request("GET", "/topics/room.1", token) as stream,
        driver.websocket(headers=token) as websocket,
    ):
        assert stream.status == 200
        with trio.move_on_after(18):
            await stream.read()
            pytest.fail("the stream has ended early")
        await stream.read()
        assert await websocket.closed() == 4401
        assert 19 <= trio.current_time() - started <= 21


@pytest.mark.parametrize(
    ("what", "ended"),
    [({"subject": "ann"}, True), ({"token_id": "7"}, True), ({"subject": "bob"}, False)],
)
async def test_revocation_ends_what_is_open_at_once(
    autojump_clock: MockClock, what: dict[str, Any], ended: bool
) -> None:
    server = make(JWT(SECRET))
    token = bearer(issue(jti="7"))
    async with (
        serving(server) as driver,
        driver.request("GET", "/topics/room.1", token) as stream,
        driver.websocket(headers=token) as websocket,
    ):
        before = trio.current_time()
        await server.revoke(**what)
        with trio.move_on_after(1) as scope:
            await stream.read()
            assert await websocket.closed() == 1008
            assert trio.current_time() == before
        assert scope.cancelled_caught != ended
        response, _ = await driver.fetch("GET", "/topics/room.1?format=json", token)
        assert response.status == (401 if ended else 200)
        async with driver.websocket(headers=token) as again:
            assert again.refused == (401 if ended else None)


async def test_a_revoked_token_that_is_in_use_is_remembered_until_it_expires() -> None:
    server = make(JWT(SECRET))
    now = 0.0
    server.hub.auth = auth = JWT(SECRET)
    auth.revocations = Revocations(limit=1, clock=lambda: now)
    expires = int(time.time()) + 60
    async with serving(server) as driver:
        token = bearer(issue(jti="7", exp=expires))
        async with driver.request("GET", "/topics/room.1", token):
            await trio.testing.wait_all_tasks_blocked()
            await server.revoke(token_id="7")
    now = expires + 1
    await server.revoke(token_id="8")  # for which there is room again
    assert len(auth.revocations) == 1


async def test_the_auth_object_revokes_too(autojump_clock: MockClock) -> None:
    auth = ApiKeys(KEYS)
    async with (
        serving(make(auth)) as driver,
        driver.request("GET", "/topics/room.1", bearer(READER)) as stream,
    ):
        auth.revoke(subject="ann")
        await stream.read()
        response, _ = await driver.fetch("GET", "/topics/room.1", bearer(READER))
        assert response.status == 401


async def test_who_is_revoked_between_the_admission_and_the_start_is_put_out() -> None:
    hub = make(ApiKeys(KEYS)).hub
    hub.revoke("ann", "", None)
    connection = Connection("sse", "", inf, grant=Grant("ann"))
    hub.connect(connection)
    assert connection.ending == "revoked"


async def test_without_auth_there_is_nothing_to_revoke() -> None:
    with pytest.raises(PenstockError, match="no auth="):
        await Server().revoke(subject="ann")


# The user's own check


class Doorman:
    """The user's own check: who is `banned`, and whether it works at all."""

    def __init__(self) -> None:
        self.banned: set[str] = set()
        self.broken = False
        self.asked: list[str] = []

    async def __call__(self, grant: Grant) -> bool:
        self.asked.append(grant.subject)
        await trio.sleep(0.1)
        if self.broken:
            raise RuntimeError("the database is down")
        return grant.subject not in self.banned


async def test_a_check_is_asked_at_each_connect_and_again(autojump_clock: MockClock) -> None:
    doorman = Doorman()
    server = make(JWT(SECRET, check=doorman, recheck=30, anonymous=Grant(subscribe=("*",))))
    token, other = bearer(issue()), bearer(issue(sub="bob"))
    async with (
        serving(server) as driver,
        driver.request("GET", "/topics/room.1", token) as stream,
        driver.request("GET", "/topics/room.1", token) as second,
        driver.request("GET", "/topics/room.2", other) as kept,
        driver.request("GET", "/topics/room.2"),
    ):
        assert doorman.asked == ["ann", "ann", "bob"]
        await trio.sleep(31)
        assert sorted(doorman.asked[3:]) == ["ann", "bob"], "once for each grant, not connection"
        doorman.banned.add("ann")
        response, _ = await driver.fetch("GET", "/topics/room.1?format=json", token)
        assert response.status == 401
        await stream.read()
        await second.read()
        assert 60 <= trio.current_time() <= 61
        with trio.move_on_after(60) as scope:
            await kept.read()
        assert scope.cancelled_caught


@pytest.mark.expect_error_log
async def test_a_check_that_fails_lets_nobody_in_and_puts_nobody_out(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    doorman = Doorman()
    server = make(JWT(SECRET, check=doorman, recheck=30))
    token = bearer(issue())
    async with serving(server) as driver, driver.request("GET", "/topics/room.1", token) as stream:
        doorman.broken = True
        for _ in range(20):
            response, _ = await driver.fetch("GET", "/topics/room.1", token)
            assert response.status == 503
            assert response.headers["retry-after"] == "5"
        async with driver.websocket(headers=token) as websocket:
            assert websocket.refused == 503
        with trio.move_on_after(50) as scope:
            await stream.read()
        assert scope.cancelled_caught
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1, "one line a minute, not one for every client"
    assert "the database is down" in errors[0].message


@pytest.mark.expect_error_log
async def test_a_check_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    async def hang(grant: Grant) -> bool:
        await trio.sleep_forever()
        return True

    async with serving(make(ApiKeys(KEYS, check=hang))) as driver:
        response, _ = await driver.fetch("GET", "/topics/room.1", bearer(READER))
        assert response.status == 503
        assert trio.current_time() == pytest.approx(10)


# An auth of one's own


class Own:
    """The least that an auth of one's own must be."""

    def __init__(self) -> None:
        self.policy = AccessPolicy()
        self.revocations = Revocations()

    async def verify(self, token: str) -> Grant:
        if token == "later":
            raise CannotVerify("Come back later.")
        return Grant(token, subscribe=(token,))

    def security_schemes(self) -> dict[str, Any]:
        return {}


def test_what_is_no_auth() -> None:
    secret: Any = "0123456789abcdef"
    with pytest.raises(PenstockError, match="auth must be JWT") as caught:
        Server(auth=secret)
    assert secret not in str(caught.value)


async def test_an_auth_of_ones_own() -> None:
    server = make(Own())
    async with serving(server) as driver:
        target = "/topics/room.1?format=json"
        assert (await driver.fetch("GET", target, bearer("room.1")))[0].status == 200
        assert (await driver.fetch("GET", target, bearer("room.2")))[0].status == 403
        assert (await driver.fetch("GET", target, bearer("later")))[0].status == 503
        await server.revoke(subject="room.1")
        assert (await driver.fetch("GET", target, bearer("room.1")))[0].status == 401
