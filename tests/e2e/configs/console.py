"""For the console: pipelines of several shapes, one with a bottleneck, and all else it shows.

Some of it is hostile: titles, fields and data that would be markup if anybody took them for it.
"""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import msgspec
import trio

import penstock as ps
from penstock_server import Event, Server, Timing

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title = 2</script>'

server = Server(
    title="Works <b>3</b> & sons",
    timing=Timing(keepalive=5, heartbeat=5, grace=1, retry=0.2, reconnect_spread=0.2),
)


class Level(Enum):
    low = "low"
    high = "high"


@dataclass
class Place:
    hall: str
    row: int | None = None


@dataclass
class Report:
    author: str
    amount: float
    level: Level
    urgent: bool
    place: Place
    tags: list[str] = field(default_factory=list)
    parts: list[Place] = field(default_factory=list)
    note: str | None = None
    kind: Literal["a", "b"] = "a"
    more: dict[str, int] = field(default_factory=dict)


class Odd(msgspec.Struct, rename={"plain": "<script>alert(1)</script>"}):
    """A field whose name is hostile."""

    plain: str


reports = server.topic("reports", accepts=Report)
odd = server.topic("odd", accepts=Odd)
anything = server.topic("anything", accepts=object, retain=5_000)
careful = server.topic("careful", accepts=object, slow="block")
newest = server.topic("newest", accepts=object, slow="conflate")
rooms = server.topic("room.{room}", accepts=str, idle=600)


@server.topic("ticks")
def ticks() -> ps.Stream[int]:
    return ps.every(0.2)


async def measure(value: int) -> int:
    await trio.sleep(0.025)
    return value


@server.topic("factory", retain=2_000)
def factory() -> ps.Stream[dict[str, Any]]:
    presses = ps.every(0.02).map(lambda n: 2 * n).buffer(50)
    lathes = ps.every(0.25).map(lambda n: 2 * n + 1)
    drills = ps.every(0.5).filter(lambda n: n % 2 == 0)
    parts = ps.merge(presses, lathes, drills).buffer(200)
    return parts.map_async(measure, concurrency=1).map(lambda n: {"part": n, "size": n % 7})


@server.topic("lossy")
def lossy() -> ps.Stream[int]:
    feed = ps.every(0.01).buffer(20, overflow="drop_oldest")
    return feed.map_async(measure, concurrency=1)


@server.topic("broken")
def broken() -> ps.Stream[float]:
    return ps.every(0.4).map(lambda n: 1 / (3 - n))


@server.topic("on.demand", start="demand")
def on_demand() -> ps.Stream[int]:
    return ps.every(0.1)


@server.topic("hostile", retain=50)
def hostile() -> ps.Stream[Any]:
    def event(n: int) -> Event:
        return Event({HOSTILE: HOSTILE, "n": n, "long": "x" * 900}, event="<b>odd</b>")

    return ps.every(0.5).map(event)


@ps.producer
async def chunks() -> AsyncIterator[int]:
    while True:
        for _ in range(100):
            yield random.randrange(1_000_000)
        await trio.sleep(0.1)


@server.topic("firehose", retain=5_000, start="demand", demand_grace=0.2)
def firehose() -> ps.Stream[int]:
    return chunks()


class Order(msgspec.Struct):
    """How much is to be counted, and how fast."""

    upto: int
    pause: float = 0.05


async def count_one(number: int, pause: float) -> int:
    await trio.sleep(pause)
    return number


@server.job("census", accepts=Order, detach=600)
def census(order: Order) -> ps.Stream[dict[str, int]]:
    async def counted(number: int) -> int:
        return await count_one(number, order.pause)

    numbers = ps.from_iterable(range(order.upto)).buffer(20).map_async(counted, concurrency=1)
    return numbers.map(lambda n: {"done": n + 1, "of": order.upto})


@server.job("hopeless", accepts=object, detach=600)
def hopeless(_: Any) -> ps.Stream[float]:
    return ps.from_iterable([1, 0]).map(lambda n: 1 / n)
