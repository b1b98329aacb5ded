"""Topics of every kind, quick timing and low limits: for tests that leave the server as it was."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import msgspec

import penstock as ps
from penstock_server import Event, Limits, Server, Timing

server = Server(
    title="Test <bench>",
    cors=["https://friend.example"],
    limits=Limits(max_message_bytes=64 * 1024, max_subscriptions=5, body_timeout=1.0),
    timing=Timing(keepalive=0.3, heartbeat=0.3, stall_timeout=1.0, retry=0.25, grace=2.0),
)


@dataclass
class Person:
    name: str
    age: int = 0


class Point(TypedDict):
    x: float
    y: float
    label: NotRequired[str]


class Reading(msgspec.Struct):
    sensor: str
    values: list[float]


people = server.topic("people", accepts=Person)
points = server.topic("points", accepts=Point)
readings = server.topic("readings", accepts=Reading)
anything = server.topic("anything", accepts=object, retain=5_000)
small = server.topic("small", accepts=object, retain=5)
lines = server.topic("lines", accepts=str, encoding="text")
silent = server.topic("silent", accepts=object)
raw = server.topic("raw", accepts=object, retain=5_000)
other_raw = server.topic("other.raw", accepts=object)


@server.topic("clean", retain=5_000)
def clean() -> ps.Stream[Any]:
    return raw.values().filter(is_wanted)


@server.topic("other.clean")
def other_clean() -> ps.Stream[Any]:
    return other_raw.values().filter(is_wanted)


def is_wanted(value: Any) -> bool:
    if value == "poison":
        raise ValueError("poison")
    return bool(value != "unwanted")


@server.topic("named")
def named() -> ps.Stream[Any]:
    items = [Event({"n": 1}, event="first"), {"n": 2}, Event({"n": 3}, event="größe")]
    return ps.from_iterable(items).map(lambda item: item)


@server.topic("countdown")
def countdown() -> ps.Stream[int]:
    return ps.from_iterable([3, 2, 1, 0])


@server.topic("nothing")
def nothing() -> ps.Stream[int]:
    return ps.from_iterable([])


@server.topic("ticks")
def ticks() -> ps.Stream[int]:
    return ps.every(0.05)


@server.topic("flaky")
def flaky() -> ps.Stream[int]:
    return ps.from_iterable(numbers_that_stop())


def numbers_that_stop() -> Iterator[int]:
    yield 1
    raise RuntimeError("the sensor came loose")
