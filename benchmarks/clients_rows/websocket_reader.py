"""How many events a second a WebSocket reader takes in batched frames, 100 bytes each.

A real server holds the events; a reader gets all of them, `after="earliest"`, through a whole
pipeline that counts them. It answers whether a reader keeps up with a busy topic on one core: the
target is per second of the client's processor. Per second of the clock both processes count, and
what the server takes to make frames is most of that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time
from typing import Literal

import trio

import penstock as ps
from penstock.net import websocket

from ..figures import Figure, in_turn, summary
from ..rows import Effort, Row
from .serving import Served, served

EVENTS = 300_000
TARGET = 100.0  # thousand events a second

_CONFIG = """
import penstock as ps
from penstock_server import Server

server = Server()

@server.topic("fire", retain={number}, retain_bytes=1 << 30)
def fire():
    return ps.from_iterable(range({number})).map(lambda n: {{"n": n, "text": "x" * 80}})
"""


def _read(
    server: Served, number: int, codec: Literal["msgpack", "json"], walls: list[float]
) -> float:
    stream = websocket(server.websocket_url, "fire", after="earliest", codec=codec)
    began, worked = perf_counter(), process_time()
    if trio.run(stream.to(ps.count()).run) != number:
        raise AssertionError("a wrong number of events")
    walls.append(number / (perf_counter() - began) / 1_000)
    return number / (process_time() - worked) / 1_000


def measure(effort: Effort) -> list[Figure]:
    """Both codecs in turn."""
    number = int(EVENTS * effort.scale)
    codecs: tuple[Literal["msgpack", "json"], ...] = ("msgpack", "json")
    walls: dict[str, list[float]] = {codec: [] for codec in codecs}
    with served(_CONFIG.format(number=number)) as server:
        # Until all of it is there: the log has an end then.
        trio.run(websocket(server.websocket_url, "fire").to(ps.drain()).run)
        works: dict[str, Callable[[], float]] = {
            codec: partial(_read, server, number, codec, walls[codec]) for codec in codecs
        }
        rates = in_turn(works, effort.rounds)
    figures: list[Figure] = []
    for codec in codecs:
        met = sorted(rates[codec])[len(rates[codec]) // 2] >= TARGET
        name = f"{codec}, k events/s of the client's processor"
        figures.append(summary(name, rates[codec], f"at least {TARGET:g}", met))
        figures.append(summary(f"{codec}, k events/s of the clock", walls[codec][1:]))
    return figures


ROW = Row("A WebSocket reader, from a real server", measure)
