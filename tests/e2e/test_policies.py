"""What becomes of readers that fall behind, over real sockets, in both lanes."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from penstock.wire import Cursor

from .clients import (
    Message,
    RawClient,
    open_messages,
    open_socket,
    raw_client,
)
from .conftest import Launch
from .serving import CONFIGS, SERVE, ServerProcess, eventually
from .test_websocket_faults import frame, raw_websocket

RETAIN = 40
BUFFERED = 256 + 2 * 1024  # what a pipeline has ready, and what is on its way through it
STALL_TIMEOUT = 1.5


@pytest.fixture(scope="module", params=["server", "ordinary"])
def server(launch: Launch, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        config = f"{CONFIGS / 'policies.py'}:{request.param}"
        yield launch(stack, (*SERVE, config, "--bind", "127.0.0.1:0"))


def last(server: ServerProcess, topic: str) -> int:
    """The offset of the topic's newest event."""
    return int(server.stats()["topics"][topic]["last"])


def produced(server: ServerProcess, topic: str) -> int:
    """How many items the first stage of the topic's pipeline has given."""
    return int(server.stats()["pipelines"][topic]["stages"][0]["items_out"])


def readers(server: ServerProcess, topic: str) -> int:
    return int(server.stats()["topics"][topic]["subscribers"])


def disconnected(server: ServerProcess, why: str) -> int:
    return int(server.stats()["counters"]["disconnected"][why])


def assert_in_metrics(server: ServerProcess, name: str, count: int) -> None:
    assert f"\n{name} {count:.1f}\n" in server.get("/metrics").text


def standstill(look: Any, seconds: float = 0.4, within: float = 8.0) -> int:
    """What `look` gives once that has not changed for so long."""
    deadline = time.monotonic() + within
    seen, since = look(), time.monotonic()
    while time.monotonic() - since < seconds:
        assert time.monotonic() < deadline, f"it goes on: {seen}"
        now = look()
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.02)
    return int(seen)


@contextmanager
def reading(server: ServerProcess, target: str) -> Generator[list[Message]]:
    """A prompt reader in a thread: the list grows with what it gets."""
    got: list[Message] = []
    over = Event()

    def read() -> None:
        with open_messages(server, target) as stream:
            while not over.is_set():
                got.append(stream.next())

    thread = Thread(target=read)
    thread.start()
    try:
        eventually(lambda: got)
        yield got
    finally:
        over.set()
        thread.join()


def message_of(client: RawClient) -> Message:
    """The next line of an NDJSON stream that is a message; others are the sizes of chunks."""
    while True:
        line = client.until(b"\n")
        if line.startswith(b"{"):
            while not line.endswith(b"}\n"):  # a chunk ended within it, and another began
                line = line.rstrip(b"\r\n")
                client.until(b"\r\n")
                line += client.until(b"\n")
            return dict(json.loads(line))


def offsets(messages: list[Message]) -> list[int]:
    """Of the events among them; no message may be a gap."""
    assert "gap" not in {message["type"] for message in messages}
    return [Cursor.parse(each["id"]).offset for each in messages if each["type"] == "event"]


def assert_whole(numbers: list[int]) -> None:
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# block


def test_a_stalled_reader_pauses_the_producer_and_nobody_misses_anything(
    server: ServerProcess,
) -> None:
    stalls = server.stats()["counters"]["stalls"]
    with reading(server, "patient") as prompt, raw_client(server, 4096) as slow:
        slow.get("/topics/patient?format=ndjson")
        eventually(lambda: readers(server, "patient") == 2)
        first = message_of(slow)
        assert first["type"] == "subscribed"

        def stalled() -> int | None:
            # What the kernel still takes for the slow reader may begin to move after a pause, so a
            # standstill counts once the prompt reader has all there is.
            newest = standstill(lambda: last(server, "patient"))
            return newest if offsets(prompt)[-1:] == [newest] else None

        stopped = eventually(stalled, 10.0)
        made = standstill(lambda: produced(server, "patient"), 0.1)
        assert made - stopped <= BUFFERED
        assert server.stats()["topics"]["patient"]["max_lag"] <= RETAIN
        got = [first]
        while len(got) < 2 or Cursor.parse(got[-1]["id"]).offset < stopped + 200:
            got.append(message_of(slow))
        assert last(server, "patient") > stopped, "it goes on"
        eventually(lambda: offsets(prompt)[-1] > stopped + 200)
        assert_whole(offsets(got))
        assert_whole(offsets(prompt))
    eventually(lambda: readers(server, "patient") == 0)
    assert server.stats()["counters"]["stalls"] == stalls


