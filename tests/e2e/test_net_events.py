"""`events` and `job` against real servers, through a proxy that breaks connections.

What holds whatever happens: every event in order and once, or a gap that says exactly what is
missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from random import Random
from typing import Any, cast

import pytest
import trio

import penstock as ps
from penstock.net import Event, Gap, Loss, Refused, events, job

from .conftest import Launch, StartServer
from .faulty_proxy import (
    Fault,
    black_hole,
    cut,
    faulty_proxy,
    half_close,
    random_cuts,
    refusal,
    reset,
    stall,
)
from .log_server import log_server
from .serving import CONFIGS, SERVE, ServerProcess

FORMATS = ("sse", "ndjson", "msgpack")
AT_ONCE = ps.Backoff(initial=0.001, maximum=0.001)
NUMBERS = 16_000


@pytest.fixture(scope="module")
def server(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        config = str(CONFIGS / "net_events.py")
        yield launch(stack, (*SERVE, config, "--bind", "127.0.0.1:0"))


class Reader:
    """Options for a reader that comes back at once, and what it lost on its way."""

    def __init__(self, format_: str, timeout: float = 5.0) -> None:
        self.losses: list[Loss] = []
        self.was_refused = trio.Event()
        self.options: Any = {
            "format": format_,
            "reconnect": AT_ONCE,
            "timeout": timeout,
            "on_loss": self.lost,
            # Where the proxy cuts is where the test means it to.
            "headers": {"Accept-Encoding": "identity"},
        }

    def lost(self, loss: Loss) -> None:
        self.losses.append(loss)
        if loss.problem == "Connection refused":
            self.was_refused.set()

    def stream(self, url: str, after: str | None = None) -> ps.Stream[Event | Gap]:
        return events(url, after=after, **self.options)

    @property
    def problems(self) -> set[str]:
        return {loss.problem for loss in self.losses}


def values(items: Iterable[Event | Gap]) -> list[Any]:
    """The data of events; there is no gap among them."""
    return [cast("Event", item).data for item in items]


def numbers_in(items: Iterable[Event | Gap]) -> list[int]:
    return [value["n"] for value in values(items)]


def proxied(server: ServerProcess, faults: Iterable[Fault] = ()) -> Any:
    return faulty_proxy(server.host, server.port, faults)


# Cuts


async def test_thousands_of_cuts_cost_nothing_but_time() -> None:
    """Every event is there, in order and once, after 1,500 lost connections."""
    reader = Reader("sse")
    numbers = range(22_000)
    async with log_server([b"%d" % n for n in numbers]) as log:
        faults = random_cuts(Random(20), 100, 900)
        async with faulty_proxy("127.0.0.1", log.port, faults) as proxy:
            with trio.fail_after(120):
                items = await reader.stream(proxy.url("/topics/n")).to(ps.collect()).run()
    assert values(items) == list(numbers)
    assert len(reader.losses) > 1_500


@pytest.mark.parametrize("format_", FORMATS)
async def test_cuts_of_a_server_in_each_format(server: ServerProcess, format_: str) -> None:
    reader = Reader(format_)
    # Some within the head of the answer, some after many events.
    faults = random_cuts(Random(4), 100, 4_000)
    async with proxied(server, faults) as proxy:
        with trio.fail_after(60):
            stream = reader.stream(proxy.url("/topics/numbers"), "earliest").take(2_000)
            items = await stream.to(ps.collect()).run()
    assert numbers_in(items) == list(range(1, 2_001))
    assert len(reader.losses) > 50


async def test_a_compressed_stream_is_cut_anywhere(server: ServerProcess) -> None:
    reader = Reader("sse")
    del reader.options["headers"]
    async with proxied(server, random_cuts(Random(9), 300, 20_000)) as proxy:
        with trio.fail_after(60):
            stream = reader.stream(proxy.url("/topics/numbers"), "earliest")
            items = await stream.to(ps.collect()).run()
    assert numbers_in(items) == list(range(1, NUMBERS + 1))
    assert len(reader.losses) >= 3


@pytest.mark.parametrize("format_", FORMATS)
async def test_every_other_fault(server: ServerProcess, format_: str) -> None:
    faults = [
        refusal(),
        cut(30, "up"),  # within the request
        reset(30, "up"),
        half_close(0, "up"),
        stall(0, "up"),
        half_close(700),  # the end of the answer, as it seems
        half_close(20),
        half_close(30, "up"),
        black_hole(0),
        black_hole(60),
        black_hole(2_000),
        stall(3_000),
        stall(1_000, seconds=0.02),  # which is over before anybody minds
    ]
    lost = len(faults) - 1
    reader = Reader(format_, timeout=1.0)  # a busy machine's pauses are shorter
    async with proxied(server, faults) as proxy:
        with trio.fail_after(60):
            stream = reader.stream(proxy.url("/topics/numbers"), "earliest")
            items = await stream.to(ps.collect()).run()
    assert numbers_in(items) == list(range(1, NUMBERS + 1))
    assert len(reader.losses) == lost
    assert "the server has been silent for too long" in reader.problems


async def test_an_idle_connection_is_not_a_dead_one(server: ServerProcess) -> None:
    """The server's keepalives come three times within the time-out."""
    reader = Reader("sse", timeout=0.5)
    async with reader.stream(f"{server.url}/topics/few.idle").open() as items:
        with trio.move_on_after(1.5):
            await items.chunk()
        assert reader.losses == []
        server.post("few.idle", 1)
        assert values(await items.chunk()) == [1]


