"""Templates, demand, what pipelines share, and topics derived from one that drains."""

import logging
from collections.abc import AsyncIterator
from typing import TypedDict

import trio

import penstock as ps
from penstock_server import Server, Timing


class Message(TypedDict):
    text: str


server = Server(timing=Timing(retry=0.25, reconnect_spread=0.5, grace=6))
shared: list[str] = []
logger = logging.getLogger("rooms")


@server.lifespan
async def resources() -> AsyncIterator[None]:
    shared.append("open")
    yield
    logger.info("lifespan: left after %d events", last.cursor.offset)


rooms = server.topic("room.{room}", accepts=Message, idle=0.4, max_instances=3)


@server.topic("loud.{room}", start="demand", demand_grace=0.2, idle=1)
def loud(room: str) -> ps.Stream[str]:
    return rooms.instance(room=room).values().map(lambda message: message["text"].upper())


@server.topic("ticks", start="demand", demand_grace=0.3)
def ticks() -> ps.Stream[str]:
    return ps.every(0.02).map(lambda n: f"{shared[0]} {n}")


@server.topic("paced", slow="block", retain=50, start="demand", demand_grace=30)
def paced() -> ps.Stream[str]:
    return ps.from_iterable(range(1_000_000)).map(lambda n: f"{n:01000d}")


async def slowly(number: int) -> int:
    await trio.sleep(0.7)
    return number


@server.topic("last")
def last() -> ps.Stream[int]:
    return first.values().map_async(slowly, concurrency=100)


@server.topic("first")
def first() -> ps.Stream[int]:
    return ps.every(0.05).map_async(slowly, concurrency=100)


@server.app.route("/own")
async def own() -> dict[str, list[str]]:
    return {"shared": shared}
