"""``/stats`` as a stream: snapshots while somebody watches, and no trace of that in the figures."""

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps
from penstock_server import Server, Timing

from .asgi_driver import Driver, Response, serving

NDJSON = {"accept": "application/x-ndjson"}
SSE = {"accept": "text/event-stream"}


def make() -> Server:
    server = Server("Works", timing=Timing(grace=5, keepalive=15))
    server.topic("ticks")(lambda: ps.every(0.1))
    return server


async def snapshot(response: Response) -> object:
    return msgspec.json.decode((await response.event()).data or "")


async def test_one_a_second_the_first_at_once(autojump_clock: MockClock) -> None:
    async with serving(make()) as driver, driver.request("GET", "/stats", SSE) as response:
        assert response.headers["content-type"] == "text/event-stream"
        started = trio.current_time()
        times: list[float] = []
        uptimes: list[float] = []
        for _ in range(5):
            event = await response.event()
            times.append(trio.current_time() - started)
            data = msgspec.json.decode(event.data or "")
            assert data["title"] == "Works"
            assert data["pipelines"]["ticks"]["state"] == "running"
            uptimes.append(data["uptime"])
        assert times[0] < 0.01
        assert times[1:] == pytest.approx([1, 2, 3, 4], abs=0.05)
        assert uptimes == sorted(uptimes)
        assert uptimes[4] - uptimes[0] == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html,*/*;q=0.8", None])
async def test_for_everybody_else_it_is_one_answer(accept: str | None) -> None:
    async with serving(make()) as driver:
        headers = {} if accept is None else {"accept": accept}
        response, body = await driver.fetch("GET", "/stats", headers)
        assert response.headers["content-type"] == "application/json"
        assert msgspec.json.decode(body)["status"] == "ready"
        assert (await driver.fetch("GET", "/stats?format=json", SSE))[0].status == 200


async def test_messages_name_the_log(autojump_clock: MockClock) -> None:
    async with serving(make()) as driver, driver.request("GET", "/stats", NDJSON) as response:
        (subscribed,) = await response.lines()
        assert (subscribed["type"], subscribed["topic"]) == ("subscribed", "stats")
        (event,) = await response.lines()
        assert (event["type"], event["topic"]) == ("event", "stats")
    async with serving(make()) as driver, driver.request("GET", "/stats?format=sse") as response:
        assert response.headers["content-type"] == "text/event-stream"


async def test_who_comes_later_need_not_wait_either(autojump_clock: MockClock) -> None:
    async with serving(make()) as driver, driver.request("GET", "/stats", SSE) as first:
        await first.event()
        await trio.sleep(0.5)
        async with driver.request("GET", "/stats", SSE) as second:
            started = trio.current_time()
            await second.event()
            assert trio.current_time() - started < 0.25


async def test_many_that_come_at_once_cost_few_snapshots(autojump_clock: MockClock) -> None:
    async with serving(make()) as driver, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(_watch_for, driver, 2.0)
            await trio.sleep(0.02)


async def _watch_for(driver: Driver, seconds: float) -> None:
    async with driver.request("GET", "/stats", SSE) as response:
        seen: list[str | None] = []
        with trio.move_on_after(seconds):
            while True:
                seen.append((await response.event()).id)
        assert 2 <= len(seen) <= 5 * seconds + 2
        assert len(set(seen)) == len(seen)


async def test_nobody_watches_nothing_is_done(autojump_clock: MockClock) -> None:
    server = make()
    async with serving(server) as driver:
        async with driver.request("GET", "/stats", NDJSON) as response:
            await response.lines()
            (event,) = await response.lines()
        await trio.sleep(60)
        async with driver.request("GET", "/stats", NDJSON) as response:
            await response.lines()
            (later,) = await response.lines()
    number = int(event["id"].rpartition("-")[2], 36)
    assert int(later["id"].rpartition("-")[2], 36) <= number + 2


async def test_watching_is_no_traffic(autojump_clock: MockClock) -> None:
    server = make()
    async with serving(server) as driver, driver.request("GET", "/stats", SSE) as response:
        for _ in range(3):
            seen = await snapshot(response)
        assert isinstance(seen, dict)
        assert seen["connections"] == {"total": 0, "watching": 1, "by_transport": {}, "lag": {}}
        assert list(seen["topics"]) == ["ticks"]
        counters = seen["counters"]
        for name in ("connected", "events_out", "bytes_out"):
            assert set(counters[name].values()) == {0}, name
        assert seen["delivery_lag"]["count"] == 0
        async with driver.request("GET", "/topics/ticks", SSE) as reader:
            await reader.events(3)
            seen = await snapshot(response)
            while isinstance(seen, dict) and not seen["connections"]["total"]:
                seen = await snapshot(response)
            assert isinstance(seen, dict)
            assert seen["connections"]["by_transport"] == {"sse": 1}
            assert seen["counters"]["connected"]["sse"] == 1
        _, metrics = await driver.fetch("GET", "/metrics")
        assert b'penstock_connections_opened_total{transport="sse"} 1.0' in metrics


async def test_a_watcher_that_is_slow_gets_the_newest(autojump_clock: MockClock) -> None:
    async with serving(make()) as driver, driver.request("GET", "/stats", SSE) as response:
        await response.event()
        await trio.sleep(20)
        before = await snapshot(response)  # this one was on its way
        newest = await snapshot(response)
        assert isinstance(before, dict)
        assert isinstance(newest, dict)
        assert newest["uptime"] > 19


async def test_a_drain_is_shown_and_then_tells_to_reconnect(autojump_clock: MockClock) -> None:
    server = make()
    async with serving(server) as driver, driver.request("GET", "/stats", NDJSON) as response:
        async with trio.open_nursery() as nursery:
            await response.lines()
            await response.lines()
            nursery.start_soon(driver.shut_down)
            messages = []
            while lines := await response.lines():
                messages += lines
        assert messages[-1]["type"] == "reconnect"


async def test_sleeping_readers_are_woken_by_keepalives_as_everywhere() -> None:
    """The stream goes through the same code as topics: a HEAD has headers and no body."""
    async with serving(make()) as driver:
        response, body = await driver.fetch("HEAD", "/stats", SSE)
        assert (response.status, body) == (200, b"")
        await wait_all_tasks_blocked()
        assert len(driver.server.hub.connections) == 0
