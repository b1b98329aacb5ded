"""What Python clients read and publish to, through cut connections."""

from typing import Any

import penstock as ps
from penstock_server import Limits, Server, Timing

server = Server(
    timing=Timing(keepalive=1, heartbeat=0.4, stall_timeout=2, reconnect_spread=0.1, grace=2),
    limits=Limits(max_message_bytes=256 * 1024, publish_rate=1e6, publish_burst=10**6),
)


@server.topic("ticks", retain=200_000)
def ticks() -> ps.Stream[int]:
    return ps.every(0.002)


@server.topic("more.ticks", retain=200_000)
def more_ticks() -> ps.Stream[int]:
    return ps.every(0.005)


@server.topic("countdown")
def countdown() -> ps.Stream[int]:
    return ps.from_iterable([3, 2, 1])


@server.topic("firehose", retain=50)
def firehose() -> ps.Stream[list[Any]]:
    return ps.every(0.001).map(lambda n: [n, "x" * 20_000])


for name in ("a", "b", "c", "d"):
    server.topic(f"said.{name}", accepts=object, retain=100_000)
numbers = server.topic("numbers", accepts=int)
