"""SIGTERM: every reader is told, whoever doesn't listen is cut, and the exit code is 0."""

import signal
import struct
import time
from contextlib import ExitStack
from typing import Any

import pytest

from .clients import (
    MESSAGE_TYPES,
    EventStream,
    MessageStream,
    RawClient,
    open_messages,
    open_socket,
    open_sse,
    raw_client,
)
from .conftest import StartServer
from .serving import ServerProcess, eventually
from .test_websocket_faults import frame, raw_websocket

GRACE = 2.0
SPARE = 1.0
"""Seconds for the process itself to end, on a busy machine."""


def stop(server: ServerProcess, number: int = signal.SIGTERM) -> float:
    """Signal; the time."""
    server.signal(number)
    return time.monotonic()


def exit_code(server: ServerProcess, told: float, within: float = GRACE + SPARE) -> int:
    code = server.wait(within + 5)
    assert time.monotonic() - told < within
    return code


def assert_told(stream: EventStream) -> None:
    """A new reconnection time from the spread, no event, and the end of the response."""
    while stream.decoder.retry is None:
        stream.pull()
    assert stream.decoder.retry == 250
    assert stream.rest() == []
    assert stream.decoder.retry is not None
    assert 250 < stream.decoder.retry <= 5250


def assert_told_to_reconnect(messages: MessageStream) -> None:
    *_, last = messages.rest()
    assert set(last) == {"type", "after"}
    assert last["type"] == "reconnect"
    assert 0.25 <= last["after"] <= 5.25


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_every_reader_is_told(start_server: StartServer, number: int) -> None:
    server = start_server("topics.py")
    with ExitStack() as stack:
        events = stack.enter_context(open_sse(server, "silent"))
        streams = [stack.enter_context(open_messages(server, "silent", t)) for t in MESSAGE_TYPES]
        poll = stack.enter_context(raw_client(server))
        poll.get("/topics/silent?format=json&wait=30")
        for stream in streams:
            assert stream.next()["type"] == "subscribed"
        async with open_socket(server) as websocket:
            await websocket.ask(type="subscribe", topic="silent")
            eventually(lambda: server.stats()["connections"]["total"] == 5)
            told = stop(server, number)
            assert_told(events)
            for stream in streams:
                assert_told_to_reconnect(stream)
            assert poll.until(b"}").endswith(b'"end":false}')
            reconnect = await websocket.find("reconnect")
            assert 0.25 <= reconnect["after"] <= 5.25
            assert await websocket.close_code() == 1012
        assert exit_code(server, told, within=SPARE) == 0


def test_each_reader_is_told_another_wait(start_server: StartServer) -> None:
    server = start_server("topics.py")
    with ExitStack() as stack:
        streams = [stack.enter_context(open_messages(server, "silent")) for _ in range(10)]
        for stream in streams:
            stream.next()
        told = stop(server)
        waits = [stream.rest()[-1]["after"] for stream in streams]
        assert exit_code(server, told, within=SPARE) == 0
    assert len(set(waits)) == 10
    assert max(waits) - min(waits) > 1


STUCK = {
    "sse": "/topics/firehose",
    "websocket": "/ws",
}


@pytest.mark.parametrize("transport", STUCK)
def test_a_stuck_reader_does_not_hold_it_up(start_server: StartServer, transport: str) -> None:
    server = start_server("firehose.py", "--grace", str(GRACE))
    with ExitStack() as stack:
        if transport == "websocket":
            stuck = stack.enter_context(raw_websocket(server, receive_buffer=4096))
            stuck.send(frame(1, b'[{"type":"subscribe","topic":"firehose","after":"earliest"}]'))
        else:
            stuck = stack.enter_context(raw_client(server, receive_buffer=4096))
            stuck.get(STUCK[transport])
        eventually(lambda: server.stats()["topics"]["firehose"]["max_lag"] > 20)
        events = stack.enter_context(open_sse(server, "ticks"))
        events.next()
        told = stop(server)
        rest = events.rest()  # what the drain still brought
        assert time.monotonic() - told < SPARE
        assert len(rest) < 20
        assert events.decoder.retry != 250
        assert exit_code(server, told) == 0


def test_nobody_connected(start_server: StartServer) -> None:
    server = start_server("topics.py")
    told = stop(server)
    assert exit_code(server, told, within=SPARE) == 0


@pytest.mark.parametrize(
    "path",
    ["/health/live", "/topics/anything?format=json"],
)
def test_idle_connections_do_not_hold_it_up(start_server: StartServer, path: str) -> None:
    server = start_server("defaults.py")  # with the default grace, of which this takes nothing
    with ExitStack() as stack:
        clients = [stack.enter_context(raw_client(server)) for _ in range(30)]
        for client in clients:
            client.get(path)
            client.until(b"}")
        told = stop(server)
        assert exit_code(server, told, within=SPARE) == 0


def test_work_in_flight_is_drained_and_delivered(start_server: StartServer) -> None:
    """And meanwhile it is not ready, takes no publications, and tells newcomers to come back."""
    server = start_server("lingering.py")
    with open_messages(server, "slow", after="earliest") as stream:
        stream.next()
        stream.next()
        told = stop(server)
        ready = eventually(lambda: _not_ready(server))
        assert ready.json()["status"] == "draining"
        assert server.get("/health/live").status_code == 200
        refused = server.post("silent", 1)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        *events, reconnect = stream.rest()
        assert reconnect["type"] == "reconnect"
        numbers = [event["data"] for event in events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert len(numbers) > 8  # 0.7 s of work was in flight, a number every 0.05 s
    assert exit_code(server, told, within=3 + SPARE) == 0


def _not_ready(server: ServerProcess) -> Any:
    answer = server.get("/health/ready")
    return answer if answer.status_code == 503 else None


def test_a_second_signal_ends_it_at_once(start_server: StartServer) -> None:
    server = start_server("patient.py")
    with raw_client(server, receive_buffer=4096) as stuck:
        stuck.get(STUCK["sse"])
        eventually(lambda: server.stats()["topics"]["firehose"]["max_lag"] > 20)
        stop(server)
        eventually(lambda: "draining" in server.stderr)
        told = stop(server)
        assert exit_code(server, told, within=SPARE) == 1


def test_what_was_read_before_can_be_seen_to_the_last(start_server: StartServer) -> None:
    """Events that were stored before the signal reach every reader before it is told to go."""
    server = start_server("topics.py")
    with open_messages(server, "anything") as stream, raw_websocket(server) as websocket:
        websocket.send(frame(1, b'[{"type":"subscribe","topic":"anything"}]'))
        websocket.until(b'"subscribed"')
        stream.next()
        body = "\n".join(map(str, range(3000)))
        answer = server.post_body("anything", body, "application/x-ndjson")
        told = stop(server)
        *events, _ = stream.rest()
        assert [event["data"] for event in events] == list(range(3000))
        websocket.until(f'"id":"{answer.json()["last"]}"'.encode())
        websocket.until(b'"reconnect"')
        websocket.until(b"\x88")
        _answer_close(websocket)
        assert exit_code(server, told, within=SPARE) == 0


def _answer_close(websocket: RawClient) -> None:
    while len(websocket.received) < 3:
        websocket.receive()
    assert struct.unpack(">H", websocket.received[1:3]) == (1012,)
    websocket.send(frame(0x8, struct.pack(">H", 1012)))
