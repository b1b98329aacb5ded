"""A server whose resources can't be had."""

from collections.abc import AsyncIterator

import penstock as ps
from penstock_server import Server

server = Server()


@server.lifespan
async def resources() -> AsyncIterator[None]:
    raise ConnectionError("the database is away")
    yield


@server.topic("ticks")
def ticks() -> ps.Stream[int]:
    return ps.every(1)
