"""``examples/machine.py``, served by ``penstock serve`` and by the plain Hypercorn."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .clients import MESSAGE_TYPES, MSGPACK_PROTOCOL, open_messages, open_socket, open_sse
from .conftest import Launch
from .serving import HYPERCORN, ROOT, SERVE, ServerProcess, eventually

COMMANDS = {
    "penstock serve": (*SERVE, str(ROOT / "examples/machine.py"), "--bind", "127.0.0.1:0"),
    "hypercorn": (*HYPERCORN, "examples.machine:server"),
}


@pytest.fixture(scope="module", params=COMMANDS)
def machine(launch: Launch, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        server = launch(stack, COMMANDS[request.param])
        eventually(
            lambda: server.get("/topics/network?format=json&after=earliest").json()["events"]
        )
        yield server


def check(topic: str, data: Any) -> None:
    """The figures are those of a real machine."""
    if topic == "cpu":
        assert 0 <= data["total"] <= 100
        assert data["cores"]
        assert all(0 <= core <= 100 for core in data["cores"])
    elif topic == "memory":
        assert 0 < data["available"] < data["total"]
        assert 0 < data["percent"] < 100
    else:
        assert set(data) == {"received", "sent", "disk_read", "disk_written"}
        assert all(rate >= 0 for rate in data.values())


TOPICS = ("cpu", "memory", "network")


@pytest.mark.parametrize("topic", TOPICS)
def test_http(machine: ServerProcess, topic: str) -> None:
    page = machine.get(f"/topics/{topic}?format=json&after=earliest").json()
    for event in page["events"]:
        check(topic, event["data"])
    with open_sse(machine, topic, after="earliest") as stream:
        event = stream.next()
        check(topic, json.loads(event.data))
        assert event.id == page["events"][0]["id"]
    for accept in MESSAGE_TYPES:
        with open_messages(machine, topic, accept, after="earliest") as messages:
            assert messages.next()["topic"] == topic
            assert messages.next() == {"type": "event", "topic": topic, **page["events"][0]}


async def test_websocket(machine: ServerProcess) -> None:
    async with open_socket(machine, MSGPACK_PROTOCOL) as websocket:
        await websocket.send(*({"type": "subscribe", "topic": topic} for topic in TOPICS))
        seen = set[str]()
        while seen < set(TOPICS):
            event = await websocket.find("event")
            check(event["topic"], event["data"])
            seen.add(event["topic"])


async def test_notes(machine: ServerProcess) -> None:
    note = {"text": "the fan rattles"}
    async with open_socket(machine) as websocket:
        with open_sse(machine, "notes") as stream:
            await websocket.ask(type="subscribe", topic="notes")
            published = machine.post("notes", note)
            assert published.status_code == 201
            assert (await websocket.next())["data"] == note
            assert stream.next().id == published.json()["last"]
        assert machine.post("notes", {"author": "nobody"}).status_code == 422
        refused = await websocket.ask(type="publish", topic="cpu", data=1)
        assert refused["code"] == "not_publishable"


def test_pages(machine: ServerProcess) -> None:
    assert machine.stats()["title"] == "Machine room"
    assert machine.get("/health/ready").json()["topics"]["cpu"] == "running"
    names = {topic["name"] for topic in machine.get("/topics").json()["topics"]}
    assert names == {"cpu", "memory", "network", "notes"}
    assert machine.stats()["pipelines"]["network"]["restarts"] == 0
