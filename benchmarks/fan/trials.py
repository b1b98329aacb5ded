"""One server under one load, and several servers in turn, so that each pair meets one machine."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from .client import client
from .contenders import Contender, Served, serving
from .machine import cores
from .processes import Usage, resident_bytes

BUSY_CLIENT = 0.85
"""Over this share of a core the client's own delay may show in the latencies."""


@dataclass(frozen=True)
class Load:
    """What is asked of a server.

    Attributes:
        readers: connections.
        rate: events a second; 0 for as many as the readers take.
        seconds: measured, after `warm_up` seconds.
        nap: milliseconds between two looks of the client at its sockets, which makes it cheaper and
            its latencies worse: for loads where these mean nothing.
        stalled: further readers that stop reading at once, and where they read.
    """

    readers: int
    rate: float
    seconds: float
    warm_up: float
    tls: bool = False
    nap: int = 0
    stalled: int = 0
    stalled_path: str = ""


@dataclass(frozen=True)
class Trial:
    """What one run has measured: `figures` by name, CPU as shares of a core, memory in bytes."""

    contender: str
    figures: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.figures[name]


@contextlib.contextmanager
def _publishing(contender: Contender, served: Served, rate: float) -> Generator[None]:
    """An outside process that publishes, on the client's core, for those that need one."""
    with contextlib.ExitStack() as stack:
        if contender.publish_path and rate > 0:
            _, core = cores() or (None, None)
            publisher = client(
                core, mode="pace", port=served.port, path=contender.publish_path, rate=rate
            )
            stack.enter_context(publisher)
        yield


def read(contender: Contender, load: Load) -> Trial:
    """Run a server and its readers."""
    server_core, client_core = cores() or (None, None)
    options: dict[str, str | float] = {
        "path": contender.path,
        "connections": load.readers,
        "seconds": load.seconds,
        "warm_up": load.warm_up,
        "tls": int(load.tls),
        "nap": load.nap,
        "stalled": load.stalled,
        "stalled_path": load.stalled_path or contender.path,
        **contender.client,
    }
    with serving(contender, load.rate, server_core, readers=load.readers, tls=load.tls) as served:
        before = resident_bytes(served.process)
        with client(client_core, port=served.port, **options) as readers:
            window = readers.line()  # they are connected
            with _publishing(contender, served, load.rate):
                figures = cost_of(served, window, server_core)
                figures |= readers.line()
        figures["connect_seconds"] = window["connect_seconds"]
        figures["connection_bytes"] = (figures["rss"] - before) / load.readers
    return Trial(contender.name, figures | _derived(figures, load))


def _derived(figures: dict[str, float], load: Load) -> dict[str, float]:
    cpu_seconds = max(1e-9, figures["cpu_share"] * load.seconds)
    return {
        "expected": figures["published"] * load.readers,
        "rate": figures["published"] / load.seconds,
        "received_rate": figures["received"] / load.readers / load.seconds,
        "per_cpu_second": figures["received"] / cpu_seconds,
        "cpu_us": 1e6 * cpu_seconds / max(1, figures["received"]),
        "events_a_write": figures["received"] / max(1, figures["units"]),
    }


def cost_of(served: Served, window: dict[str, Any], core: int | None) -> dict[str, float]:
    """What the server takes in the measured time, which has yet to begin: waits until it is over.

    `cpu_share` is the server's, `others_share` is what others took of its core (-1: not known).
    """
    _sleep_until(window["begin"])
    start = Usage.of(served.process, core)
    rss = resident_bytes(served.process)
    _sleep_until(window["end"])
    end = Usage.of(served.process, core)
    seconds = (window["end"] - window["begin"]) / 1e9
    own = (end.own - start.own) / seconds
    others = -1.0
    if start.core is not None and end.core is not None:
        others = max(0.0, (end.core - start.core) / seconds - own)
    return {"cpu_share": own, "others_share": others, "rss": rss}


def _sleep_until(moment: int) -> None:
    time.sleep(max(0.0, (moment - time.monotonic_ns()) / 1e9))


class Medians:
    """The trials of several servers, taken in turn, and the medians of each."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = trials

    @property
    def names(self) -> list[str]:
        """The contenders, in the order in which they ran."""
        return list(dict.fromkeys(trial.contender for trial in self.trials))

    def of(self, contender: str, figure: str) -> float:
        """The median over the rounds."""
        return statistics.median(self.all(contender, figure))

    def all(self, contender: str, figure: str) -> list[float]:
        """The figure in each round."""
        return [trial[figure] for trial in self.trials if trial.contender == contender]

    def ratio(self, contender: str, other: str, figure: str) -> float:
        """The median of `contender` over that of `other`; 0 where the other has none."""
        below = self.of(other, figure)
        return self.of(contender, figure) / below if below else 0.0


def in_turn(
    contenders: Sequence[Contender], rounds: int, run: Callable[[Contender], Trial]
) -> Medians:
    """Run each contender that is installed, one after another, `rounds` times."""
    there = [contender for contender in contenders if contender.installed]
    return Medians([run(contender) for _ in range(rounds) for contender in there])
