"""The server of the soak: every kind of topic, bounds and times so short that all of them are met.

``/soak`` tells how many tasks live, which no ordinary page does.
"""

from itertools import count
from typing import Any

import trio

import penstock as ps
from penstock_server import Limits, Server, Timing

server = Server(
    title="Soak",
    limits=Limits(max_message_bytes=64 * 1024, header_timeout=3.0, body_timeout=3.0),
    timing=Timing(
        keepalive=0.5,
        heartbeat=1.0,
        stall_timeout=2.0,
        retry=0.05,
        reconnect_spread=0.2,
        max_connection_age=20.0,
        idempotency_window=30.0,
        grace=5.0,
    ),
)

PADDING = "x" * 1_000

feed = server.topic("feed", accepts=object, retain=3_000)
blocking = server.topic("blocking", accepts=object, retain=200, slow="block")
rooms = server.topic("room.{room}", accepts=object, retain=20, idle=1.0, max_instances=40)


@server.topic("derived", retain=1_000)
def derived() -> ps.Stream[Any]:
    """What is published to the feed, without the poison, over which the pipeline fails."""
    return feed.values().map(without_poison)


def without_poison(value: Any) -> Any:
    if value[0].startswith("poison"):
        raise ValueError("poison")
    return value


@server.topic("crashing", retain=200)
def crashing() -> ps.Stream[int]:
    """Fails every hundred numbers."""
    return ps.every(0.02).map(up_to_a_hundred)


def up_to_a_hundred(number: int) -> int:
    if number == 100:
        raise RuntimeError("a hundred is too much")
    return number


@server.topic("numbers", retain=300)
def numbers() -> ps.Stream[int]:
    """Each is one more than the last one: what a reader is given has to be that, too."""
    following = count(1)
    return ps.every(0.01).map(lambda _: next(following))


@server.topic("firehose", retain=100)
def firehose() -> ps.Stream[list[Any]]:
    """More than a slow reader takes, of which little is kept."""
    following = count(1)
    return ps.every(0.005).map(lambda _: [next(following), PADDING])


@server.topic("keyed", retain=200, key=lambda value: value[0])
def keyed() -> ps.Stream[list[int]]:
    following = count(1)
    return ps.every(0.01).map(lambda _: next(following)).map(lambda n: [n % 7, n])


@server.topic("wanted", retain=100, start="demand", demand_grace=0.5)
def wanted() -> ps.Stream[int]:
    """Runs while somebody reads it."""
    return ps.every(0.05)


@server.app.get("/soak")
async def soak() -> dict[str, int]:
    return {"tasks": trio.lowlevel.current_statistics().tasks_living}
