"""What the readers of a run mean for it: gone, back again, slow, told of the drain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock as Clock

import penstock as ps
from penstock_server import Event, Timing

from .bench import BODY, NDJSON, SSE, Bench, Count, lines, refused, settled


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench().serving() as bench:
        yield bench


# Disconnect is not stop, or is it


async def test_without_detach_the_last_reader_ends_the_run(
    autojump_clock: Clock, bench: Bench
) -> None:
    async with bench.post("count", {"to": 99, "each": 1}, SSE) as response:
        path = response.headers["location"]
        await response.events(2)
        async with bench.driver.request("GET", path, NDJSON) as second:
            assert (await second.lines())[0]["type"] == "subscribed"
        assert bench.running == 1  # one of two
        await response.event()
    gone = trio.current_time()
    await bench.run_at(path).over()
    assert trio.current_time() == gone
    assert bench.log == ["begun", "ended"]
    assert (await bench.page(path))["status"] == "cancelled"


async def test_with_detach_it_goes_on_and_is_resumed(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.post("far", {"to": 12, "each": 1}, SSE) as response:
        path = response.headers["location"]
        got = await response.events(3)
    await trio.sleep(6)
    headers = {**SSE, "last-event-id": str(got[-1].id)}
    async with bench.driver.request("GET", path, headers) as response:
        got += await response.events(9)
        assert [each.data for each in got] == [str(number) for number in range(12)]
        assert (await response.event()).event == "end"
    assert (await bench.page(path))["status"] == "done"


async def test_detached_for_too_long_it_is_cancelled(autojump_clock: Clock, bench: Bench) -> None:
    async with bench.post("far", {"to": 99, "each": 1}, SSE) as response:
        path = response.headers["location"]
        await response.event()
    left = trio.current_time()
    await bench.run_at(path).over()
    assert trio.current_time() - left == pytest.approx(10)
    assert bench.log == ["begun", "ended"]


async def test_polls_count_as_reading(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("far", {"to": 60, "each": 1})
    for _ in range(4):
        await trio.sleep(8)
        assert (await bench.page(path))["status"] == "running"
    await bench.page(f"{path}?after=latest&wait=0.5")
    left = trio.current_time()
    await bench.run_at(path).over()
    assert trio.current_time() - left == pytest.approx(10)


async def test_one_who_waits_for_long_is_a_reader(autojump_clock: Clock, bench: Bench) -> None:
    path = await bench.start("far", {"to": 1, "each": 25})
    page = await bench.page(f"{path}?wait=60")
    assert [each["data"] for each in page["events"]] == [0]


async def test_nobody_comes_at_all(autojump_clock: Clock, bench: Bench) -> None:
    near = await bench.start("count", {"to": 30, "each": 1})
    far = await bench.start("far", {"to": 30, "each": 1})
    await trio.sleep(40)
    # Where no disconnect was, none has cancelled; the other's time was over.
    assert (await bench.page(near))["status"] == "done"
    assert (await bench.page(far))["status"] == "cancelled"


async def test_a_job_that_never_minds(autojump_clock: Clock) -> None:
    bench = Bench()
    bench.server.job("patient", accepts=Count, detach=None)(bench.counting)
    async with bench.serving():
        async with bench.post("patient", {"to": 5, "each": 60}, SSE) as response:
            path = response.headers["location"]
        await trio.sleep(330)
        assert (await bench.page(path))["status"] == "done"


async def test_a_client_that_goes_before_the_answer(autojump_clock: Clock, bench: Bench) -> None:
    """Its head is under way, and nothing has begun: nothing is left, either. It asks again."""
    scope_over = trio.CancelScope()
    started = trio.Event()

    async def send(message: Any) -> None:
        started.set()
        await trio.sleep_forever()

    messages = [{"type": "http.request", "body": b'{"to":5}', "more_body": False}]

    async def receive() -> Any:
        while not messages:
            await trio.sleep_forever()
        return messages.pop()

    sent = {**BODY, **SSE, "idempotency-key": "one"}
    headers = [(name.encode(), value.encode()) for name, value in sent.items()]
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/jobs/count", "query_string": b"",
        "headers": headers, "scheme": "http", "extensions": {}, "client": None,
    }  # fmt: skip

    async def ask() -> None:
        with scope_over:
            await bench.server(scope, receive, send)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await started.wait()
        assert bench.running == 1
        scope_over.cancel()
    await settled()
    assert bench.running == 0
    assert bench.log == []
    assert bench.server.hub.jobs.counted["count", "cancelled"] == 1
    async with bench.post("count", {"to": 5}, sent) as response:
        assert "idempotent-replayed" not in response.headers
        assert [each.data for each in await response.events(5)] == list("01234")


# Age, and slow readers


async def test_a_connection_of_age_comes_back_to_its_run(autojump_clock: Clock) -> None:
    timing = Timing(max_connection_age=10, retry=2, reconnect_spread=3, grace=20)
    async with Bench(timing=timing).serving() as bench:
        async with bench.post("count", {"to": 99, "each": 1}, NDJSON) as response:
            path = response.headers["location"]
            got = await lines(response)
        data = [each["data"] for each in got if each["type"] == "event"]
        assert 8 <= len(data) <= 12
        last = [each["id"] for each in got if each["type"] == "event"][-1]
        assert got[-1]["type"] == "reconnect"
        await trio.sleep(got[-1]["after"])
        assert bench.running == 1
        async with bench.driver.request("GET", f"{path}?after={last}", NDJSON) as response:
            more = await lines(response)
        data += [each["data"] for each in more if each["type"] == "event"]
        assert data == list(range(len(data)))
        # It doesn't come back: the run waits for a while only.
        left = trio.current_time()
        await bench.run_at(path).over()
        assert 5 <= trio.current_time() - left <= 10


async def test_a_slow_reader_holds_the_producer_up(autojump_clock: Clock) -> None:
    """And the log with it: what is in memory is bounded, and nothing is lost."""
    bench = Bench()
    made: list[int] = []
    bench.server.job("much", retain=50, batch=10)(
        lambda: ps.from_iterable(range(3000)).tap(made.append)
    )
    async with bench.serving():
        async with bench.post("much", None, NDJSON) as response:
            await response.lines()
            await trio.sleep(10)
            retained = bench.run_at(response.headers["location"]).topic.log.bounds()
            assert retained.last <= 70
            assert len(made) <= 2000  # a chunk or two, and a buffer's worth
            data = [each.get("data") for each in await lines(response)]
        assert data == [*range(3000), None]


@pytest.mark.expect_error_log
async def test_the_error_pushes_nothing_out(autojump_clock: Clock) -> None:
    """The log is full when the job fails, and its reader has read none of it."""
    bench = Bench()

    @bench.server.job("last", retain=5, batch=1)
    def last() -> ps.Stream[float]:
        return ps.every(0.1, 7).map(lambda n: 60 / (6 - n))

    async with bench.serving():
        async with bench.post("last", None, NDJSON) as response:
            await response.lines()
            await trio.sleep(5)
            run = bench.run_at(response.headers["location"])
            assert run.status == "failed"
            got = await lines(response)
        # One is on its way to the reader, and five are in the log, which holds no more.
        assert [each["type"] for each in got] == ["event"] * 7 + ["end"]
        assert [each["data"] for each in got[:6]] == [10, 12, 15, 20, 30, 60]
        assert got[6]["event"] == "error"


@pytest.mark.parametrize("slow", ["skip", "conflate", "disconnect"])
async def test_other_policies(autojump_clock: Clock, slow: Any) -> None:
    bench = Bench()
    bench.server.job("much", retain=50, batch=10, max_lag=20, slow=slow)(
        lambda: ps.every(0.01, 1000)
    )
    async with bench.serving():
        async with bench.post("much", None, NDJSON) as response:
            await response.lines()
            await trio.sleep(20)
            assert bench.run_at(response.headers["location"]).status == "done"
            got = await lines(response)
        types = [each["type"] for each in got]
        if slow == "disconnect":
            assert types[-1] == "reconnect"
        else:
            assert types[-1] == "end"
            assert got[-2]["data"] == 999
            assert ("gap" in types) == (slow == "skip")


async def test_events_have_names(autojump_clock: Clock) -> None:
    bench = Bench()
    names = ["progress", "error", "end", "gap", "ünïcode"]
    bench.server.job("named")(
        lambda: ps.from_iterable(names).map(lambda name: Event({"n": 1}, name))
    )
    async with bench.serving(), bench.post("named", None, NDJSON) as response:
        got = await lines(response)
    assert [each.get("event") for each in got] == [None, *names, None]
    assert [each["type"] for each in got] == ["subscribed", *["event"] * 5, "end"]


# The drain


async def test_a_drain_gives_the_runs_time_and_then_cancels_them(autojump_clock: Clock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery, bench.serving():
        short = await bench.start("far", {"to": 3, "each": 1})
        async with bench.post("count", {"to": 99, "each": 1}, NDJSON) as response:
            path = response.headers["location"]
            await response.lines()
            nursery.start_soon(bench.driver.shut_down)
            await trio.sleep(0.5)
            problem = await refused(bench, 503, "POST", "/jobs/hello")
            assert problem["headers"]["retry-after"] == "2"
            began = trio.current_time()
            got = await lines(response)
        # Half the grace of 20 seconds is the producers', three quarters of that the runs' own.
        assert trio.current_time() - began == pytest.approx(7, abs=0.01)
        *events, error, end = got
        assert [each["data"] for each in events] == list(range(7))
        assert error["event"] == "error"
        assert error["data"]["status"] == 503
        assert end["type"] == "end"
        run = bench.run_at(path)
        assert (run.status, run.error) == ("cancelled", error["data"])
        assert bench.run_at(short).status == "done"
        assert bench.log == ["begun", "begun", "ended", "ended"]
