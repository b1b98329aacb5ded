"""The ASGI lifespan: what is started before the first request, and ended after the last, in order.

In: the user's `Server.lifespan`, the hub with its pipelines, Quart's own. Out: the drain, Quart's
own, the hub, the user's. The ASGI server is told that all is over only then: it would cancel the
rest.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Any

import trio

from .admission import Admission
from .hub import Hub
from .resources import Resources
from .transports.http import Receive, Scope, Send
from .watching import Watching
from .workers import SEVERAL_WORKERS, workers_of

logger = logging.getLogger("penstock.server")


class Lifespan:
    """Runs a server between the ASGI lifespan's startup and shutdown.

    Args:
        hub: what is run.
        inner: the application whose own lifespan lies within ours.
        admission: what is to be kept up to date of who is let in.
        resources: what the pipelines share.
        watching: what tells of the hub.
    """

    def __init__(
        self,
        hub: Hub,
        inner: Any,
        admission: Admission,
        resources: Resources,
        watching: Watching,
    ) -> None:
        self._hub = hub
        self._inner = inner
        self._admission = admission
        self._resources = resources
        self._watching = watching

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan scope. Cancelled, everything is cancelled with its cleanup."""
        workers = workers_of(send)
        if workers > 1:
            logger.error("%d workers: %s", workers, SEVERAL_WORKERS)
            await _refuse_to_start(receive, send, SEVERAL_WORKERS)
            return
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._resources.open())
            except Exception as error:
                logger.debug("the lifespan function failed", exc_info=error)
                await _refuse_to_start(receive, send, f"lifespan: {_said(error)}")
                return
            over = await self._run_hub(scope, receive, send)
            try:
                await stack.aclose()
            except Exception:
                logger.exception("lifespan: its cleanup failed")
            if over is not None:
                await send(over)

    async def _run_hub(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Run until the drain is over; gives what the ASGI server is to be told at the very end."""
        over: Any = None

        async def receive_after_drain() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._hub.begin_drain()
                await self._hub.drained()
            return message

        async def send_what_is_not_last(message: Any) -> None:
            nonlocal over
            if message["type"] == "lifespan.shutdown.complete":
                over = message
                return
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._hub.all_started.set()

        async with trio.open_nursery() as nursery:
            await nursery.start(self._hub.run)
            nursery.start_soon(self._admission.run)
            nursery.start_soon(self._watching.run)
            await self._inner(scope, receive_after_drain, send_what_is_not_last)
            nursery.cancel_scope.cancel("the server has shut down")
        return over


async def _refuse_to_start(receive: Receive, send: Send, why: str) -> None:
    """End the start: an exception would only tell the ASGI server that we have no lifespan."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": why})


def _said(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
