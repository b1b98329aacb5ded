"""Topics that derive from topics, and pipelines that fail."""

import json
import time
from typing import Any

from penstock.wire import Cursor

from .clients import open_messages
from .conftest import StartServer
from .serving import ServerProcess, eventually


def publish(server: ServerProcess, topic: str, values: list[Any]) -> None:
    body = "\n".join(map(json.dumps, values))
    assert server.post_body(topic, body, "application/x-ndjson").status_code == 201


def test_poison_costs_only_itself(server: ServerProcess) -> None:
    """Each message that makes the pipeline raise is passed over after a restart, none other is."""
    values: list[Any] = list(range(1500))
    for place in (700, 699):
        values.insert(place, "poison")
    values.insert(300, "unwanted")
    expected = [value for value in values if isinstance(value, int)]
    with open_messages(server, "clean") as stream:
        publish(server, "raw", values)
        got = [message["data"] for message in stream.events(1 + len(expected))[1:]]
        assert got == expected
        publish(server, "raw", ["still there"])
        assert stream.events(1)[0]["data"] == "still there"


def test_poison_among_a_stream_of_messages(server: ServerProcess) -> None:
    with open_messages(server, "other.clean") as stream:
        for n in range(60):
            publish(server, "other.raw", ["poison" if n in (20, 21) else n])
        got = [message["data"] for message in stream.events(1 + 58)[1:]]
    assert got == [n for n in range(60) if n not in (20, 21)]


def test_a_failing_topic_restarts_and_the_others_do_not_notice(server: ServerProcess) -> None:
    def pipeline() -> Any:
        return server.stats()["pipelines"]["flaky"]

    state = eventually(lambda: seen if (seen := pipeline())["restarts"] >= 3 else None, 10)
    assert "the sensor came loose" in state["last_error"]
    assert state["state"] in ("restarting", "running")
    ready = server.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["topics"]["flaky"] in ("restarting", "running")
    assert ready.json()["topics"]["ticks"] == "running"
    events = server.get("/topics/flaky?format=json&after=earliest").json()["events"]
    assert len(events) >= 3  # each start appended one, to the same log
    assert server.stats()["pipelines"]["ticks"]["restarts"] == 0
    with open_messages(server, "ticks") as ticks:
        started = time.monotonic()
        numbers = [message["data"] for message in ticks.events(11)[2:]]
        assert numbers == list(range(numbers[0], numbers[0] + 9))
        assert time.monotonic() - started < 2


def test_a_topic_that_ended_shows_it(server: ServerProcess) -> None:
    stats = server.stats()
    assert stats["pipelines"]["countdown"]["state"] == "ended"
    assert stats["topics"]["countdown"]["ended"] is True
    assert stats["topics"]["ticks"]["ended"] is False


def test_what_a_source_drains_reaches_what_derives_from_it(start_server: StartServer) -> None:
    """SIGTERM with work in flight in two topics, one behind the other: a reader gets all of it."""
    server = start_server("rooms.py")
    with (
        open_messages(server, "first", after="earliest") as source,
        open_messages(server, "last") as derived,
    ):
        seen = {"first": source.events(6)[1:], "last": derived.events(6)[1:]}
        server.signal()
        seen["first"] += [each for each in source.rest() if each["type"] == "event"]
        seen["last"] += [each for each in derived.rest() if each["type"] == "event"]
    first, last = ([each["data"] for each in seen[name]] for name in ("first", "last"))
    assert last == first[first.index(last[0]) :]  # on a busy machine some ticks are left out
    assert server.wait(10) == 0
    stored = Cursor.parse(seen["last"][-1]["id"]).offset
    assert f"lifespan: left after {stored} events" in server.stderr