def test_who_stalls_for_too_long_is_dropped_and_the_producer_goes_on(
    server: ServerProcess,
) -> None:
    stalled = disconnected(server, "stalled")
    with reading(server, "patient") as prompt, raw_client(server, 4096) as stuck:
        stuck.get("/topics/patient")
        eventually(lambda: readers(server, "patient") == 2)
        stopped = standstill(lambda: last(server, "patient"))
        eventually(lambda: readers(server, "patient") == 1, STALL_TIMEOUT + 3)
        eventually(lambda: last(server, "patient") > stopped + 2 * RETAIN)
        eventually(lambda: offsets(prompt)[-1] > stopped + RETAIN)
        assert_whole(offsets(prompt))
    eventually(lambda: disconnected(server, "stalled") == stalled + 1)


# conflate


def check_conflated(messages: list[Message]) -> None:
    """Rising offsets without a gap told; after a jump, the newest of each key, each once."""
    assert {message["type"] for message in messages} <= {"subscribed", "event", "keepalive"}
    events = [message for message in messages if message["type"] == "event"]
    numbers = [Cursor.parse(event["id"]).offset for event in events]
    assert numbers == sorted(set(numbers))
    jumps = [place for place in range(1, len(numbers)) if numbers[place] > numbers[place - 1] + 20]
    assert jumps, "it was not slow enough"
    for place in jumps:
        keys = [event["data"]["k"] for event in events[place : place + 10]]
        assert len(set(keys)) == len(keys), "an older value of a key"


def test_a_slow_reader_gets_the_newest_of_each_key(server: ServerProcess) -> None:
    conflated = server.stats()["counters"]["conflated"]
    with reading(server, "newest") as prompt, raw_client(server, 4096) as slow:
        slow.get("/topics/newest?format=ndjson")
        got = [message_of(slow)]
        for _ in range(2):
            time.sleep(0.7)
            newest = last(server, "newest")
            while "data" not in got[-1] or Cursor.parse(got[-1]["id"]).offset < newest + 20:
                got.append(message_of(slow))
        check_conflated(got)
        numbers = offsets(prompt)
        assert len(numbers) > 0.5 * (numbers[-1] - numbers[0]), "the prompt one gets on"
    counters = server.stats()["counters"]
    assert counters["conflated"] > conflated
    assert_in_metrics(server, "penstock_events_conflated_total", counters["conflated"])


def test_a_slow_event_stream_gets_the_newest_of_each_key(server: ServerProcess) -> None:
    with raw_client(server, 4096) as slow:
        slow.get("/topics/newest")
        slow.until(b"id: ")
        time.sleep(0.7)
        newest = last(server, "newest")
        got: list[int] = []
        while not got or got[-1] < newest + 20:
            slow.until(b"\nid: ")
            got.append(Cursor.parse(slow.until(b"\n").decode().strip()).offset)
        assert got == sorted(set(got))
        assert got[-1] - got[0] > len(got) + 20, "it was not slow enough"
        assert b"event: gap" not in slow.received


