"""``@server.lifespan``, Quart's own, and routes of the user's: in order, and told of failures."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Server, Timing, testing


@ps.producer
async def noting(said: list[str]) -> AsyncIterator[int]:
    said.append("pipeline starts")
    try:
        yield 1
        await trio.sleep_forever()
    finally:
        said.append("pipeline ends")


def server_that_tells(said: list[str]) -> Server:
    server = Server()
    server.topic("a")(lambda: noting(said))

    @server.app.before_serving
    async def before() -> None:
        said.append("before_serving")

    @server.app.after_serving
    async def after() -> None:
        said.append("after_serving")

    @server.app.route("/own")
    async def own() -> str:
        return "own"

    return server


@pytest.mark.parametrize("wrapped", [True, False])
async def test_it_is_around_everything(wrapped: bool) -> None:
    said: list[str] = []
    server = server_that_tells(said)

    async def resources() -> AsyncIterator[None]:
        said.append("in")
        yield
        await trio.sleep(0.01)  # its cleanup may take its time
        said.append("out")

    function: Any = asynccontextmanager(resources) if wrapped else resources
    assert server.lifespan(function) is function
    async with testing.serve(server) as client:
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/own")).text == "own"
        assert (await client.get("/health/ready")).status == 200
    assert said[0] == "in"
    assert sorted(said[1:3]) == ["before_serving", "pipeline starts"]
    assert said[3:] == ["pipeline ends", "after_serving", "out"]


async def test_the_server_is_told_of_the_end_last() -> None:
    said: list[str] = []
    server = Server()

    @server.lifespan
    async def resources() -> AsyncIterator[None]:
        yield
        await trio.lowlevel.checkpoint()
        said.append("out")

    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return next(messages)

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        said.append(message["type"])

    await server({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert said == ["lifespan.startup.complete", "out", "lifespan.shutdown.complete"]


async def test_a_start_that_fails_starts_nothing() -> None:
    said: list[str] = []
    server = server_that_tells(said)

    @server.lifespan
    async def resources() -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        raise ConnectionError("the database is away")
        yield

    with pytest.raises(AssertionError, match="lifespan: ConnectionError: the database is away"):
        async with testing.serve(server):
            pytest.fail("it was started")
    assert said == []


@pytest.mark.expect_error_log
async def test_a_route_that_fails_to_start_leaves_it() -> None:
    said: list[str] = []
    server = Server()

    @server.lifespan
    async def resources() -> AsyncIterator[None]:
        said.append("in")
        try:
            yield
        finally:
            said.append("out")

    @server.app.before_serving
    async def before() -> None:
        raise ValueError("no template folder")

    with pytest.raises(AssertionError, match="startup failed: no template folder"):
        async with testing.serve(server):
            pytest.fail("it was started")
    assert said == ["in", "out"]


@pytest.mark.expect_error_log
async def test_a_cleanup_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()

    @server.lifespan
    async def resources() -> AsyncIterator[None]:
        yield
        raise ValueError("can't close")

    async with testing.serve(server):
        pass
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.getMessage() for each in errors] == ["lifespan: its cleanup failed"]
    assert "can't close" in caplog.text


async def test_it_may_hold_a_nursery(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(timing=Timing(grace=1))
    beats = 0

    @server.lifespan
    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat)
            yield
            nursery.cancel_scope.cancel()

    async with testing.serve(server):
        await trio.sleep(2.5)
    assert beats == 3


def test_one_lifespan_function_a_server() -> None:
    server = Server()

    @server.lifespan
    async def first() -> AsyncIterator[None]:
        yield

    with pytest.raises(ps.PipelineError, match=r"lifespan: there is one already, at .*\.py:"):
        server.lifespan(first)


async def with_an_argument(app: object) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (7, "decorates a function, not 7"),
        (with_an_argument, "called without arguments: missing a required argument: 'app'"),
    ],
)
def test_what_can_not_be_one_is_refused(function: Any, problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=problem) as refused:
        Server().lifespan(function)
    assert refused.value.where is not None
    assert refused.value.where.file == __file__


async def forgets_to_yield() -> None:
    pass


def test_a_function_that_gives_something_else_is_told_at_the_start() -> None:
    for function in (forgets_to_yield, lambda: 7):
        server = Server()
        server.lifespan(cast("Any", function))
        with pytest.raises(ps.PipelineError, match="no async context manager"):
            server.resources.open()
