"""The config file that ``fanout.py`` serves: one topic, the one that the comparison needs.

From the environment: ``FANOUT_TOPIC`` is its name, ``FANOUT_RATE`` the events a second of `ticks`,
and ``FANOUT_HISTORY`` how many events it has from the start.

`ticks` are events that say when they were due. Those that an overloaded loop was too late for are
made up for as soon as it gets to it: the load is the one asked for, and lateness counts from when
an event was due.
"""

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import trio

import penstock as ps
from penstock_server import Limits, Server, Topic

EVENT_BYTES = 100
RETAIN = 20_000
GENEROUS = 1_000_000
RATE = float(os.environ.get("FANOUT_RATE", "100"))
HISTORY = int(os.environ.get("FANOUT_HISTORY", "0"))

server = Server(
    title="Fan-out benchmark",
    limits=Limits(
        max_connections=GENEROUS,
        max_connections_per_address=GENEROUS,
        publish_rate=GENEROUS,
        publish_burst=GENEROUS,
    ),
)


def stamped(tick: int, due: int) -> dict[str, Any]:
    """A value of `EVENT_BYTES` as JSON; `due` in nanoseconds on the machine's monotonic clock."""
    padding = EVENT_BYTES - len(f'{{"tick":{tick},"due":{due},"padding":""}}')
    return {"tick": tick, "due": due, "padding": "x" * padding}


@ps.producer
async def ticks(send: ps.Sender[dict[str, Any]]) -> None:
    """`RATE` events a second, after `HISTORY` that would have been due before. Never ends."""
    start = time.monotonic_ns() - int(HISTORY / RATE * 1e9)
    for tick in itertools.count():
        due = start + int(tick / RATE * 1e9)
        wait = (due - time.monotonic_ns()) / 1e9
        if wait > 0:
            await trio.sleep(wait)
        await send(stamped(tick, due))


def endless() -> Iterator[dict[str, Any]]:
    """As many events as the topic takes, each stamped when it was made."""
    for tick in itertools.count():
        yield stamped(tick, time.monotonic_ns())


def flood() -> ps.Stream[dict[str, Any]]:
    """Events without end: the topic's readers are what holds them back."""
    return ps.from_iterable(endless())


def declare(name: str) -> Topic[Any]:
    """The one topic of this run, with its pipeline where it has one."""
    if name == "inbox":
        return server.topic(name, accepts=object)
    if name == "flood":
        options: dict[str, Any] = {"slow": "block", "batch": 1, "retain": 100, "start": "demand"}
        return server.topic(name, **options)(flood)
    if name == "ticks":
        return server.topic(name, retain=RETAIN)(ticks)
    return server.topic(name)


topic = declare(os.environ.get("FANOUT_TOPIC", "ticks"))