# Gaps


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_was_trimmed_meanwhile_is_a_gap(server: ServerProcess, format_: str) -> None:
    reader, topic = Reader(format_), f"few.{format_}"
    async with proxied(server) as proxy:
        stream = reader.stream(proxy.url(f"/topics/{topic}"), "earliest")
        async with stream.open() as items:
            publish(server, topic, [1, 2])
            got = await take(items, 2)
            async with proxy.down():
                publish(server, topic, range(3, 21))
                with trio.fail_after(10):
                    await reader.was_refused.wait()
            got += await take(items, 6)
    gap = got[2]
    assert isinstance(gap, Gap)
    assert (gap.topic, gap.requested, gap.missed, gap.reason) == (topic, got[1].id, 13, "expired")
    assert values([*got[:2], *got[3:]]) == [1, 2, 16, 17, 18, 19, 20]


async def test_a_server_that_forgot_is_a_gap(start_server: StartServer) -> None:
    reader = Reader("sse")
    first = start_server("net_events.py")
    async with proxied(first) as proxy:
        stream = reader.stream(proxy.url("/topics/many.a"), "earliest")
        async with stream.open() as items:
            publish(first, "many.a", [1, 2])
            got = await take(items, 2)
            first.kill()
            second = start_server("net_events.py")
            publish(second, "many.a", [7, 8])
            proxy.target = (second.host, second.port)
            got += await take(items, 3)
    gap = got[2]
    assert isinstance(gap, Gap)
    assert (gap.requested, gap.missed, gap.reason) == (got[1].id, None, "epoch")
    assert gap.resumed == got[3].id.replace("-1", "-0")
    assert values([*got[:2], *got[3:]]) == [1, 2, 7, 8]


@pytest.mark.parametrize("format_", FORMATS)
async def test_cuts_of_a_log_that_grows(server: ServerProcess, format_: str) -> None:
    """A reader that follows at the end, cut off at any moment, misses nothing."""
    reader, random, topic = Reader(format_), Random(6), f"many.{format_}"
    got: list[Event | Gap] = []
    async with proxied(server) as proxy:
        stream = reader.stream(proxy.url(f"/topics/{topic}"), "earliest")
        async with stream.open() as items, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def produce() -> None:
                for start in range(0, 1_000, 10):
                    numbers = range(start, start + 10)
                    await trio.to_thread.run_sync(publish, server, topic, numbers)
                    if random.random() < 0.5:
                        proxy.reset_all()

            with trio.fail_after(60):
                while len(got) < 1_000:
                    got += await items.chunk()
    assert values(got) == list(range(1_000))
    assert len(reader.losses) > 10


async def take(items: Any, number: int) -> list[Any]:
    got: list[Any] = []
    with trio.fail_after(10):
        while len(got) < number:
            got += await items.chunk()
    return got


def publish(server: ServerProcess, topic: str, numbers: Iterable[int]) -> None:
    body = "".join(f"{json.dumps(n)}\n" for n in numbers)
    answer = server.post_body(topic, body, "application/x-ndjson")
    assert answer.status_code == 201


# Jobs


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_job_is_run_once_through_all_cuts(server: ServerProcess, format_: str) -> None:
    reader = Reader(format_)

    def faults() -> Iterator[Fault]:
        yield cut(200, "up")  # the request itself
        yield reset(10)  # the answer that says where the run is
        yield from random_cuts(Random(3), 300, 4_000)

    async with proxied(server, faults()) as proxy:
        with trio.fail_after(60):
            stream = job(proxy.url("/jobs/count_to"), 1_000, **reader.options)
            items = await stream.to(ps.collect()).run()
    runs = {run for run, _ in values(items)}
    assert [n for _, n in values(items)] == list(range(1, 1_001))
    assert len(runs) == 1
    assert len(reader.losses) > 5


@pytest.mark.expect_error_log
async def test_a_job_that_fails_says_so_and_ends(server: ServerProcess) -> None:
    (error,) = await job(f"{server.url}/jobs/fail").to(ps.collect()).run()
    assert isinstance(error, Event)
    assert error.event == "error"
    assert error.data["status"] == 500


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_the_server_refuses_is_final(server: ServerProcess, format_: str) -> None:
    for stream, status in (
        (events(f"{server.url}/topics/nothing", format=cast("Any", format_)), 404),
        (events(f"{server.url}/topics/few.a", after="x!", format=cast("Any", format_)), 400),
        (job(f"{server.url}/jobs/count_to", "many", format=cast("Any", format_)), 422),
    ):
        with pytest.raises(ps.StageError) as caught:
            await stream.to(ps.collect()).run()
        assert isinstance(caught.value.cause, Refused)
        assert caught.value.cause.status == status
