"""How streams end: with the log, with age, with the client resuming where it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from penstock.wire import Cursor

from .clients import Ended, open_messages, open_socket, open_sse
from .conftest import Launch
from .serving import CONFIGS, SERVE, ServerProcess, eventually


def _launched(launch: Launch, name: str) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, f"{CONFIGS / 'policies.py'}:{name}", "--bind", "127.0.0.1:0"))


@pytest.fixture(scope="module")
def aging(launch: Launch) -> Iterator[ServerProcess]:
    yield from _launched(launch, "aging")


@pytest.fixture(scope="module", params=["server", "ordinary"])
def server(launch: Launch, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    yield from _launched(launch, request.param)


# Age


def test_an_event_source_goes_on_from_connection_to_connection(aging: ServerProcess) -> None:
    """As a browser's: it waits as long as it was told, and says which event it had last."""
    numbers: list[int] = []
    last_event_id: str | None = None
    ages: list[float] = []
    for _ in range(4):
        opened = time.monotonic()
        with open_sse(aging, "ticks", last_event_id=last_event_id) as stream:
            try:
                while True:
                    numbers.append(Cursor.parse(stream.next().id).offset)
            except Ended:
                ages.append(time.monotonic() - opened)
            last_event_id = stream.decoder.last_event_id
            retry = stream.decoder.retry
        assert retry is not None
        assert 100 <= retry <= 200
        time.sleep(retry / 1000)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(0.3 < age < 3 for age in ages)
    counted = aging.stats()["counters"]["disconnected"]["age"]
    assert counted >= 4
    assert f'penstock_disconnects_total{{reason="age"}} {counted:.1f}' in aging.get("/metrics").text


@pytest.mark.parametrize("accept", ["application/x-ndjson", "application/msgpack"])
def test_a_stream_of_messages_is_told_to_reconnect(aging: ServerProcess, accept: str) -> None:
    with open_messages(aging, "ticks", accept) as stream:
        *events, farewell = stream.rest()
    assert farewell["type"] == "reconnect"
    assert 0.1 <= farewell["after"] <= 0.2
    with open_messages(aging, "ticks", accept, after=events[-1]["id"]) as stream:
        stream.find("subscribed")
        again = stream.find("event")
    assert Cursor.parse(again["id"]).offset == Cursor.parse(events[-1]["id"]).offset + 1


async def test_a_websocket_is_told_to_reconnect(aging: ServerProcess) -> None:
    numbers: list[int] = []
    after = "latest"
    for _ in range(2):
        async with open_socket(aging) as websocket:
            assert (await websocket.ask(type="subscribe", topic="ticks", after=after))["type"] == (
                "subscribed"
            )
            while (message := await websocket.next())["type"] == "event":
                after = message["id"]
                numbers.append(Cursor.parse(after).offset)
            assert message["type"] == "reconnect"
            assert 0.1 <= message["after"] <= 0.2
            assert await websocket.close_code() == 1012
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# The end of a log


@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
def test_who_has_had_everything_is_not_to_come_back(
    server: ServerProcess, accept_encoding: str
) -> None:
    with open_sse(server, "brief", after="earliest") as stream:
        *events, end = stream.rest()
    assert [event.data for event in events] == ["0", "1", "2"]
    assert end.event == "end"
    headers = {"accept": "text/event-stream", "accept-encoding": accept_encoding}
    done = server.get("/topics/brief", headers={**headers, "last-event-id": end.id})
    assert (done.status_code, done.content) == (204, b"")
    assert "content-encoding" not in done.headers
    before = {**headers, "last-event-id": events[1].id}
    resumed = server.get("/topics/brief", headers=before)
    assert resumed.status_code == 200
    assert resumed.text.count("data: ") == 2, "the last event, and the end"


def test_riders_are_told_the_end(server: ServerProcess) -> None:
    topic = f"short.end-{time.monotonic_ns()}"
    with ExitStack() as stack:
        streams = [stack.enter_context(open_messages(server, topic)) for _ in range(3)]
        ends = [stream.rest()[-1] for stream in streams]
    assert {end["type"] for end in ends} == {"end"}
    assert len({end["id"] for end in ends}) == 1
    eventually(lambda: server.stats()["topics"][topic]["subscribers"] == 0)


async def test_a_websocket_lives_on_after_the_end_of_a_topic(server: ServerProcess) -> None:
    topic = f"short.ws-{time.monotonic_ns()}"
    async with open_socket(server) as websocket:
        await websocket.ask(type="subscribe", topic=topic, after="earliest")
        end = await websocket.find("end")
        assert end["topic"] == topic
        await websocket.send({"type": "ping", "ref": 1})
        assert (await websocket.next())["type"] == "pong"
        await websocket.send({"type": "subscribe", "topic": topic, "after": "earliest"})
        assert (await websocket.next())["type"] == "subscribed"
        assert [message["type"] for message in await websocket.take(21)][-1] == "end"


# A client that goes while its answers wait


async def test_who_closes_with_many_answers_due_costs_nothing(server: ServerProcess) -> None:
    """More answers than wait to be written at a time, and a close right behind the questions."""
    before = server.stats()["process"]["cpu_seconds"]
    for _ in range(3):
        async with open_socket(server) as websocket:
            for _ in range(10):
                await websocket.send(*[{"type": "ping", "ref": ref} for ref in range(1_000)])
            await websocket.connection.aclose()
    eventually(lambda: server.stats()["connections"]["total"] == 0)
    assert server.stats()["process"]["cpu_seconds"] - before < 4
    started, begun = time.monotonic(), server.stats()["process"]["cpu_seconds"]
    time.sleep(0.3)  # noqa: ASYNC251 - nothing else is to happen
    used = server.stats()["process"]["cpu_seconds"] - begun
    # Two topics produce a thousand events a second all the while.
    assert used / (time.monotonic() - started) < 0.9, "something spins"
