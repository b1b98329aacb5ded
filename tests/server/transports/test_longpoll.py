"""Pages of events, and waiting for the next one."""

from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import penstock as ps
from penstock_server import Server, Timing, Topic
from penstock_server.log import MemoryLog
from penstock_server.settings import Retention

from ..asgi_driver import Driver, serving


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    server = Server(timing=Timing(grace=20))
    server.topic("t", accepts=object, retain=150)
    async with serving(server) as driver:
        yield driver


async def page(driver: Driver, query: str = "") -> Any:
    async with driver.request("GET", f"/topics/t?format=json{query}") as response:
        assert response.status == 200
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        return await response.json()


async def publish(driver: Driver, *data: Any) -> None:
    for each in data:
        await driver.server.topics["t"].publish(each)


def cursor(driver: Driver, offset: int) -> str:
    return f"{driver.server.topics['t'].log.epoch}-{offset:x}"  # below 10 and 36: the same digits


async def test_a_page(driver: Driver) -> None:
    await driver.server.topics["t"].publish({"n": 1}, event="tick")
    await publish(driver, None)
    assert await page(driver, "&after=earliest") == {
        "events": [
            {"id": cursor(driver, 1), "data": {"n": 1}, "event": "tick"},
            {"id": cursor(driver, 2), "data": None},
        ],
        "next": cursor(driver, 2),
        "end": False,
    }


async def test_latest_is_an_empty_page_at_once(driver: Driver) -> None:
    await publish(driver, 1)
    assert await page(driver) == {"events": [], "next": cursor(driver, 1), "end": False}


async def test_pages_follow_one_another(driver: Driver) -> None:
    await publish(driver, *range(5))
    seen: list[int] = []
    after = "earliest"
    for size in (2, 2, 1, 0):
        part = await page(driver, f"&limit=2&after={after}")
        assert len(part["events"]) == size
        seen += [event["data"] for event in part["events"]]
        after = part["next"]
    assert seen == list(range(5))


async def test_a_page_has_a_hundred_events_unless_told(driver: Driver) -> None:
    await publish(driver, *range(120))
    assert len((await page(driver, "&after=earliest"))["events"]) == 100
    assert len((await page(driver, "&after=earliest&limit=1000"))["events"]) == 120


async def test_a_gap_is_on_the_page(driver: Driver) -> None:
    await publish(driver, *range(200))
    part = await page(driver, f"&limit=1&after={cursor(driver, 1)}")
    assert part["gap"]["missed"] == 49
    assert part["gap"]["reason"] == "expired"
    assert part["events"][0]["data"] == 50


async def test_the_end_is_on_the_last_page() -> None:
    server = Server()
    server.topic("t")(lambda: ps.from_iterable([1, 2]))
    async with serving(server) as driver:
        while not server.topics["t"].log.bounds().ended:
            await trio.lowlevel.checkpoint()
        assert not (await page(driver, "&after=earliest&limit=1"))["end"]
        assert (await page(driver, "&after=earliest&limit=2"))["end"]
        assert (await page(driver, "&wait=60"))["end"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=1.5", "wait=-1", "wait=61", "wait=nan", "wait="],
)
async def test_a_bad_parameter_is_named(driver: Driver, query: str) -> None:
    response, body = await driver.fetch("GET", f"/topics/t?format=json&{query}")
    assert response.status == 400
    assert query.partition("=")[0].encode() in body


# Waiting


async def test_waiting_ends_with_the_first_event(autojump_clock: MockClock, driver: Driver) -> None:
    pages: list[Any] = []

    async def poll() -> None:
        pages.append(await page(driver, "&wait=60"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.sleep(7)
        await publish(driver, "x")
    assert trio.current_time() == 7
    assert [event["data"] for event in pages[0]["events"]] == ["x"]
    assert not driver.server.hub.connections


async def test_waiting_in_vain_is_an_empty_page(autojump_clock: MockClock, driver: Driver) -> None:
    assert await page(driver, "&wait=2.5") == {
        "events": [],
        "next": cursor(driver, 0),
        "end": False,
    }
    assert trio.current_time() == 2.5


async def test_nothing_waits_where_there_is_something(
    autojump_clock: MockClock, driver: Driver
) -> None:
    await publish(driver, *range(200))
    assert (await page(driver, "&wait=60&after=earliest"))["events"]
    assert (await page(driver, "&wait=60&after=other-0"))["gap"]["reason"] == "epoch"
    assert trio.current_time() == 0


async def test_the_end_and_the_drain_end_a_wait(autojump_clock: MockClock) -> None:
    server = Server(timing=Timing(grace=20))
    server.topic("t")(lambda: ps.every(5, count=2).skip(2))
    server.topic("u", accepts=object)
    async with serving(server) as driver:
        assert (await page(driver, "&wait=60"))["end"]
        assert trio.current_time() == 5
        async with trio.open_nursery() as nursery:

            async def shut_down_later() -> None:
                await trio.sleep(3)
                await driver.shut_down()

            nursery.start_soon(shut_down_later)
            response, _ = await driver.fetch("GET", "/topics/u?format=json&wait=60")
            assert response.status == 200
        assert trio.current_time() == 8


async def test_a_client_that_leaves_ends_its_wait(
    autojump_clock: MockClock, driver: Driver
) -> None:
    hub, topic = driver.server.hub, driver.server.topics["t"]
    with trio.move_on_after(5):
        await page(driver, "&wait=60")
    await trio.testing.wait_all_tasks_blocked()
    assert not hub.connections
    assert len(topic.audience) == 0
    assert trio.current_time() == 5


async def test_events_that_came_and_went_during_the_wait_are_a_gap(driver: Driver) -> None:
    topic = driver.server.topics["t"]
    async with trio.open_nursery() as nursery:
        pages: list[Any] = []

        async def poll() -> None:
            pages.append(await page(driver, "&wait=60&limit=1"))

        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        for n in range(200):
            topic.log.append([_encoded(n)])
    assert pages[0]["gap"]["missed"] == 50
    assert pages[0]["events"][0]["data"] == 50


@pytest.mark.parametrize("ticks", range(2, 12))
async def test_events_may_expire_at_any_moment(driver: Driver, ticks: int) -> None:
    topic: Topic[Any] = driver.server.topics["t"]
    topic.log = MemoryLog(Retention(100, 10_000, seconds=ticks), every_look_takes_a_second())
    topic.log.append([_encoded(n) for n in range(3)])
    part = await page(driver, "&after=earliest")
    assert len(part["events"]) + part.get("gap", {}).get("missed", 3) >= 3
    assert part["next"].endswith("-3")


def every_look_takes_a_second() -> Callable[[], float]:
    seconds = count()
    return lambda: float(next(seconds))


def _encoded(value: object) -> Any:
    from penstock_server.encoding import encode

    return encode(value, "json")
