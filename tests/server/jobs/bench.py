"""A server in memory with jobs, for the tests of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import trio
import trio.testing

import penstock as ps
from penstock.wire import JSON
from penstock_server import Server, Timing
from penstock_server.jobs import JobRun

from ..asgi_driver import Driver, Response, serving

SSE = {"accept": "text/event-stream"}
NDJSON = {"accept": "application/x-ndjson"}
PACKED = {"accept": "application/msgpack"}
PAGE = {"accept": "application/json"}
ASYNC = {"prefer": "respond-async"}
BODY = {"content-type": "application/json"}


@dataclass
class Count:
    """What the job is asked for."""

    to: int
    each: float = 0.0


class Bench:
    """A server in memory with a job that counts, and what became of its producers.

    Attributes:
        log: what the producers did: ``begun``, ``ended``.
        gate: what the job ``gated`` waits for.
    """

    def __init__(self, **options: Any) -> None:
        timing = Timing(keepalive=15, retry=2, reconnect_spread=3, grace=20)
        self.server = Server(**{"timing": timing, **options})
        self.log: list[str] = []
        self.driver: Driver
        bench = self

        @ps.producer
        async def counting(count: Count) -> AsyncIterator[int]:
            bench.log.append("begun")
            try:
                for number in range(count.to):
                    if count.each:
                        await trio.sleep(count.each)
                    yield number
            finally:
                bench.log.append("ended")

        self.counting = counting
        self.server.job("count", accepts=Count)(counting)
        self.server.job("far", accepts=Count, detach=10, keep=60)(counting)
        self.server.job("echo")(lambda body: ps.from_iterable([body]))
        self.server.job("hello")(lambda: ps.from_iterable(["hello"]))

        @self.server.job("fail", detach=30)
        def fail(_: object = None) -> ps.Stream[float]:
            return ps.every(1, 3).map(lambda n: 2 / (2 - n))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Bench]:
        async with serving(self.server) as self.driver:
            yield self
            await trio.testing.wait_all_tasks_blocked()

    def post(self, job: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """The response to a POST, as it comes."""
        content = b"" if body is None else JSON.encode(body)
        return self.driver.request("POST", f"/jobs/{job}", {**BODY, **(headers or {})}, content)

    async def start(self, job: str, body: object = None, **headers: str) -> str:
        """Start a run that nobody waits for; gives where it is."""
        content = JSON.encode(body)
        sent = {**BODY, **ASYNC, **headers}
        response, rest = await self.driver.fetch("POST", f"/jobs/{job}", sent, content)
        assert response.status == 202, rest
        assert rest == b""
        return response.headers["location"]

    async def page(self, path: str) -> Any:
        async with self.driver.request("GET", path, PAGE) as got:
            assert got.status == 200
            return await got.json()

    def run_at(self, path: str) -> JobRun:
        _, _, job, id_ = path.split("/")
        run = self.server.hub.jobs.find(job, id_)
        assert run is not None
        return run

    @property
    def running(self) -> int:
        return self.server.hub.jobs.running


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def lines(response: Response) -> list[Any]:
    """All messages of an NDJSON stream."""
    return JSON.decode_values(await response.read())


async def refused(bench: Bench, status: int, method: str, path: str, **more: Any) -> Any:
    """The problem that a request is answered with."""
    headers = {**BODY, **more.pop("headers", {})}
    response, body = await bench.driver.fetch(method, path, headers, **more)
    assert response.status == status, body
    assert response.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(body)
    assert problem["status"] == status
    return problem | {"headers": response.headers}
