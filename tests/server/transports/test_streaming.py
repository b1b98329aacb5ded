"""Topics as streams over HTTP, through the ASGI interface."""

import math
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

import penstock as ps
from penstock.wire import Cursor
from penstock_server import Server, Timing

from ..asgi_driver import Driver, serving

SSE = {"accept": "text/event-stream"}
NDJSON = {"accept": "application/x-ndjson"}
MSGPACK = {"accept": "application/msgpack"}


def make() -> Server:
    server = Server(timing=Timing(keepalive=15, retry=2, reconnect_spread=3, grace=20))
    server.topic("t", accepts=object, retain=5)
    return server


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with serving(make()) as driver:
        yield driver


def topic_of(driver: Driver) -> Any:
    return driver.server.topics["t"]


# Opening


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (SSE, "text/event-stream"),
        (NDJSON, "application/x-ndjson"),
        (MSGPACK, "application/msgpack"),
    ],
)
async def test_headers(
    autojump_clock: MockClock, driver: Driver, accept: dict[str, str], content_type: str
) -> None:
    async with driver.request("GET", "/topics/t", accept) as response:
        assert response.status == 200
        assert response.headers == {
            "content-type": content_type,
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
            "vary": "Accept, Accept-Encoding",
        }


async def test_sse_is_primed_at_once(autojump_clock: MockClock, driver: Driver) -> None:
    await topic_of(driver).publish(1)
    async with driver.request("GET", "/topics/t", SSE) as response:
        assert await response.piece() == b"retry: 2000\nid: %b\n\n" % cursor(driver, 1)


def cursor(driver: Driver, offset: int) -> bytes:
    return str(Cursor(topic_of(driver).log.epoch, offset)).encode()


async def test_messages_begin_with_subscribed(autojump_clock: MockClock, driver: Driver) -> None:
    await topic_of(driver).publish(1)
    start = cursor(driver, 1).decode()
    async with driver.request("GET", "/topics/t", NDJSON) as response:
        assert await response.lines() == [{"type": "subscribed", "topic": "t", "id": start}]
    async with driver.request("GET", "/topics/t", MSGPACK) as response:
        piece = await response.piece()
        assert piece is not None
        assert msgspec.msgpack.decode(piece) == {"type": "subscribed", "topic": "t", "id": start}


async def test_head_has_no_body(autojump_clock: MockClock, driver: Driver) -> None:
    response, body = await driver.fetch("HEAD", "/topics/t", SSE)
    assert (response.status, response.headers["content-type"], body) == (
        200,
        "text/event-stream",
        b"",
    )


# Events


async def test_events_come_as_they_are_published(autojump_clock: MockClock, driver: Driver) -> None:
    async with driver.request("GET", "/topics/t", SSE) as response:
        await response.piece()
        await topic_of(driver).publish({"n": 1}, event="tick")
        assert await response.piece() == (
            b'id: %b\nevent: tick\ndata: {"n":1}\n\n' % cursor(driver, 1)
        )


async def test_what_was_appended_together_is_written_together(
    autojump_clock: MockClock, driver: Driver
) -> None:
    async with driver.request("GET", "/topics/t", NDJSON) as response:
        await response.lines()
        await driver.fetch(
            "POST", "/topics/t", {"content-type": "application/x-ndjson"}, b"1\n2\n3"
        )
        assert [line["data"] for line in await response.lines()] == [1, 2, 3]


async def test_a_client_resumes_where_it_was_on_another_transport(
    autojump_clock: MockClock, driver: Driver
) -> None:
    topic = topic_of(driver)
    for n in range(3):
        await topic.publish(n)
    async with driver.request("GET", "/topics/t?after=earliest", SSE) as response:
        await response.piece()
        last = (await response.events(2))[-1].id
    async with driver.request("GET", f"/topics/t?after={last}", NDJSON) as response:
        assert (await response.lines())[0]["id"] == last
        (event,) = await response.lines()
        assert event["data"] == 2


async def test_last_event_id_wins_over_after(autojump_clock: MockClock, driver: Driver) -> None:
    for n in range(3):
        await topic_of(driver).publish(n)
    headers = SSE | {"last-event-id": cursor(driver, 2).decode()}
    async with driver.request("GET", "/topics/t?after=earliest", headers) as response:
        assert (await response.event()).data == "2"


async def test_a_gap_is_told_before_the_next_event(
    autojump_clock: MockClock, driver: Driver
) -> None:
    topic = topic_of(driver)
    first = await topic.publish(0)
    for n in range(1, 8):
        await topic.publish(n)
    async with driver.request("GET", f"/topics/t?after={first}", NDJSON) as response:
        await response.lines()
        (gap,) = await response.lines()
        assert gap == {
            "type": "gap",
            "topic": "t",
            "requested": str(first),
            "resumed": cursor(driver, 3).decode(),
            "missed": 2,
            "reason": "expired",
        }
        assert [line["data"] for line in await response.lines()] == [3, 4, 5, 6, 7]


async def test_an_event_source_that_is_cut_off_before_its_gap_is_told_it_again(
    autojump_clock: MockClock, driver: Driver
) -> None:
    topic = topic_of(driver)
    first = await topic.publish(0)
    for n in range(1, 8):
        await topic.publish(n)
    headers = SSE | {"last-event-id": str(first)}
    async with driver.request("GET", "/topics/t", headers) as response:
        priming = await response.piece()
    assert priming is not None
    assert f"id: {first}\n".encode() in priming
    async with driver.request("GET", "/topics/t", headers) as response:
        gap = await response.event()
        assert (gap.event, gap.id) == ("gap", cursor(driver, 3).decode())


