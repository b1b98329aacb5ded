"""Readers that fall behind or stop reading: they lose their place, nobody loses anything else."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from penstock.wire import Cursor

from .clients import Message, RawClient, open_messages, raw_client
from .conftest import StartServer
from .serving import MIB, ServerProcess, eventually
from .test_websocket_faults import frame, raw_websocket


@pytest.fixture
def firehose(start_server: StartServer) -> ServerProcess:
    return start_server("firehose.py")


STALLED = [
    "/topics/firehose",
    "/topics/firehose?format=ndjson",
    "/topics/firehose?format=msgpack",
]


def connections(server: ServerProcess) -> int:
    return int(server.stats()["connections"]["total"])


@dataclass
class Watched:
    """What a reader that keeps up has seen."""

    numbers: list[int] = field(default_factory=list[int])
    slowest: float = 0.0
    other_types: set[str] = field(default_factory=set[str])


@contextmanager
def keeping_up(server: ServerProcess, topic: str) -> Generator[Watched]:
    """A reader in a thread that reads all there is, as long as the block runs."""
    watched, over = Watched(), threading.Event()

    def read() -> None:
        with open_messages(server, topic) as stream:
            stream.next()
            while not over.is_set():
                asked = time.monotonic()
                message = stream.next()
                watched.slowest = max(watched.slowest, time.monotonic() - asked)
                if message["type"] == "event":
                    watched.numbers.append(Cursor.parse(message["id"]).offset)
                else:
                    watched.other_types.add(message["type"])

    reading = threading.Thread(target=read)
    reading.start()
    try:
        yield watched
    finally:
        over.set()
        reading.join()


def test_who_stops_reading_is_dropped_and_costs_nothing(firehose: ServerProcess) -> None:
    with keeping_up(firehose, "ticks") as slow, keeping_up(firehose, "firehose") as brisk:
        # Until the log is full, and so is what the server keeps beside it.
        eventually(lambda: len(brisk.numbers) > 300)
        memory, peak = firehose.rss, 0
        stuck = [RawClient(firehose, receive_buffer=4096) for _ in range(12)]
        try:
            for number, client in enumerate(stuck):
                client.get(STALLED[number % 3])
            eventually(lambda: connections(firehose) == 2 + 12)
            started = time.monotonic()
            while connections(firehose) > 2:
                assert time.monotonic() - started < 6, "stuck readers are still there"
                peak = max(peak, firehose.rss)
            dropped = time.monotonic() - started
        finally:
            for client in stuck:
                client.vanish()
        eventually(lambda: len(slow.numbers) > 20)
    assert 0.5 < dropped < 4
    assert peak - memory < 20 * MIB
    for watched in (slow, brisk):
        assert watched.slowest < 0.5
        assert watched.other_types == set()
        first = watched.numbers[0]
        assert watched.numbers == list(range(first, first + len(watched.numbers)))


def test_a_stuck_websocket_is_dropped(firehose: ServerProcess) -> None:
    memory = firehose.rss
    with raw_websocket(firehose, receive_buffer=4096) as client:
        client.send(frame(1, b'[{"type":"subscribe","topic":"firehose"}]'))
        eventually(lambda: connections(firehose) == 1)
        eventually(lambda: connections(firehose) == 0)
    assert firehose.rss - memory < 20 * MIB


def test_a_reader_that_pauses_is_told_what_it_missed(firehose: ServerProcess) -> None:
    """It stops long enough for the log to roll over, and less than the stall time-out."""
    with raw_client(firehose, receive_buffer=4096) as client:
        client.get("/topics/firehose?format=ndjson")
        client.until(b"\r\n\r\n")
        body = Body(client)
        messages: list[Message] = [body.message()]
        for _ in range(3):
            time.sleep(0.6)
            deadline = time.monotonic() + 0.6
            while time.monotonic() < deadline:
                messages.append(body.message())
    gaps = [message for message in messages if message["type"] == "gap"]
    assert gaps
    assert {gap["reason"] for gap in gaps} == {"slow"}
    offset = Cursor.parse(messages[0]["id"]).offset
    for message in messages:  # not one event is missing without being told
        if message["type"] == "gap":
            assert Cursor.parse(message["requested"]).offset == offset
            offset += message["missed"]
            assert Cursor.parse(message["resumed"]).offset == offset
        elif message["type"] == "event":
            offset += 1
            assert Cursor.parse(message["id"]).offset == offset


class Body:
    """The lines of a chunked body; a line may be in several chunks."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._received = b""

    def message(self) -> Message:
        """The next line."""
        while b"\n" not in self._received:
            size = int(self._client.until(b"\r\n"), 16)
            while len(self._client.received) < size + 2:
                assert self._client.receive()
            self._received += self._client.received[:size]
            self._client.received = self._client.received[size + 2 :]
        line, _, self._received = self._received.partition(b"\n")
        return dict(json.loads(line))
