"""This machine's metrics as live topics, and notes that anyone may leave.

    scripts/penstock serve examples/machine.py
    curl -N http://127.0.0.1:8000/topics/cpu

or, the same under plain Hypercorn:  hypercorn -k trio examples.machine:server

Open http://127.0.0.1:8000/machine, in several tabs as well: they share one connection. The charts
are full at once, for the topics retain what was before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from quart import Response

from penstock import Stream, every
from penstock_server import Server

server = Server(title="Machine room")


@server.topic("cpu", retain=1_000)
def cpu() -> Stream[dict[str, Any]]:
    """Load in percent, in all and per core, twice a second."""
    return every(0.5).map(lambda _: read_cpu()).skip(1)  # the first reading has nothing before it


@server.topic("memory", retain=1_000)
def memory() -> Stream[dict[str, int | float]]:
    """Bytes of main memory and swap, once a second."""
    return every(1).map(lambda _: read_memory())


@server.topic("network", retain=1_000)
def network() -> Stream[dict[str, float]]:
    """Bytes a second over the network, and to and from the disks, once a second."""
    return every(1).map(lambda _: read_counters()).scan(Rates(), Rates.after).skip(1).map(as_rates)


@dataclass
class Note:
    """A note that a client publishes."""

    text: str
    author: str = "anonymous"


notes = server.topic("notes", accepts=Note, retain=500)


def read_cpu() -> dict[str, Any]:
    """Load since the reading before, in percent."""
    cores = psutil.cpu_percent(percpu=True)
    return {"total": round(sum(cores) / len(cores), 1), "cores": cores}


def read_memory() -> dict[str, int | float]:
    """Bytes in use, and in percent."""
    main, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "total": main.total,
        "available": main.available,
        "percent": main.percent,
        "swap_used": swap.used,
    }


@dataclass(frozen=True)
class Counters:
    """Bytes since the machine was started, and when they were read."""

    time: float = 0.0
    received: int = 0
    sent: int = 0
    disk_read: int = 0
    disk_written: int = 0


def read_counters() -> Counters:
    """The totals; disk figures are 0 on a machine that doesn't tell them."""
    net, disk = psutil.net_io_counters(), psutil.disk_io_counters()
    return Counters(
        time=time.monotonic(),
        received=net.bytes_recv,
        sent=net.bytes_sent,
        disk_read=disk.read_bytes if disk else 0,
        disk_written=disk.write_bytes if disk else 0,
    )


@dataclass(frozen=True)
class Rates:
    """Two readings, one after the other."""

    before: Counters = Counters()
    now: Counters = Counters()

    def after(self, reading: Counters) -> Rates:
        """The pair that ends in the next reading."""
        return Rates(self.now, reading)


def as_rates(pair: Rates) -> dict[str, float]:
    """Bytes a second between two readings."""
    seconds = pair.now.time - pair.before.time
    return {
        name: round((getattr(pair.now, name) - getattr(pair.before, name)) / seconds, 1)
        for name in ("received", "sent", "disk_read", "disk_written")
    }


server.app.static_folder = Path(__file__).parent / "pages"


@server.app.get("/machine")
async def page() -> Response:
    """The page; Quart serves its folder under /static."""
    return await server.app.send_static_file("machine.html")
