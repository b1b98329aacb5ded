"""Logs that are read through a proxy that breaks connections: quick to come back to."""

from itertools import count
from typing import Any

import penstock as ps
from penstock_server import Server, Timing

server = Server(
    timing=Timing(keepalive=0.1, stall_timeout=5.0, retry=0.0, grace=2.0),
)

NUMBERS = 16_000

runs = count(1)
few = server.topic("few.{name}", accepts=object, retain=5)
many = server.topic("many.{name}", accepts=object, retain=10_000)


@server.topic("numbers", retain=NUMBERS)
def numbers() -> ps.Stream[dict[str, Any]]:
    return ps.from_iterable(range(1, NUMBERS + 1)).map(described)


def described(n: int) -> dict[str, Any]:
    return {"n": n, "host": "größe", "load": [0.5, 1.25], "ok": True}


@server.job("count_to", accepts=int, detach=30.0)
def count_to(n: int) -> ps.Stream[list[int]]:
    run = next(runs)
    return ps.from_iterable(range(1, n + 1)).map(lambda each: [run, each])


@server.job("fail")
def fail(_: object) -> ps.Stream[int]:
    return ps.from_iterable([1, 0]).map(lambda n: 1 // n)
