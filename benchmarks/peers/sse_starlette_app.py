"""The fan-out with sse-starlette on uvicorn.

    python sse_starlette_app.py PORT RATE READERS [CERTIFICATE KEY]

Once READERS are connected: RATE events a second to all of them. The responses wait for the next
event on one asyncio.Event. uvicorn runs on uvloop with httptools, which it picks by itself where
they are installed.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn  # type: ignore[import-not-found]
from sse_starlette import EventSourceResponse, ServerSentEvent  # type: ignore[import-not-found]
from starlette.applications import Starlette  # type: ignore[import-not-found]
from starlette.requests import Request  # type: ignore[import-not-found]
from starlette.routing import Route  # type: ignore[import-not-found]

EVENT_BYTES = 100
KEPT = 1000
PORT, RATE, READERS = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])


def payload(tick: int, due: int) -> str:
    start = f'{{"tick":{tick},"due":{due},"padding":"'
    return start + "x" * (EVENT_BYTES - len(start) - 2) + '"}'


class Topic:
    """The latest events, and what wakes those who wait for one more."""

    def __init__(self) -> None:
        self.events: dict[int, str] = {}
        self.last = -1
        self.more = asyncio.Event()
        self.readers = 0
        self.complete = asyncio.Event()

    async def run(self) -> None:
        await self.complete.wait()
        start = time.monotonic_ns()
        for tick in itertools.count():
            due = start + int(tick / RATE * 1e9)
            delay = (due - time.monotonic_ns()) / 1e9
            if delay > 0:
                await asyncio.sleep(delay)
            self.events[tick] = payload(tick, due)
            self.events.pop(tick - KEPT, None)
            self.last = tick
            self.more.set()
            self.more = asyncio.Event()

    async def read(self) -> AsyncIterator[ServerSentEvent]:
        position = self.last
        self.readers += 1
        if self.readers == READERS:
            self.complete.set()
        while True:
            while position < self.last:
                position += 1
                yield ServerSentEvent(self.events[position], id=str(position))
            await self.more.wait()


topic = Topic()


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(topic.read(), sep="\n")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    producing = asyncio.create_task(topic.run())
    yield
    producing.cancel()


if __name__ == "__main__":
    certificate, key = sys.argv[4:] or (None, None)
    uvicorn.run(
        Starlette(routes=[Route("/ticks", stream)], lifespan=lifespan),
        port=PORT,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_level="warning",
        access_log=False,
        backlog=4096,
    )
