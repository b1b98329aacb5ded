"""Looks at the server while it is soaked: its vitals, its answers, its log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import psutil
import trio

from ..e2e.serving import ServerProcess
from .readers import Soak
from .vitals import MIB, Sample, leftover_fault

_SAY_EVERY = 10.0
_SAMPLE_EVERY = 1.0
_CALM = 25.0
_SLOWEST_ANSWER = 10.0


class Watch:
    """One server, watched from the start of its soak.

    Attributes:
        samples: its vitals, one a second.
    """

    def __init__(self, server: ServerProcess, soak: Soak, say: Callable[[str], None]) -> None:
        self.samples: list[Sample] = []
        self._server = server
        self._soak = soak
        self._say = say
        self._process = psutil.Process(server.process.pid)
        self._started = time.monotonic()
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(
            base_url=server.url, timeout=30, trust_env=False, limits=limits
        )

    async def run(self) -> None:
        """Sample, and say how it goes every ten seconds, until cancelled."""
        said = self._elapsed
        while True:
            await trio.sleep(_SAMPLE_EVERY)
            sample = await self.sample()
            self.samples.append(sample)
            if self._elapsed - said >= _SAY_EVERY:
                said += _SAY_EVERY
                self._say(
                    f"{int(self._elapsed) // 60}:{int(self._elapsed) % 60:02}"
                    f"  rss {sample.rss / MIB:.1f} MiB  tasks {sample.tasks}"
                    f"  descriptors {sample.descriptors}  {self._soak.report}"
                )

    async def sample(self) -> Sample:
        """Its vitals right now. An answer that takes long is a violation."""
        asked = time.monotonic()
        tasks = (await self.get("/soak"))["tasks"]
        took = time.monotonic() - asked
        if took > _SLOWEST_ANSWER:
            self._soak.report.violate("watch", f"an answer took {took:.1f} s")
        rss = self._process.memory_info().rss
        return Sample(self._elapsed, rss, tasks, self._process.num_fds())

    async def get(self, path: str) -> Any:
        """A page of the server, decoded. Asked twice before that it fails is a fault."""
        try:
            answer = await self._client.get(path)
        except httpx.TransportError:  # a busy machine may be later than the server's time-outs
            await trio.sleep(_SAMPLE_EVERY)
            answer = await self._client.get(path)
        answer.raise_for_status()
        return answer.json()

    async def idle(self, seconds: float) -> Sample:
        """The most of each that there is while nobody is connected."""
        samples: Sequence[Sample] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until or not samples:
            samples = [*samples, await self.sample()]
            await trio.sleep(0.1)
        most = (
            max(getattr(sample, name) for sample in samples) for name in ("tasks", "descriptors")
        )
        tasks, descriptors = most
        return Sample(self._elapsed, samples[-1].rss, tasks, descriptors)

    async def calm(self, before: Sample) -> str | None:
        """Wait until nothing is left of the load; what is left when it should be gone."""
        fault = None
        until = time.monotonic() + _CALM
        while time.monotonic() < until:
            connections = (await self.get("/stats"))["connections"]["total"]
            after = await self.sample()
            fault = f"{connections} connections are left" if connections else None
            fault = fault or leftover_fault(before, after)
            if fault is None:
                return None
            await trio.sleep(0.3)
        return fault

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started
