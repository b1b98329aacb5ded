"""What thousands of cuts cost a reader, and whether it still gets every event, in order and once.

A server in a process of its own has a finished log; a proxy cuts each connection after 400 to 1,400
bytes, half of them by a reset. The reader comes back within a millisecond. What is shown is
milliseconds a cut, with connecting, asking and the proxy itself; a wrong order, a missing event or
one that comes twice is an error.
"""

from __future__ import annotations

from random import Random
from time import perf_counter
from typing import Literal, cast

import trio
from tests.e2e.faulty_proxy import faulty_proxy, random_cuts

import penstock as ps
from penstock.net import Event, Loss, events

from ..figures import Figure, summary
from ..rows import Effort, Row
from .serving import Served, served

EVENTS = 15_000

CONFIG = f"""\
import penstock as ps
from penstock_server import Server, Timing

server = Server(timing=Timing(retry=0.0))


@server.topic("numbers", retain={EVENTS})
def numbers():
    return ps.from_iterable(range({EVENTS})).map(lambda n: {{"n": n, "padding": "x" * 40}})
"""


async def _read(
    server: Served, format_: Literal["sse", "ndjson", "msgpack"], number: int
) -> tuple[int, float]:
    """Cuts, and milliseconds of one."""
    losses: list[Loss] = []
    at_once = ps.Backoff(initial=0.001, maximum=0.001)
    faults = random_cuts(Random(number), 400, 1_400)
    async with faulty_proxy(server.host, server.port, faults) as proxy:
        started = perf_counter()
        stream = events(
            proxy.url("/topics/numbers"),
            after="earliest",
            format=format_,
            reconnect=at_once,
            headers={"Accept-Encoding": "identity"},
            on_loss=losses.append,
        )
        items = await stream.take(number).to(ps.collect()).run()
        elapsed = perf_counter() - started
    if [cast("Event", item).data["n"] for item in items] != list(range(number)):
        raise AssertionError(f"{format_}: not every event, in order and once")
    return len(losses), elapsed * 1_000 / len(losses)


def measure(effort: Effort) -> list[Figure]:
    """Each format once."""
    figures: list[Figure] = []
    with served(CONFIG) as server:
        for format_ in ("sse", "ndjson", "msgpack"):
            cuts, cost = trio.run(_read, server, format_, int(EVENTS * effort.scale))
            figures.append(summary(f"{format_}, {cuts:,} cuts, ms a cut", [cost]))
    return figures


ROW = Row("What a cut costs a reader that comes back at once", measure)
