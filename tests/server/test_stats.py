"""What the server says of itself is JSON, and says what happened."""

import json
from math import inf
from typing import Any

import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Server
from penstock_server.hub import Connection
from penstock_server.stats import server_stats, topic_list
from penstock_server.transports.framing import NDJSON


def as_json(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


async def test_the_topics() -> None:
    server = Server()
    chat = server.topic("chat", accepts=int, retain=2)
    server.topic("quiet")
    for n in range(3):
        await chat.publish(n)
    chat.readers.add(lambda: None)
    first, second = as_json(topic_list(server.hub))
    assert first == {
        "name": "chat",
        "cursor": f"{chat.log.epoch}-3",
        "retained": 2,
        "subscribers": 1,
        "publishable": True,
        "schema": {"type": "integer"},
    }
    assert (second["name"], second["retained"], second["schema"]) == ("quiet", 0, None)


@pytest.mark.expect_error_log
async def test_the_whole_server(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    @server.topic("ticks")
    def ticks() -> ps.Stream[int]:
        return ps.every(1).buffer(10).map(lambda n: n * n)

    @server.topic("broken")
    def broken() -> ps.Stream[float]:
        return ps.every(1).map(lambda n: 1 / n)

    server.topic("chat", accepts=object)
    before = as_json(server_stats(server.hub))
    assert before["status"] == "starting"
    assert before["pipelines"]["ticks"]["state"] == "waiting"

    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        reader = server.hub.reader(ticks, NDJSON, server.hub.start_of(ticks, "latest"))
        connection = Connection("ndjson", "", inf)
        connection.readers["ticks"] = reader
        leave = server.hub.connect(connection)
        await trio.sleep(4.5)
        stats = as_json(server_stats(server.hub))
        server.hub.begin_drain()
        await trio.testing.wait_all_tasks_blocked()
        assert as_json(server_stats(server.hub))["status"] == "draining"
        leave()
        nursery.cancel_scope.cancel()

    assert (stats["status"], stats["uptime"], stats["published"]) == ("ready", 4.5, 0)
    assert stats["connections"] == {"total": 1, "by_transport": {"ndjson": 1}}
    assert set(stats["pipelines"]) == {"ticks", "broken"}
    running, failing = stats["pipelines"]["ticks"], stats["pipelines"]["broken"]
    assert (running["state"], running["restarts"], running["last_error"]) == ("running", 0, None)
    assert running["stages"][0]["items_out"] == 5
    assert running["stages"][0]["where"].startswith(__file__)
    assert running["buffers"][0]["capacity"] == 10
    assert failing["restarts"] >= 1
    assert "ZeroDivisionError" in failing["last_error"]
    assert stats["topics"]["ticks"]["last"] == 5
    assert stats["topics"]["ticks"]["max_lag"] == 5
    assert stats["topics"]["chat"] == {
        "cursor": f"{server.topics['chat'].log.epoch}-0",
        "first": 1,
        "last": 0,
        "bytes": 0,
        "ended": False,
        "subscribers": 0,
        "max_lag": 0,
    }
