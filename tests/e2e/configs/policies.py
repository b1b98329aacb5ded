"""Topics of each policy for slow readers, with more data than a slow one can take.

`server` writes straight to sockets, `ordinary` through ASGI; with `aging` no connection gets old.
"""

from collections.abc import Iterator
from typing import Any

import penstock as ps
from penstock_server import Server, Timing

PADDING = "x" * 20_000
KEYS = 10


def _numbers() -> ps.Stream[int]:
    return ps.every(0.002)


def _keyed(number: int) -> dict[str, Any]:
    return {"k": number % KEYS, "n": number, "padding": PADDING}


def _next(last: int, _tick: int) -> int:
    return last + 1  # a late clock leaves out ticks, and then a key would be left out, too


def _make(direct: bool = True, **timing: Any) -> Server:
    given = {"keepalive": 0.5, "stall_timeout": 1.5, "retry": 0.1, "reconnect_spread": 0.1}
    server = Server(direct=direct, timing=Timing(grace=2.0, **{**given, **timing}))

    @server.topic("patient", slow="block", retain=40, start="demand", demand_grace=0)
    def patient() -> ps.Stream[list[object]]:
        return _numbers().map(lambda n: [n, PADDING])

    @server.topic("newest", slow="conflate", key="k", retain=20)
    def newest() -> ps.Stream[dict[str, Any]]:
        return _numbers().scan(0, _next).map(_keyed)

    @server.topic("strict", slow="disconnect", max_lag=30, retain=100)
    def strict() -> ps.Stream[list[object]]:
        return _numbers().map(lambda n: [n, PADDING])

    @server.topic("firehose", retain=50)
    def firehose() -> ps.Stream[list[object]]:
        return _numbers().map(lambda n: [n, PADDING])

    @server.topic("ticks", retain=1_000)
    def ticks() -> ps.Stream[int]:
        return ps.every(0.02)

    @server.topic("short.{name}", start="demand", demand_grace=60)
    def short(name: str) -> ps.Stream[str]:
        return ps.every(0.03, count=20).map(lambda n: f"{name} {n} " + "y" * 50 * (n % 4))

    @server.topic("brief")
    def brief() -> ps.Stream[int]:
        return ps.from_iterable(_few())

    server.topic("said", accepts=object)
    return server


def _few() -> Iterator[int]:
    yield from range(3)


server = _make()
ordinary = _make(direct=False)
aging = _make(max_connection_age=0.5)
