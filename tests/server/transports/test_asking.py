"""Where a subscriber begins, and how it is treated when it is slow: what may be asked for."""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from trio.testing import MockClock

from penstock.wire import Cursor
from penstock_server import Server
from penstock_server.fanout import Slow
from penstock_server.fanout.policy import POLICIES
from penstock_server.topics import Topic
from penstock_server.transports.asking import (
    BadPolicy,
    policy_asked,
    policy_of,
    position_asked,
)
from penstock_server.transports.http import Problem, Request

from ..asgi_driver import serving

# What each policy demands of the server; a subscriber may only ask for less.
FROM_MILD_TO_HARSH: list[Slow] = ["conflate", "skip", "disconnect", "block"]


async def _never() -> dict[str, Any]:
    await trio.sleep_forever()
    raise AssertionError


def topic(slow: Slow = "skip") -> Topic[Any]:
    return Server().topic("t", accepts=object, slow=slow)


def request(headers: dict[str, str] | None = None, **query: str) -> Request:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": "GET",
        "headers": pairs,
        "query_string": urlencode(query).encode(),
    }
    return Request(scope, _never)


# Policies


async def test_there_are_four() -> None:
    assert sorted(POLICIES) == sorted(FROM_MILD_TO_HARSH)


@pytest.mark.parametrize(("asked", "own"), list(product(FROM_MILD_TO_HARSH, FROM_MILD_TO_HARSH)))
async def test_a_milder_policy_is_granted_and_a_harsher_one_refused(asked: Slow, own: Slow) -> None:
    if FROM_MILD_TO_HARSH.index(asked) <= FROM_MILD_TO_HARSH.index(own):
        assert policy_asked(topic(own), asked) == asked
        assert policy_of(request(slow=asked), topic(own)) == asked
    else:
        with pytest.raises(BadPolicy, match=f"'{asked}' is not milder .* '{own}'"):
            policy_asked(topic(own), asked)
        with pytest.raises(Problem) as problem:
            policy_of(request(slow=asked), topic(own))
        assert problem.value.status == 400
        assert problem.value.detail.endswith(".")


async def test_without_asking_it_is_the_topics() -> None:
    assert policy_asked(topic("disconnect"), None) == "disconnect"
    assert policy_of(request(), topic("block")) == "block"


@pytest.mark.parametrize("asked", ["", "SKIP", "drop", "skip ", "x" * 10_000])
async def test_a_policy_that_there_is_not(asked: str) -> None:
    with pytest.raises(BadPolicy, match="slow is one of skip, conflate, block, disconnect") as bad:
        policy_asked(topic("block"), asked)
    assert len(str(bad.value)) < 120
    with pytest.raises(Problem) as problem:
        policy_of(request(slow=asked), topic("block"))
    assert problem.value.status == 400


# Positions


@pytest.mark.parametrize("sse", [True, False])
async def test_the_words(sse: bool) -> None:
    assert position_asked(request(), sse=sse) == "latest"
    assert position_asked(request(after="latest"), sse=sse) == "latest"
    assert position_asked(request(after="earliest"), sse=sse) == "earliest"
    assert position_asked(request(after="abc-z"), sse=sse) == Cursor("abc", 35)


async def test_last_event_id_counts_for_an_event_stream_only() -> None:
    headers = {"last-event-id": "abc-2"}
    assert position_asked(request(headers, after="earliest"), sse=True) == Cursor("abc", 2)
    assert position_asked(request(headers, after="earliest"), sse=False) == "earliest"
    assert position_asked(request(headers), sse=False) == "latest"


async def test_an_empty_last_event_id_is_none() -> None:
    headers = {"last-event-id": ""}
    assert position_asked(request(headers, after="earliest"), sse=True) == "earliest"
    assert position_asked(request(headers), sse=True) == "latest"


@pytest.mark.parametrize(
    "bad", ["x", "abc-", "-1", "ABC-1", "abc-1-2", "a-" + "1" * 100, "5", "é-1"]
)
async def test_anything_else_is_refused(bad: str) -> None:
    for asking, sse in (
        (request(after=bad), False),
        (request(after=bad), True),
        (request({"last-event-id": bad}), True),
    ):
        with pytest.raises(Problem) as problem:
            position_asked(asking, sse=sse)
        assert problem.value.status == 400
        assert "earliest" in problem.value.detail
        assert len(problem.value.detail) < 300


# Over the wire


@pytest.mark.parametrize("format_", ["sse", "ndjson", "msgpack"])
async def test_a_harsher_policy_over_http(autojump_clock: MockClock, format_: str) -> None:
    server = Server()
    server.topic("t", accepts=object, slow="skip")
    async with serving(server) as driver:
        target = f"/topics/t?format={format_}&slow="
        for harsher in ("block", "disconnect", "nonsense"):
            response, _ = await driver.fetch("GET", target + harsher)
            assert response.status == 400
            assert response.headers["content-type"] == "application/problem+json"
        async with driver.request("GET", target + "conflate") as response:
            assert response.status == 200


async def test_over_a_websocket(autojump_clock: MockClock) -> None:
    server = Server()
    server.topic("t", accepts=object, slow="disconnect")
    async with serving(server) as driver, driver.websocket() as client:
        await client.receive()
        await client.send({"type": "subscribe", "topic": "t", "slow": "block", "ref": 1})
        refused = await client.receive()
        assert (refused["type"], refused["code"], refused["ref"]) == ("error", "invalid", 1)
        await client.send({"type": "subscribe", "topic": "t", "slow": "often", "ref": 2})
        assert (await client.receive())["type"] == "error"
        await client.send({"type": "subscribe", "topic": "t", "slow": "conflate", "ref": 3})
        assert (await client.receive())["type"] == "subscribed"
