"""The soak itself: a server process, clients of every kind around it, and a verdict."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from ..e2e.serving import ServerProcess
from .connections import Address
from .faults import keep_harming
from .publishers import poison, publish_over_http, publish_over_websocket, visit_rooms
from .readers import Soak, keep_reading
from .vitals import MIB, WARM_UP, Sample, memory_fault, memory_growth
from .watch import Watch

_GRACE = 5.0
_SPARE = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """How many clients of each kind there are at a time."""

    readers: int = 16
    http_publishers: int = 3
    websocket_publishers: int = 3
    faults: int = 4


@dataclass
class Verdict:
    """What a soak came to; it went well without any `faults`."""

    soak: Soak
    samples: list[Sample]
    warm_up: float
    faults: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        growth, grown = memory_growth(self.samples, self.warm_up)
        lines = [
            str(self.soak.report),
            f"memory {self.samples[-1].rss / MIB:.1f} MiB under load",
            f"after the warm-up {grown / MIB:+.1f} MiB, {growth * 3600 / MIB:+.1f} MiB/h",
            *(f"VIOLATION: {fault}" for fault in self.faults[:20]),
            f"verdict: {'failed' if self.faults else 'passed'}",
        ]
        return "\n".join(lines)


async def soak_server(
    server: ServerProcess,
    seconds: float,
    *,
    load: Load | None = None,
    say: Callable[[str], None] = print,
) -> Verdict:
    """Soak a server of ``config.py`` for so long, let it calm down, and stop it."""
    soak = Soak(Address(server.host, server.port))
    watch = Watch(server, soak, say)
    before = await watch.idle(2)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            _start_clients(nursery, soak, load or Load())
    verdict = Verdict(soak, watch.samples, warm_up=max(WARM_UP, seconds * 0.3))
    left = await watch.calm(before)
    verdict.faults += map(str, soak.report.violations)
    verdict.faults += filter(None, [memory_fault(watch.samples, verdict.warm_up), left])
    verdict.faults += await trio.to_thread.run_sync(_stop, server)
    return verdict


def _start_clients(nursery: trio.Nursery, soak: Soak, load: Load) -> None:
    topics = ("feed", "feed", "blocking")
    for number in range(load.readers):
        nursery.start_soon(keep_reading, soak, f"reader {number}")
    for number in range(load.http_publishers):
        topic = topics[number % len(topics)]
        nursery.start_soon(publish_over_http, soak, f"http {number}", topic)
    for number in range(load.websocket_publishers):
        topic = topics[number % len(topics)]
        nursery.start_soon(publish_over_websocket, soak, f"ws {number}", topic)
    for _ in range(load.faults):
        nursery.start_soon(keep_harming, soak)
    nursery.start_soon(poison, soak, "1")
    nursery.start_soon(visit_rooms, soak)


def _stop(server: ServerProcess) -> list[str]:
    """End the server; what was wrong with how it ended, and with what it logged."""
    faults: list[str] = []
    told = time.monotonic()
    server.signal()
    try:
        code = server.wait(_GRACE + _SPARE)
    except subprocess.TimeoutExpired:
        return [f"it still ran {time.monotonic() - told:.1f} s after SIGTERM"]
    if code != 0:
        faults.append(f"its exit code was {code}")
    if server.has_new_traceback():
        at = server.stderr.index("Traceback")
        faults.append(f"it logged a traceback:\n{server.stderr[max(0, at - 500) : at + 3000]}")
    return faults
