"""What the server says of itself is JSON, and says what happened."""

import json
from math import inf
from typing import Any

import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Server, Topic
from penstock_server.connections import Connection
from penstock_server.stats import server_stats, topic_list, topic_states
from penstock_server.transports.framing import NDJSON
from penstock_server.wake import Wake


def as_json(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def reading(server: Server, topic: Topic[Any], after: str = "latest") -> Connection:
    """A connection that reads a topic and takes nothing."""
    connection = Connection("ndjson", "", inf)
    hub = server.hub
    hub.connect(connection)
    start = hub.start_of(topic, after)
    hub.connections.join(connection, topic, NDJSON, start, "skip", Wake().set)
    return connection


async def test_the_topics() -> None:
    server = Server()
    chat = server.topic("chat", accepts=int, retain=2)
    server.topic("quiet")
    for n in range(3):
        await chat.publish(n)
    reading(server, chat)
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
    assert (before["status"], before["uptime"]) == ("starting", 0)
    assert before["pipelines"]["ticks"]["state"] == "waiting"

    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        connection = reading(server, ticks)
        await trio.sleep(4.5)
        stats = as_json(server_stats(server.hub))
        states = topic_states(server.hub)
        server.hub.begin_drain()
        await trio.testing.wait_all_tasks_blocked()
        assert as_json(server_stats(server.hub))["status"] == "draining"
        connection.leave_all()
        nursery.cancel_scope.cancel()

    assert (stats["status"], stats["uptime"], stats["published"]) == ("ready", 4.5, 0)
    assert stats["connections"] == {
        "total": 1,
        "watching": 0,
        "by_transport": {"ndjson": 1},
        "lag": {"ndjson": {"p50": 5, "p95": 5, "p99": 5, "max": 5}},
    }
    assert set(stats["pipelines"]) == {"ticks", "broken"}
    running, failing = stats["pipelines"]["ticks"], stats["pipelines"]["broken"]
    assert (running["state"], running["restarts"], running["last_error"]) == ("running", 0, None)
    assert running["outcome"] == "running"
    assert running["stages"][0]["items_out"] == 5
    assert running["stages"][0]["task"] == 1  # as the graph has it
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
        "publishable": True,
        "template": None,
    }
    assert (stats["title"], stats["version"]) == ("penstock", ps.__version__)
    assert stats["stored"] == sum(topic["last"] for topic in stats["topics"].values()) >= 5
    assert stats["topics_left_out"] == 0
    assert states["chat"] == "open"
    assert states["ticks"] == "running"
    assert states["broken"] in ("running", "restarting")


async def test_a_snapshot_holds_no_more_topics_than_it_should() -> None:
    server = Server()
    server.topic("declared")(lambda: ps.every(1))
    rooms = server.topic("room.{room}", accepts=int)
    for room in range(5):
        await rooms.instance(room=str(room)).publish(room)
    stats = as_json(server_stats(server.hub, most=3))
    assert list(stats["topics"]) == ["declared", "room.0", "room.1"]
    assert list(stats["pipelines"]) == ["declared"]
    assert (stats["topics_left_out"], stats["stored"]) == (3, 5)


async def test_lags_are_told_by_transport() -> None:
    server = Server()
    chat = server.topic("chat", accepts=int)
    for behind in range(1, 101):
        await chat.publish(behind)
        reading(server, chat)
    stats = as_json(server_stats(server.hub))
    # The first was up to date at event 1 and is 99 behind, the last is behind none.
    assert stats["connections"]["lag"] == {
        "ndjson": {"p50": 49, "p95": 94, "p99": 98, "max": 99},
    }
    assert stats["topics"]["chat"]["max_lag"] == 99
    assert stats["topics"]["chat"]["subscribers"] == 100


async def test_counters_loop_and_process() -> None:
    server = Server()
    counters = server.hub.counters
    counters.events_out["sse"] += 3
    counters.gaps["epoch"] += 1
    counters.skipped += 2
    counters.lag.observe(0.003, 99)
    counters.lag.observe(100)
    stats = as_json(server_stats(server.hub))
    assert stats["counters"]["events_out"]["sse"] == 3
    assert stats["counters"]["gaps"] == {"expired": 0, "epoch": 1, "slow": 0}
    assert stats["counters"]["skipped"] == 2
    assert stats["delivery_lag"] == {"count": 100, "p50": 0.005, "p99": 0.005, "max": 100}
    assert (stats["loop_delay"]["count"], stats["loop_delay"]["recent"]) == (0, 0)
    assert stats["process"]["rss"] > 1_000_000
    assert stats["process"]["open_files"] > 2
    assert stats["process"]["cpu_seconds"] > 0


@pytest.mark.expect_error_log
async def test_a_template_is_one_state(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    @server.topic("feed.{name}")
    def feed(name: str) -> ps.Stream[float]:
        return ps.every(1).map(lambda n: 1 / (n if name == "bad" else 1))

    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        for name in ("a", "bad", "z"):
            feed.instance(name=name)
        await trio.sleep(30)
        for _ in range(200):
            await trio.sleep(0.05)
            if server.hub.supervisors["feed.bad"].state == "restarting":
                break
        states = topic_states(server.hub)
        nursery.cancel_scope.cancel()
    assert states == {"feed.{name}": "restarting"}
