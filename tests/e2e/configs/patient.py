"""A server that waits long for readers that have stopped reading."""

import penstock as ps
from penstock_server import Server, Timing

server = Server(timing=Timing(stall_timeout=30, grace=30))


@server.topic("firehose", retain=1_000)
def firehose() -> ps.Stream[str]:
    return ps.every(0.001).map(lambda _: "x" * 2_000)
