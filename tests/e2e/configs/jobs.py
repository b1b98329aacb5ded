"""Jobs that say on standard error when they have ended, and a topic to be another's upstream."""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import trio

import penstock as ps
from penstock_server import Server, Timing

server = Server("jobs", timing=Timing(keepalive=5, stall_timeout=1, retry=0.25, grace=4))


@server.topic("ticks")
def ticks() -> ps.Stream[int]:
    return ps.every(0.02)


def say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()


@dataclass
class Relay:
    """Where to read, and what to call that."""

    url: str
    name: str


@server.job("relayed", accepts=Relay)
@ps.producer
async def relayed(relay: Relay) -> AsyncIterator[str]:
    """The lines of another server, as they come."""
    try:
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as client,
            client.stream("GET", relay.url) as response,
        ):
            async for line in response.aiter_lines():
                yield line
    finally:
        say(f"ended {relay.name}")


@ps.producer
async def counted(name: str) -> AsyncIterator[int]:
    number = 0
    try:
        while True:
            yield number
            number += 1
            await trio.sleep(0.01)
    finally:
        say(f"ended {name}")


server.job("near", accepts=str)(counted)
server.job("far", accepts=str, detach=1)(counted)
server.job("safe", accepts=str, detach=60)(counted)


@server.job("short")
def short() -> ps.Stream[int]:
    return ps.every(0.1, 5)


@server.job("flood", accepts=str, retain=100)
@ps.producer
async def flood(name: str) -> AsyncIterator[str]:
    try:
        while True:
            yield "x" * 10_000
    finally:
        say(f"ended {name}")
