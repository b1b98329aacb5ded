"""What the tests of client.js read and write; a page of the same origin, with a strict policy."""

from collections.abc import AsyncIterator
from typing import Any

import trio
from quart import Response

import penstock as ps
from penstock_server import Server, Timing

PAGE = "<!doctype html><title>page</title>"
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src 'self'"

server = Server(
    timing=Timing(keepalive=0.3, heartbeat=1.0, retry=0.1, reconnect_spread=0.2, grace=2.0)
)
for name in "abcde":
    server.topic(name, accepts=object, retain=100_000)


@server.job("count", accepts=int, detach=30)
def count(most: int) -> ps.Stream[Any]:
    """Counts up to a number, slowly."""

    async def numbers() -> AsyncIterator[int]:
        for number in range(1, most + 1):
            await trio.sleep(0.01)
            yield number

    return ps.from_async(numbers)


@server.app.get("/page")
async def page() -> Response:
    """Nothing but an origin."""
    headers = {"content-security-policy": POLICY}
    return Response(PAGE, headers=headers, content_type="text/html; charset=utf-8")
