"""A running server: its parts start together and end in order."""

from math import inf

import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Server, Timing
from penstock_server.connections import Connection
from penstock_server.transports.framing import MSGPACK_STREAM, NDJSON


async def test_readers_in_one_framing_share_a_feed() -> None:
    server = Server()
    a, b = server.topic("a"), server.topic("b")
    start = server.hub.start_of(a, "latest")
    feed = a.delivery.join(NDJSON, start).feed
    assert a.delivery.join(NDJSON, start).feed is feed
    assert a.delivery.join(MSGPACK_STREAM, start).feed is not feed
    assert b.delivery.join(NDJSON, start).feed is not feed


async def test_readers_are_woken_while_it_runs() -> None:
    server = Server()
    topic = server.topic("a", accepts=object)
    woken = 0

    def wake() -> None:
        nonlocal woken
        woken += 1

    connection = Connection("sse", "", due=inf)
    server.hub.connect(connection)
    start = server.hub.start_of(topic, "latest")
    server.hub.connections.join(connection, topic, NDJSON, start, "skip", wake)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        for n in range(10):
            topic.log.append([])
            await topic.publish(n)
        await trio.testing.wait_all_tasks_blocked()
        assert 1 <= woken <= 10
        nursery.cancel_scope.cancel()
    before = woken
    await topic.publish(10)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == before


async def test_a_connection_is_woken_for_its_sign_of_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(timing=Timing(keepalive=10, heartbeat=20))
    connection = Connection("sse", "", due=10)
    server.hub.connect(connection)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        await connection.wake.wait()
        assert 10 <= trio.current_time() <= 11
        assert connection.is_due
        nursery.cancel_scope.cancel()


def test_the_waits_before_reconnecting_are_spread() -> None:
    hub = Server(timing=Timing(retry=2, reconnect_spread=3)).hub
    delays = [hub.reconnect_delay() for _ in range(200)]
    assert min(delays) >= 2
    assert max(delays) <= 5
    assert max(delays) - min(delays) > 1


async def test_it_is_ready_while_it_runs_and_is_not_drained() -> None:
    hub = Server().hub
    assert not hub.ready
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        assert hub.ready
        hub.begin_drain()
        await hub.drained()
        assert not hub.ready
        nursery.cancel_scope.cancel()


async def test_a_drain_ends_producers_then_clients(autojump_clock: trio.testing.MockClock) -> None:
    async def slowly(n: int) -> int:
        await trio.sleep(3)
        return n

    server = Server(timing=Timing(grace=10))
    topic = server.topic("a")(lambda: ps.every(1).map_async(slowly, concurrency=10))
    hub = server.hub
    connection = Connection("sse", "", inf)
    leave = hub.connect(connection)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await trio.sleep(2.5)
        hub.begin_drain()
        hub.begin_drain()
        await trio.testing.wait_all_tasks_blocked()
        assert hub.draining
        assert not hub.farewell, "clients are to get what the producers still give"
        await connection.wake.wait()
        assert hub.farewell
        assert trio.current_time() == 5
        assert topic.log.bounds().last == 3
        leave()
        await hub.drained()
        assert trio.current_time() == 5
        nursery.cancel_scope.cancel()


async def test_a_drain_takes_the_grace_at_most(autojump_clock: trio.testing.MockClock) -> None:
    async def for_ever(n: int) -> int:
        await trio.sleep_forever()
        return n

    server = Server(timing=Timing(grace=10))
    server.topic("a")(lambda: ps.every(1).map_async(for_ever, concurrency=10))
    hub = server.hub
    hub.connect(Connection("sse", "", inf))
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        hub.begin_drain()
        await hub.drained()
        assert trio.current_time() == pytest.approx(10)
        nursery.cancel_scope.cancel()


@pytest.mark.expect_error_log
async def test_one_failing_topic_is_not_noticed_by_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    server.topic("broken")(lambda: ps.every(1).map(lambda n: 1 / 0))
    fine = server.topic("fine")(lambda: ps.every(1, count=5))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        await trio.sleep(10)
        assert server.hub.ready
        nursery.cancel_scope.cancel()
    assert fine.log.bounds().last == 5
