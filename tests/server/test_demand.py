"""``start="demand"``: a pipeline runs while somebody subscribes, and loses and doubles nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Server, testing


def state_of(server: Server, topic: str) -> str:
    return server.hub.supervisors[topic].state


def numbers_of(events: list[testing.ReceivedEvent]) -> list[Any]:
    return [event.data for event in events]


async def slowly(item: Any) -> Any:
    await trio.sleep(1)
    return item


async def test_the_first_subscriber_starts_it_and_the_last_stops_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    starts: list[float] = []

    @server.topic("ticks", start="demand", demand_grace=5)
    def ticks() -> ps.Stream[int]:
        starts.append(trio.current_time())
        return ps.every(1)

    async with testing.serve(server) as client:
        await trio.sleep(10)
        assert (state_of(server, "ticks"), starts) == ("waiting", [])
        async with client.stream("ticks") as one:
            assert numbers_of(await one.take(2)) == [0, 1]
            async with client.stream("ticks") as two:
                assert numbers_of(await two.take(1)) == [2]
        assert state_of(server, "ticks") == "running"
        await trio.sleep(4.5)
        assert state_of(server, "ticks") == "running", "the grace is not over"
        await trio.sleep(1)
        assert state_of(server, "ticks") == "waiting"
        stopped_at = ticks.log.bounds().last
        await trio.sleep(100)
        assert ticks.log.bounds().last == stopped_at
        async with client.stream("ticks"):
            await trio.sleep(0.1)
            assert state_of(server, "ticks") == "running"
    assert len(starts) == 2
    assert state_of(server, "ticks") == "stopped"


async def test_a_subscriber_within_the_grace_finds_it_running(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    starts: list[float] = []

    @server.topic("ticks", start="demand", demand_grace=5)
    def ticks() -> ps.Stream[int]:
        starts.append(trio.current_time())
        return ps.every(1)

    async with testing.serve(server) as client:
        for _ in range(5):
            async with client.stream("ticks") as events:
                await anext(events)
            await trio.sleep(4)
        assert len(starts) == 1
        assert ticks.log.bounds().last >= 20


@pytest.mark.parametrize("away", [0.0, 0.3, 0.9, 1.5, 6.0])
async def test_whenever_it_stops_nothing_is_lost_or_doubled(
    autojump_clock: trio.testing.MockClock, away: float
) -> None:
    """A derived topic with a task boundary; its readers come and go while it runs and stops."""
    server = Server()
    raw = server.topic("raw", accepts=int, retain=10_000)
    derived = server.topic("derived", start="demand", demand_grace=0, retain=10_000)
    derived(lambda: raw.values().map_async(slowly, concurrency=4))
    states = set[str]()

    async def publish() -> None:
        for n in range(100):
            await raw.publish(n)
            await trio.sleep(0.1)

    async with testing.serve(server) as client, trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        seen: list[Any] = []
        after = "earliest"
        while len(seen) < 100:
            async with client.stream("derived", after=after) as events:
                for event in await events.take(7 if len(seen) + 7 <= 100 else 100 - len(seen)):
                    seen.append(event.data)
                    assert event.id is not None
                    after = event.id
            await trio.sleep(away)
            states.add(state_of(server, "derived"))
    assert seen == list(range(100))
    if away > 1:
        assert "waiting" in states


async def test_a_subscriber_that_comes_during_the_stop_restarts_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    starts: list[float] = []
    raw = server.topic("raw", accepts=int)

    @server.topic("derived", start="demand", demand_grace=0)
    def derived() -> ps.Stream[int]:
        starts.append(trio.current_time())
        return raw.values().map_async(slowly, concurrency=1)

    async with testing.serve(server) as client:
        async with client.stream("derived"):
            for n in range(3):
                await raw.publish(n)
            await trio.sleep(0.5)
        await trio.sleep(1)  # it drains what it took: until the third second
        assert len(starts) == 1
        async with client.stream("derived", after="earliest") as events:
            await raw.publish(3)
            assert numbers_of(await events.take(4)) == [0, 1, 2, 3]
        assert starts == pytest.approx([0, 3], abs=0.1)


async def test_a_derived_topic_starts_the_demand_it_reads(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    source = server.topic("source", start="demand", demand_grace=1)(lambda: ps.every(1))
    middle = server.topic("middle", start="demand", demand_grace=1)
    middle(lambda: source.values().map(lambda n: n * 10))
    server.topic("end", start="demand", demand_grace=1)(lambda: middle.values())

    async with testing.serve(server) as client:
        state = dict(server.hub.supervisors)
        async with client.stream("end") as events:
            assert numbers_of(await events.take(3)) == [0, 10, 20]
            assert {each.state for each in state.values()} == {"running"}
        await trio.sleep(1.5)
        assert [state[name].state for name in ("source", "middle", "end")] == [
            "running",
            "running",
            "waiting",
        ]
        await trio.sleep(4)
        assert {each.state for each in state.values()} == {"waiting"}


@pytest.mark.expect_error_log
async def test_failing_it_restarts_only_while_it_is_wanted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    starts: list[float] = []

    @server.topic("broken", start="demand", demand_grace=1)
    def broken() -> ps.Stream[Any]:
        starts.append(trio.current_time())
        return ps.from_iterable([1]).map(lambda n: n / 0)

    async with testing.serve(server) as client:
        async with client.stream("broken"):
            await trio.sleep(10)
        before = len(starts)
        assert before > 2
        await trio.sleep(200)
        assert len(starts) <= before + 1
        supervisor = server.hub.supervisors["broken"]
        assert supervisor.state == "waiting"
        assert "ZeroDivisionError" in (supervisor.last_error or "")


async def test_one_that_came_to_its_end_stays_ended(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    server.topic("three", start="demand", demand_grace=1)(lambda: ps.every(1, count=3))
    async with testing.serve(server) as client:
        async with client.stream("three") as events:
            assert numbers_of([event async for event in events]) == [0, 1, 2]
        assert state_of(server, "three") == "ended"
        async with client.stream("three", after="earliest") as events:
            assert numbers_of([event async for event in events]) == [0, 1, 2]


async def test_stopped_before_it_was_wanted_it_never_runs() -> None:
    server = Server()
    server.topic("ticks", start="demand")(lambda: ps.every(1))
    async with testing.serve(server):
        await trio.testing.wait_all_tasks_blocked()
        assert state_of(server, "ticks") == "waiting"
    assert state_of(server, "ticks") == "stopped"
    assert server.hub.supervisors["ticks"].run is None


async def test_a_template_on_demand(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    at_work: list[str] = []

    @ps.producer
    async def sensor(name: str) -> AsyncIterator[int]:
        at_work.append(name)
        try:
            for n in range(1000):
                yield n
                await trio.sleep(1)
        finally:
            at_work.remove(name)

    @server.topic("sensor.{name}", start="demand", demand_grace=2, idle=20)
    def sensors(name: str) -> ps.Stream[int]:
        return sensor(name)

    async with testing.serve(server) as client:
        await client.get("/topics/sensor.page?format=json")
        assert at_work == []
        async with client.stream("sensor.a") as a, client.stream("sensor.b") as b:
            assert numbers_of(await a.take(2)) == numbers_of(await b.take(2)) == [0, 1]
            assert sorted(at_work) == ["a", "b"]
        await trio.sleep(3)
        assert at_work == []
        assert "sensor.a" in server.hub.topics
        await trio.sleep(30)
        assert server.hub.topics == {}
