"""More than a slow reader can take: two megabytes a second, of which a quarter second is kept."""

import penstock as ps
from penstock_server import Server, Timing

server = Server(
    timing=Timing(keepalive=0.3, heartbeat=0.3, stall_timeout=1.0, retry=0.25, grace=2.0)
)

PADDING = "x" * 2_000


@server.topic("firehose", retain=250)
def firehose() -> ps.Stream[list[object]]:
    return ps.every(0.001).map(lambda n: [n, PADDING])


@server.topic("ticks")
def ticks() -> ps.Stream[int]:
    return ps.every(0.05)