async def test_a_slow_websocket_gets_the_newest_of_each_key(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        await websocket.ask(type="subscribe", topic="newest")
        await trio.sleep(0.7)
        newest = await trio.to_thread.run_sync(last, server, "newest")
        got = [await websocket.next()]
        while Cursor.parse(got[-1]["id"]).offset < newest + 20:
            got.append(await websocket.next())
    check_conflated(got)


# disconnect


def test_an_event_stream_that_is_too_slow_is_told_when_to_come_back(
    server: ServerProcess,
) -> None:
    before = disconnected(server, "slow")
    with reading(server, "strict") as prompt, raw_client(server, 4096) as slow:
        slow.get("/topics/strict", "Connection: close")
        slow.until(b"\n\n")
        while slow.receive():
            slow.received = slow.received[-300:]
            time.sleep(0.001)  # it reads, but slowly
        assert b"\nretry: " in slow.received
        assert slow.received.endswith(b"\r\n0\r\n\r\n"), "the body is whole"
        seen = len(prompt)
        eventually(lambda: len(prompt) > seen + 100)
        assert_whole(offsets(prompt))
    assert disconnected(server, "slow") == before + 1


def test_who_reads_nothing_is_cut_soon(server: ServerProcess) -> None:
    before, stalls = disconnected(server, "slow"), server.stats()["counters"]["stalls"]
    with ExitStack() as stack:
        for format_ in ("sse", "ndjson", "msgpack"):
            stuck = stack.enter_context(raw_client(server, 4096))
            stuck.get(f"/topics/strict?format={format_}")
        eventually(lambda: disconnected(server, "slow") == before + 3, 8)
        eventually(lambda: readers(server, "strict") == 0)
    assert server.stats()["counters"]["stalls"] == stalls
    assert_in_metrics(server, 'penstock_disconnects_total{reason="slow"}', before + 3)


async def test_a_websocket_that_is_too_slow_gets_3008_or_is_cut(server: ServerProcess) -> None:
    before = await trio.to_thread.run_sync(disconnected, server, "slow")
    async with open_socket(server) as websocket:
        await websocket.ask(type="subscribe", topic="strict")

        def is_ended() -> bool:
            return disconnected(server, "slow") == before + 1

        await trio.to_thread.run_sync(eventually, is_ended)
        assert await websocket.close_code() in (3008, 1006)


async def test_a_websocket_that_reads_too_slowly_gets_3008(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        await websocket.ask(type="subscribe", topic="strict")
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(1_000):
                await websocket.connection.get_message()
                await trio.sleep(0.008)
        assert closed.value.reason is not None
        assert closed.value.reason.code == 3008


# Asking for another policy


def test_milder_is_granted_and_harsher_refused(server: ServerProcess) -> None:
    for topic, asked in (("firehose", "block"), ("newest", "skip"), ("strict", "block")):
        refused = server.get(f"/topics/{topic}?slow={asked}")
        assert refused.status_code == 400
        assert refused.headers["content-type"] == "application/problem+json"
        assert asked in refused.json()["detail"]
    before = disconnected(server, "slow")
    with raw_client(server, 4096) as slow:
        slow.get("/topics/strict?format=ndjson&slow=skip")
        got = [message_of(slow)]
        time.sleep(0.8)
        while got[-1]["type"] != "gap":
            got.append(message_of(slow))
        assert got[-1]["reason"] == "slow"
    assert disconnected(server, "slow") == before
    counters = server.stats()["counters"]
    assert counters["gaps"]["slow"] > 0
    assert counters["skipped"] >= got[-1]["missed"]


async def test_milder_is_granted_on_a_websocket(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        refused = await websocket.ask(type="subscribe", topic="firehose", slow="disconnect", ref=1)
        assert (refused["type"], refused["code"], refused["ref"]) == ("error", "invalid", 1)
        await websocket.ask(type="subscribe", topic="strict", slow="conflate")
        await trio.sleep(0.8)
        newest = await trio.to_thread.run_sync(last, server, "strict")
        got = [await websocket.next()]
        while Cursor.parse(got[-1]["id"]).offset < newest:
            got.append(await websocket.next())
    numbers = offsets(got)
    assert numbers[-1] - numbers[0] > len(numbers), "some were left out"


# Peers that take nothing


def test_dead_peers_are_closed_whatever_the_policy(server: ServerProcess) -> None:
    stalled = disconnected(server, "stalled")
    stalls = server.stats()["counters"]["stalls"]
    with ExitStack() as stack:
        targets = ["", "?format=ndjson", "?format=msgpack", "?slow=conflate"]
        for target in targets:
            stack.enter_context(raw_client(server, 4096)).get(f"/topics/firehose{target}")
        websocket = stack.enter_context(raw_websocket(server, 4096))
        websocket.send(frame(1, b'[{"type":"subscribe","topic":"firehose"}]'))
        eventually(lambda: readers(server, "firehose") == 5)
        started = time.monotonic()
        eventually(lambda: readers(server, "firehose") == 0, STALL_TIMEOUT + 4)
        assert time.monotonic() - started > 0.5
    eventually(lambda: disconnected(server, "stalled") == stalled + 5)
    counters = server.stats()["counters"]
    assert counters["stalls"] == stalls + 5
    assert_in_metrics(server, "penstock_stalls_total", counters["stalls"])
    assert_in_metrics(server, 'penstock_disconnects_total{reason="stalled"}', stalled + 5)
