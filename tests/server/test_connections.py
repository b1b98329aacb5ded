"""Connections are looked after: stalls, age, tokens that expire, readers that are too slow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.wire import Gap, ServerMessage
from penstock_server import Server, Timing
from penstock_server.connections import Connection, Connections, Ending, Transport
from penstock_server.counters import Counters
from penstock_server.fanout import Form, Lane, Piece, Reader, Slow
from penstock_server.grants import Grant
from penstock_server.log import EncodedEvent, Start, StoredEvent
from penstock_server.topics import Topic

PLAIN = Form("plain", lambda piece: piece.joined)


class BarFraming:
    """Data as it is, and a bar."""

    transport = "sse"

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002 - the protocol's name
        return event.json + b"|"

    def message(self, message: ServerMessage) -> bytes:
        return type(message).__name__.encode() + b"|"

    def join(self, framed: Sequence[bytes]) -> bytes:
        return b"".join(framed)


FRAMING = BarFraming()


class Sink:
    """A socket that takes all."""

    def __init__(self) -> None:
        self.got = b""

    def send(self, data: bytes) -> int:
        self.got += data
        return len(data)

    def owe(self, rest: bytes) -> None:
        raise AssertionError(rest)

    def boarded(self, lane: Lane) -> None: ...

    def alighted(self, lane: Lane) -> None: ...


class Bench:
    """Connections that are looked after, and a topic."""

    def __init__(self, timing: Timing, nursery: trio.Nursery) -> None:
        self.wall = 1_000_000.0
        self.counters = Counters()
        self.connections = Connections(self.counters, timing, self._clock)
        nursery.start_soon(self.connections.run)

    def _clock(self) -> float:
        return self.wall + trio.current_time()

    def topic(self, slow: Slow = "skip", **options: Any) -> Topic[Any]:
        topic: Topic[Any] = Server().topic("t", accepts=object, slow=slow, **options)
        return topic

    def connection(
        self, transport: Transport = "sse", grant: Grant | None = None
    ) -> tuple[Connection, list[float]]:
        """One that is open, and when it was dropped."""
        connection = (
            Connection(transport, "", inf)
            if grant is None
            else Connection(transport, "", inf, grant=grant)
        )
        dropped: list[float] = []
        connection.abort = lambda: dropped.append(trio.current_time())
        self.connections.open(connection)
        return connection, dropped

    def join(self, connection: Connection, topic: Topic[Any], slow: Slow = "skip") -> Reader:
        start = Start(topic.log.bounds().last, None)
        return self.connections.join(connection, topic, FRAMING, start, slow, connection.wake.set)


TIMING = Timing(keepalive=15, heartbeat=20, stall_timeout=10)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        yield Bench(TIMING, nursery)
        nursery.cancel_scope.cancel()


# Stalls


async def test_a_peer_that_takes_nothing_is_dropped_and_counted_once(
    autojump_clock: MockClock, bench: Bench
) -> None:
    stalled, dropped = bench.connection()
    idle, others = bench.connection()
    begun = stalled.writing_since = trio.current_time()
    await trio.sleep(9.9)
    assert not dropped
    await trio.sleep(1)
    assert begun + 10 < dropped[0] < begun + 11
    assert stalled.ending == "stalled"
    await trio.sleep(5)  # its transport is slow to notice
    assert bench.counters.stalls == 1
    assert bench.counters.disconnected["stalled"] == 1
    assert (idle.ending, others) == (None, [])


async def test_a_peer_that_takes_something_in_time_is_not(
    autojump_clock: MockClock, bench: Bench
) -> None:
    connection, dropped = bench.connection()
    for _ in range(10):
        connection.writing_since = trio.current_time()
        await trio.sleep(9)
    connection.writing_since = inf
    await trio.sleep(100)
    assert (connection.ending, dropped, bench.counters.stalls) == (None, [], 0)


async def test_the_topics_own_time_counts_where_it_is_shorter(
    autojump_clock: MockClock, bench: Bench
) -> None:
    brisk, dropped_early = bench.connection()
    patient, dropped_late = bench.connection()
    bench.join(brisk, bench.topic(stall_timeout=2))
    bench.join(patient, bench.topic(stall_timeout=100))
    brisk.writing_since = patient.writing_since = trio.current_time()
    await trio.sleep(3)
    assert dropped_early
    assert not dropped_late
    await trio.sleep(8)
    assert dropped_late, "the server's own time holds for all"


async def test_who_is_to_be_told_why_but_takes_nothing_is_dropped_soon(
    autojump_clock: MockClock, bench: Bench
) -> None:
    connection, dropped = bench.connection()
    connection.writing_since = trio.current_time()
    bench.connections.end(connection, "slow")
    await trio.sleep(3)
    assert dropped
    assert dropped[0] < 2
    assert bench.counters.stalls == 0
    assert bench.counters.disconnected["slow"] == 1


# Ends


async def test_the_first_reason_counts(autojump_clock: MockClock, bench: Bench) -> None:
    connection, _ = bench.connection()
    for why in ("slow", "age", "stalled"):
        bench.connections.end(connection, why)
    assert connection.ending == "slow"
    assert {why: count for why, count in bench.counters.disconnected.items() if count} == {
        "slow": 1
    }
    with trio.fail_after(1):
        await connection.wake.wait()


async def test_a_token_that_expires_ends_its_connection(
    autojump_clock: MockClock, bench: Bench
) -> None:
    grant = Grant(expires=bench.wall + 30)
    connection, _ = bench.connection(grant=grant)
    for_ever, _ = bench.connection()
    await trio.sleep(29)
    assert connection.ending is None
    await trio.sleep(2)
    assert connection.ending == "expired"
    assert bench.counters.disconnected["expired_token"] == 1
    assert for_ever.ending is None


async def test_those_with_a_grant_that_is_revoked_end(
    autojump_clock: MockClock, bench: Bench
) -> None:
    mine, _ = bench.connection(grant=Grant(subject="me"))
    other, _ = bench.connection(grant=Grant(subject="you"))
    assert bench.connections.end_those(lambda grant: grant.subject == "me", "revoked") == 1
    assert (mine.ending, other.ending) == ("revoked", None)


async def test_those_who_read_a_topic_end(autojump_clock: MockClock, bench: Bench) -> None:
    reads, _ = bench.connection()
    other, _ = bench.connection()
    bench.join(reads, bench.topic())
    bench.connections.end_readers("t")
    assert (reads.ending, other.ending) == ("age", None)


async def test_old_connections_end_spread_over_a_fifth_of_their_age(
    autojump_clock: MockClock,
) -> None:
    ended: list[float] = []

    async def note_end(connection: Connection) -> None:
        while connection.ending is None:
            await connection.wake.wait()
        assert connection.ending == "age"
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        bench = Bench(Timing(max_connection_age=100), nursery)
        async with trio.open_nursery() as waiting:
            for _ in range(200):
                waiting.start_soon(note_end, bench.connection()[0])
        nursery.cancel_scope.cancel()
    assert 90 <= min(ended) < 93
    assert 107 < max(ended) <= 110.5
    assert bench.counters.disconnected["age"] == 200


async def test_without_a_greatest_age_nobody_is_too_old(
    autojump_clock: MockClock, bench: Bench
) -> None:
    connection, _ = bench.connection()
    await trio.sleep(3_000)
    assert connection.ending is None


async def test_a_reader_that_is_too_slow_ends_its_connection(
    autojump_clock: MockClock, bench: Bench
) -> None:
    connection, _ = bench.connection()
    topic = bench.topic("disconnect", max_lag=3)
    bench.join(connection, topic, "disconnect")
    for number in range(4):
        assert connection.ending is None
        topic.log.append([EncodedEvent(b"%d" % number, b"")])
        await trio.testing.wait_all_tasks_blocked()
    ending: Ending | None = connection.ending
    assert ending == "slow"
    assert bench.counters.disconnected["slow"] == 1


# Signs of life


async def test_who_is_due_is_woken(autojump_clock: MockClock, bench: Bench) -> None:
    connection, _ = bench.connection()
    connection.due = trio.current_time() + 15
    await connection.wake.wait()
    assert 15 <= trio.current_time() < 16
    assert connection.is_due


async def test_lanes_get_signs_of_life(autojump_clock: MockClock, bench: Bench) -> None:
    connection, _ = bench.connection()
    topic = bench.topic()
    reader, sink = bench.join(connection, topic), Sink()
    assert topic.delivery.board(reader, PLAIN, sink)
    await trio.sleep(47)
    assert sink.got == b"Keepalive|" * 3
    connection.leave_all()
    await trio.sleep(47)
    assert sink.got == b"Keepalive|" * 3


# Coming and going


async def test_they_are_counted_in_and_out(autojump_clock: MockClock, bench: Bench) -> None:
    connection = Connection("ndjson", "", inf)
    close = bench.connections.open(connection)
    topic = bench.topic()
    bench.join(connection, topic)
    assert (len(bench.connections), len(topic.audience)) == (1, 1)
    assert list(bench.connections) == [connection]
    close()
    close()
    assert (len(bench.connections), len(topic.audience)) == (0, 0)
    assert (connection.readers, connection.leave) == ({}, {})
    assert topic.delivery.behind == []
    assert bench.counters.connected["ndjson"] == 1


async def test_who_waits_for_the_last_to_go(autojump_clock: MockClock, bench: Bench) -> None:
    closes = [bench.connections.open(Connection("sse", "", inf)) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.connections.none_left)
        for close in closes:
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            close()
    with trio.fail_after(1):
        await bench.connections.none_left()


# Counting


async def test_what_a_lane_delivers_is_counted_for_each_reader(
    autojump_clock: MockClock, bench: Bench
) -> None:
    topic = bench.topic()
    sinks = [Sink() for _ in range(3)]
    for sink in sinks:
        reader = bench.join(bench.connection()[0], topic)
        assert topic.delivery.board(reader, PLAIN, sink)
    topic.log.append([EncodedEvent(b"1", b""), EncodedEvent(b"2", b"")])
    await trio.testing.wait_all_tasks_blocked()
    assert {sink.got for sink in sinks} == {b"1|2|"}
    counters = bench.counters
    assert counters.events_out["sse"] == 6
    assert counters.bytes_out["sse"] == 12
    assert counters.lag.count == 3


async def test_what_was_conflated_in_a_lane_is_counted_for_each_reader(
    autojump_clock: MockClock, bench: Bench
) -> None:
    topic = bench.topic("conflate")
    for _ in range(3):
        reader = bench.join(bench.connection()[0], topic, "conflate")
        assert topic.delivery.board(reader, PLAIN, Sink())
    topic.log.append([EncodedEvent(b"%d" % each, b"") for each in range(5)])
    await trio.testing.wait_all_tasks_blocked()
    assert bench.counters.conflated == 12
    assert bench.counters.events_out["sse"] == 3


async def test_what_a_task_has_written_is_counted(autojump_clock: MockClock, bench: Bench) -> None:
    events = Piece((b"1", b"5"), b"15", 5, events=2, replaced=3)
    bench.connections.count("websocket", events, 40, 0.5)
    gap = Piece((b"g",), b"g", 9, gap=Gap("t", "e-5", "e-9", 4, "slow"))
    bench.connections.count("websocket", gap, 7, None)
    unknown = Piece((b"g",), b"g", 9, gap=Gap("t", "e-5", "f-9", None, "epoch"))
    bench.connections.count("websocket", unknown, 7, None)
    counters = bench.counters
    assert counters.events_out["websocket"] == 2
    assert counters.bytes_out["websocket"] == 54
    assert (counters.conflated, counters.skipped, counters.lag.count) == (3, 4, 1)
    assert (counters.gaps["slow"], counters.gaps["epoch"]) == (1, 1)
