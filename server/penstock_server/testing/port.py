"""A server under Hypercorn in the test's own Trio loop, reached over a real socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial

import trio

from ..commands import hypercorn_config, lifespan_failure
from ..server import Server, install_guard
from .exchange import lone_errors

_START_TIMEOUT = 30.0


def serve_on_port(server: Server) -> AbstractAsyncContextManager[str]:
    """Serve on a free port of the loopback interface while the block runs; gives the URL.

    Clients must be asynchronous ones for Trio, or run in threads or processes of their own: they
    share the loop with the server. Leaving the block drains the server as SIGTERM would, which
    takes its grace at most: clients that are still connected are told. Not for a clock that
    autojumps.

    Raises `AssertionError` where the server can't start.
    """
    return _serve_on_port(server)


@asynccontextmanager
async def _serve_on_port(server: Server) -> AsyncGenerator[str]:
    # Its type knows WSGI's dict without parameters.
    from hypercorn.trio import serve as hypercorn_serve  # pyright: ignore[reportUnknownVariableType]

    install_guard()
    hub = server.hub
    leaving = trio.Event()
    config = hypercorn_config(server, "127.0.0.1", 0)
    config.graceful_timeout = hub.timing.grace / 2  # the producers have the other half

    async def drain() -> None:
        await leaving.wait()
        hub.begin_drain()
        await hub.producers_ended()

    with _start_errors(), lone_errors():
        async with trio.open_nursery() as nursery:
            run = partial(hypercorn_serve, server, config, shutdown_trigger=drain)
            with trio.fail_after(_START_TIMEOUT):
                binds: list[str] = await nursery.start(run)
                await hub.all_started.wait()
            yield binds[0]
            leaving.set()


@contextmanager
def _start_errors() -> Generator[None]:
    """Say plainly that the server's own start failed, whatever Hypercorn makes of it."""
    try:
        yield
    except BaseException as error:
        failure = lifespan_failure(error)
        if failure is None:
            raise
    else:
        return
    raise AssertionError(f"the server's startup failed: {failure}")
