"""A server with short time-outs and few connections, for clients that mean harm."""

from itertools import count

import penstock as ps
from penstock_server import Limits, Server, Timing

server = Server(
    limits=Limits(
        max_connections=60,
        max_connections_per_address=40,
        header_timeout=0.5,
        body_timeout=0.5,
        max_message_bytes=1 << 20,
    ),
    timing=Timing(heartbeat=0.5, keepalive=0.5, stall_timeout=0.5, grace=2),
    websocket_compression=True,
)
anything = server.topic("anything", accepts=object, retain=10)


@server.topic("ticks")
def ticks() -> ps.Stream[int]:
    numbers = count()  # for on a busy machine `every` leaves out ticks
    return ps.every(0.02).map(lambda _: next(numbers))


@server.topic("firehose", retain=500)
def firehose() -> ps.Stream[str]:
    return ps.every(0.002).map(lambda _: "x" * 2_000)