async def test_a_client_that_does_not_read_is_told_what_it_missed(
    autojump_clock: MockClock, driver: Driver
) -> None:
    topic = topic_of(driver)
    async with driver.request("GET", "/topics/t", NDJSON) as response:
        await response.lines()
        for n in range(20):
            await topic.publish(n)
            await trio.sleep(1)
        assert [line["data"] for line in await response.lines()] == [0]
        (gap,) = await response.lines()
        assert (gap["type"], gap["reason"], gap["missed"]) == ("gap", "slow", 14)
        assert [line["data"] for line in await response.lines()] == [15, 16, 17, 18, 19]


@pytest.mark.parametrize("asked", ["newest", "E-1", "abc", "-", "a-01", "x" * 65])
async def test_a_bad_cursor_is_a_problem(
    autojump_clock: MockClock, driver: Driver, asked: str
) -> None:
    response, body = await driver.fetch("GET", f"/topics/t?after={asked}", SSE)
    assert response.status == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert b"Bad Cursor" in body


# Signs of life, and the end


@pytest.mark.parametrize(
    ("accept", "sign"),
    [
        (SSE, b": keepalive\n\n"),
        (NDJSON, b'{"type":"keepalive"}\n'),
        (MSGPACK, msgspec.msgpack.encode({"type": "keepalive"})),
    ],
)
async def test_an_idle_stream_shows_signs_of_life(
    autojump_clock: MockClock, driver: Driver, accept: dict[str, str], sign: bytes
) -> None:
    async with driver.request("GET", "/topics/t", accept) as response:
        await response.piece()
        for _ in range(3):
            before = trio.current_time()
            assert await response.piece() == sign
            assert 15 <= trio.current_time() - before <= 16.5


async def test_a_busy_stream_shows_none(autojump_clock: MockClock, driver: Driver) -> None:
    async with driver.request("GET", "/topics/t", SSE) as response:
        await response.piece()
        for n in range(20):
            await trio.sleep(10)
            await topic_of(driver).publish(n)
            piece = await response.piece()
            assert piece is not None
            assert b"data: %d" % n in piece


async def test_a_client_that_leaves_is_forgotten(autojump_clock: MockClock, driver: Driver) -> None:
    hub, topic = driver.server.hub, topic_of(driver)
    async with driver.request("GET", "/topics/t", SSE) as response:
        await response.piece()
        assert (len(hub.connections), len(topic.audience)) == (1, 1)
    await trio.testing.wait_all_tasks_blocked()
    assert (len(hub.connections), len(topic.audience)) == (0, 0)


async def test_a_finished_topic_ends_the_stream_and_is_204_from_then_on(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    done = server.topic("done")(lambda: ps.from_iterable([1, 2]))
    async with serving(server) as driver:
        await trio.sleep(1)
        async with driver.request("GET", "/topics/done?after=earliest", SSE) as response:
            events = await response.events(3)
            assert [event.event for event in events] == ["message", "message", "end"]
            assert await response.piece() is None
        resumed = SSE | {"last-event-id": events[-1].id}
        response, body = await driver.fetch("GET", "/topics/done", resumed)
        assert (response.status, body) == (204, b"")
        assert "content-length" not in response.headers  # RFC 9110 section 8.6
        before_the_end = SSE | {"last-event-id": events[0].id}
        async with driver.request("GET", "/topics/done", before_the_end) as response:
            assert [event.event for event in await response.events(2)] == ["message", "end"]
        unknown = SSE | {"last-event-id": f"other-{done.cursor.offset}"}
        async with driver.request("GET", "/topics/done", unknown) as response:
            assert (await response.event()).event == "gap"


# The drain


@pytest.mark.parametrize("accept", [SSE, NDJSON, MSGPACK], ids=["sse", "ndjson", "msgpack"])
async def test_a_draining_server_says_farewell(
    autojump_clock: MockClock, accept: dict[str, str]
) -> None:
    async with (
        serving(make()) as driver,
        trio.open_nursery() as nursery,
        driver.request("GET", "/topics/t", accept) as response,
    ):
        await response.piece()
        nursery.start_soon(driver.shut_down)
        piece = await response.piece()
        assert piece is not None
        if accept is SSE:
            assert piece.startswith(b"retry: ")
            assert piece.endswith(b"\n\n")
            after = int(piece.split()[1]) / 1000
        else:
            decode = msgspec.msgpack.decode if accept is MSGPACK else msgspec.json.decode
            message: Any = decode(piece)
            assert message["type"] == "reconnect"
            after = message["after"]
        assert 2 <= after <= 5
        assert await response.piece() is None


async def test_what_the_producers_still_give_comes_before_the_farewell(
    autojump_clock: MockClock,
) -> None:
    async def slowly(n: int) -> int:
        await trio.sleep(3)
        return n

    server = Server(timing=Timing(grace=20))
    server.topic("slow")(lambda: ps.every(1).map_async(slowly, concurrency=10))
    async with (
        serving(server) as driver,
        trio.open_nursery() as nursery,
        driver.request("GET", "/topics/slow", NDJSON) as response,
    ):
        await response.piece()
        await trio.sleep(2.5)
        nursery.start_soon(driver.shut_down)
        lines = [(await response.lines())[0] for _ in range(4)]
        assert [line.get("data") for line in lines] == [0, 1, 2, None]
        assert lines[-1]["type"] == "reconnect"


async def test_a_client_that_reads_nothing_holds_the_drain_up_for_the_grace_only(
    autojump_clock: MockClock,
) -> None:
    async with serving(make()) as driver, driver.request("GET", "/topics/t", SSE):
        await trio.testing.wait_all_tasks_blocked()
        await driver.shut_down()
        assert math.isclose(trio.current_time(), 20)
