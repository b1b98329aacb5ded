"""How long a reader takes from a cut to the first event after it.

A server in a process of its own has a topic of 1,000 events a second; a proxy resets the reader's
connection, again and again. The waits between attempts are 100 ms, without jitter, so anything
above is what it costs to notice, to connect, to be answered and to decode. Target: under 1.5 times
the chosen delay at the median; the longest is shown, and is the machine's more than ours where
other processes are busy.
"""

from __future__ import annotations

from time import perf_counter
from typing import Literal

import trio
from tests.e2e.faulty_proxy import faulty_proxy

import penstock as ps
from penstock.net import Loss, events

from ..figures import Figure, at_most
from ..rows import Effort, Row
from .serving import Served, served

DELAY = 0.1
CUTS = 40
FACTOR = 1.5

CONFIG = """\
import penstock as ps
from penstock_server import Server, Timing

server = Server(timing=Timing(retry=0.0))


@server.topic("ticks", retain=10_000)
def ticks():
    return ps.every(0.001)
"""


async def _delays(
    server: Served, format_: Literal["sse", "ndjson", "msgpack"], cuts: int
) -> list[float]:
    """Milliseconds of each cut."""
    delays: list[float] = []
    lost = trio.Event()

    def note(_: Loss) -> None:
        lost.set()

    wait = ps.Backoff(initial=DELAY, maximum=DELAY, jitter=False)
    async with faulty_proxy(server.host, server.port) as proxy:
        url = proxy.url("/topics/ticks")
        async with events(url, format=format_, reconnect=wait, on_loss=note).open() as items:
            for _ in range(cuts):
                await items.chunk()
                proxy.reset_all()
                cut = perf_counter()
                await lost.wait()
                lost = trio.Event()
                with trio.CancelScope() as scope:
                    # What was received before the cut may still be on its way to us.
                    scope.deadline = trio.current_time()
                    await items.chunk()
                await items.chunk()
                delays.append((perf_counter() - cut) * 1_000)
    return delays


def measure(effort: Effort) -> list[Figure]:
    """Each format."""
    figures: list[Figure] = []
    with served(CONFIG) as server:
        for format_ in ("sse", "ndjson", "msgpack"):
            delays = trio.run(_delays, server, format_, max(5, int(CUTS * effort.scale)))
            figures.append(at_most(f"{format_}, ms", delays, DELAY * FACTOR * 1_000))
    return figures


ROW = Row(f"From a cut to the first event after it, with waits of {DELAY * 1_000:g} ms", measure)
