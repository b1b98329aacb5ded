"""The config file that `fanout.py` serves: one topic of events that say when they were due.

``FANOUT_RATE`` in the environment is the number of events a second, 100 without it. ``every``
leaves out the ticks that an overloaded loop was too late for; here they are made up for as soon as
it gets to it: the load is the one asked for, and lateness counts from when an event was due.
"""

import os
import time
from typing import Any

import penstock as ps
from penstock_server import Server

EVENT_BYTES = 100
RATE = float(os.environ.get("FANOUT_RATE", "100"))

server = Server(title="Fan-out benchmark")


def stamped(tick: int, due: int) -> dict[str, Any]:
    """A value of `EVENT_BYTES` as JSON; `due` in nanoseconds on the machine's monotonic clock."""
    padding = EVENT_BYTES - len(f'{{"tick":{tick},"due":{due},"padding":""}}')
    return {"tick": tick, "due": due, "padding": "x" * padding}


@server.topic("ticks")
def ticks() -> ps.Stream[dict[str, Any]]:
    start = time.monotonic_ns()

    def previous_and_latest(span: tuple[int, int], tick: int) -> tuple[int, int]:
        return span[1], tick

    def all_since(span: tuple[int, int]) -> list[dict[str, Any]]:
        return [
            stamped(tick, start + int(tick / RATE * 1e9))
            for tick in range(span[0] + 1, span[1] + 1)
        ]

    return ps.every(1 / RATE).scan((-1, -1), previous_and_latest).flat_map(all_since)
