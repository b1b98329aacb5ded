"""A server that takes its time to drain: one pipeline has work in flight when it is told to end."""

import trio

import penstock as ps
from penstock_server import Server, Timing

server = Server(timing=Timing(keepalive=5, heartbeat=5, stall_timeout=5, retry=0.25, grace=3.0))


async def slowly(number: int) -> int:
    await trio.sleep(0.7)
    return number


@server.topic("slow")
def slow() -> ps.Stream[int]:
    return ps.every(0.05).map_async(slowly, concurrency=100)


silent = server.topic("silent", accepts=object)
