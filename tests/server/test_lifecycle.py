"""Topics end in order: what a source still drains reaches the topics derived from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Server, Timing, Topic
from penstock_server.lifecycle import stopping_order


@pytest.mark.parametrize(
    ("reads", "order"),
    [
        ({}, []),
        ({"a": []}, [["a"]]),
        ({"b": ["a"], "a": []}, [["a"], ["b"]]),
        ({"c": ["b", "a"], "b": ["a"], "a": [], "d": []}, [["a", "d"], ["b"], ["c"]]),
        ({"a": ["published"]}, [["a"]]),
        ({"a": ["a"]}, [["a"]]),
        ({"a": ["b"], "b": ["a"]}, [["a", "b"]]),
        ({"a": ["b"], "b": ["a"], "c": ["a"], "d": []}, [["d"], ["a", "b", "c"]]),
    ],
)
def test_sources_end_before_what_reads_them(
    reads: dict[str, list[str]], order: list[list[str]]
) -> None:
    assert stopping_order(reads) == order


def stored(topic: Topic[Any]) -> list[Any]:
    events = topic.log.read(topic.log.bounds().first - 1, 100_000)
    assert isinstance(events, list)
    return [msgspec.json.decode(event.json) for event in events]


async def slowly(item: Any) -> Any:
    await trio.sleep(1)
    return item


async def drain(server: Server, after: float) -> float:
    """Run the server so long, then drain it; gives how long that took."""
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        await trio.sleep(after)
        began = trio.current_time()
        server.hub.begin_drain()
        await server.hub.drained()
        took = trio.current_time() - began
        nursery.cancel_scope.cancel()
    return took


async def test_what_a_source_drains_reaches_what_derives_from_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(timing=Timing(grace=60))
    # Declared in the wrong order, and each stage has items in flight for a second.
    topics: dict[str, Topic[Any]] = {}
    topics["third"] = server.topic("third")(
        lambda: topics["second"].values().map_async(slowly, concurrency=50)
    )
    topics["second"] = server.topic("second")(
        lambda: topics["first"].values().map_async(slowly, concurrency=50)
    )
    topics["first"] = server.topic("first")(lambda: ps.every(0.1).map_async(slowly, concurrency=50))
    took = await drain(server, 3.05)
    assert took == pytest.approx(3, abs=0.2)
    for topic in topics.values():
        assert stored(topic) == list(range(31)), topic


async def test_what_was_published_last_is_still_derived(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(timing=Timing(grace=60))
    raw: Topic[Any] = server.topic("raw", accepts=object, retain=5000)
    derived = server.topic("derived", retain=5000)(
        lambda: ps.merge(raw.values().map_async(slowly, concurrency=5000), ps.every(1000).skip(1))
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        await trio.sleep(1)
        for n in range(5000):
            raw.log.append([raw.encoded(n)])
        server.hub.begin_drain()
        await server.hub.drained()
        nursery.cancel_scope.cancel()
    assert stored(derived) == list(range(5000))


async def test_topics_in_a_circle_end_in_time(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(timing=Timing(grace=10))
    topics: dict[str, Topic[Any]] = {}
    seed = server.topic("seed")(lambda: ps.every(1, count=1))
    for name, other in (("ping", "pong"), ("pong", "ping")):
        topics[name] = server.topic(name)(
            lambda other=other: ps.merge(seed.values(), topics[other].values()).map_async(
                slowly, concurrency=1
            )
        )
    took = await drain(server, 20)
    assert took <= 5.1
    assert min(topic.log.bounds().last for topic in topics.values()) > 5


async def test_a_source_that_does_not_drain_leaves_time_for_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def for_ever(item: Any) -> Any:
        if item == 5:
            await trio.sleep_forever()
        return item

    server = Server(timing=Timing(grace=20))
    source = server.topic("source")(lambda: ps.every(0.1).map_async(for_ever, concurrency=9))
    derived = server.topic("derived")(lambda: source.values().map_async(slowly, concurrency=1))
    took = await drain(server, 0.65)
    assert took <= 10.1
    assert stored(source) == list(range(5))
    assert stored(derived) == list(range(5))
