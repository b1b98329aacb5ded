"""The ASGI application: wires the hub, the transports and Quart. No globals.

The streams, publications and the WebSocket are raw ASGI handlers, because a stream through a web
framework's response objects costs several times as much a connection; everything else is Quart's,
and `Server.app` is there for routes of the user's own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Any

import trio
from quart import Response, request
from quart_trio import QuartTrio

from .hub import Hub
from .hypercorn_guard import context_of
from .pages import index_page
from .stats import server_stats, topic_list
from .transports.http import (
    ClientGone,
    Headers,
    Problem,
    Receive,
    Request,
    Scope,
    Send,
    header_of,
    respond_empty,
    respond_problem,
)
from .transports.longpoll import page_topic
from .transports.negotiation import NotAcceptable, choose
from .transports.origin import origin_allowed
from .transports.publish import publish_to_topic
from .transports.streaming import stream_topic
from .transports.websocket import refuse_websocket, serve_websocket

logger = logging.getLogger("penstock.server")

# A name with a slash in it is unknown, and told so like any other.
_TOPIC_PATH = re.compile(r"/topics/(.+?)/?")
_ALLOWED = b"GET, HEAD, POST, OPTIONS"
_CORS_HEADERS = b"Content-Type, Event-Name, Idempotency-Key, Last-Event-ID"


class Application:
    """The ASGI callable behind `Server`.

    Args:
        hub: what is served.
        quart: the application for every other path.
        origins: web origins whose pages may connect, besides same-origin ones; ``*`` for all.
    """

    def __init__(self, hub: Hub, quart: QuartTrio, origins: Collection[str]) -> None:
        self._hub = hub
        self._quart = quart
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        self._follow_shutdown(send)
        if scope["type"] == "websocket" and scope["path"] == "/ws":
            await self._websocket(scope, receive, send)
            return
        match = _TOPIC_PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if match is None:
            await self._quart(scope, receive, send)  # type: ignore[arg-type]  # ASGI has no common types
        else:
            await self._topic(match[1], Request(scope, receive), send)

    def _follow_shutdown(self, send: Send) -> None:
        """Hear of a shutdown when it begins: ASGI tells only when the connections are cut."""
        context = context_of(send)
        if context is not None:
            context.stall_timeout = self._hub.timing.stall_timeout
            context.on_terminated(self._hub.begin_drain)

    # Topics

    async def _topic(self, name: str, request: Request, send: Send) -> None:
        head = request.method == "HEAD"
        cors: Headers = []
        try:
            cors = self._check_origin(request)
            if request.method == "OPTIONS":
                await respond_empty(send, 204, [(b"allow", _ALLOWED), *cors])
                return
            topic = self._hub.topics.get(name)
            if topic is None:
                raise Problem(404, "Unknown Topic", f"There is no topic {name[:128]!r}.")
            if request.method == "POST":
                await publish_to_topic(self._hub, topic, request, send, cors)
            elif request.method in ("GET", "HEAD"):
                await self._read(topic, request, send, cors)
            else:
                raise Problem(
                    405,
                    "Method Not Allowed",
                    "A topic is read with GET and published to with POST.",
                    [(b"allow", _ALLOWED)],
                )
        except Problem as problem:
            await respond_problem(send, problem, cors, head=head)
        except ClientGone:
            return

    async def _read(self, topic: Any, request: Request, send: Send, cors: Headers) -> None:
        try:
            format_ = choose(request.header("accept"), request.query("format"))
        except NotAcceptable as fault:
            status = 400 if request.query("format") is not None else 406
            title = "Bad Parameter" if status == 400 else "Not Acceptable"
            raise Problem(status, title, f"{str(fault)[0].upper()}{str(fault)[1:]}.") from fault
        if format_ == "json":
            await page_topic(self._hub, topic, request, send, cors)
        else:
            await stream_topic(self._hub, topic, format_, request, send, cors)

    def _check_origin(self, request: Request) -> Headers:
        """The CORS headers of the answer. Raises `Problem` 403 for a page that may not publish."""
        origin = request.header("origin")
        if origin is None:
            return []
        listed = origin in self._origins or "*" in self._origins
        allowed = origin_allowed(
            origin, request.header("host"), request.scope.get("scheme", "http"), self._origins
        )
        if not allowed and request.method not in ("GET", "HEAD", "OPTIONS"):
            raise Problem(403, "Forbidden Origin", f"Pages of {origin[:200]} may not publish here.")
        if not listed:
            return []
        headers = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        if request.method == "OPTIONS":
            headers += [
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", _CORS_HEADERS),
                (b"access-control-max-age", b"600"),
            ]
        return headers

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = list(scope["headers"])
        origin = header_of(headers, "origin")
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        if origin_allowed(origin, header_of(headers, "host"), scheme, self._origins):
            await serve_websocket(self._hub, scope, receive, send)
            return
        await receive()
        problem = Problem(403, "Forbidden Origin", "Pages of this origin may not connect here.")
        await refuse_websocket(scope, send, problem)

    # Life

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the hub around Quart's own lifespan; drain it before Quart shuts down."""

        async def receive_after_drain() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._hub.begin_drain()
                await self._hub.drained()
            return message

        async with trio.open_nursery() as nursery:
            await nursery.start(self._hub.run)
            await self._quart(scope, receive_after_drain, send)  # type: ignore[arg-type]  # as above
            nursery.cancel_scope.cancel("the server has shut down")


def add_routes(quart: QuartTrio, hub: Hub, title: str) -> None:
    """The routes that are Quart's: the index page, the lists, and the health checks."""

    async def index() -> Response:
        page = index_page(title, topic_list(hub), request.host_url.rstrip("/"))
        return Response(page, content_type="text/html; charset=utf-8")

    async def topics() -> Any:
        return {"topics": topic_list(hub)}

    async def stats() -> Any:
        return server_stats(hub)

    async def live() -> Any:
        return {"status": "live"}

    async def ready() -> Any:
        states = {name: supervisor.state for name, supervisor in hub.supervisors.items()}
        return {"status": hub.status, "topics": states}, 200 if hub.ready else 503

    quart.add_url_rule("/", "penstock_index", index)
    quart.add_url_rule("/topics", "penstock_topics", topics)
    quart.add_url_rule("/stats", "penstock_stats", stats)
    quart.add_url_rule("/health/live", "penstock_live", live)
    quart.add_url_rule("/health/ready", "penstock_ready", ready)
