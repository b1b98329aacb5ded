"""The ASGI application: wires the hub, the transports and Quart. No globals.

The streams, publications and the WebSocket are raw ASGI handlers, because a stream through a web
framework's response objects costs several times as much a connection; everything else is Quart's,
and `Server.app` is there for routes of the user's own.
"""

from __future__ import annotations

import logging
import re
from itertools import compress
from math import ceil
from typing import Any

from quart_trio import QuartTrio

from .access_log import Answer
from .admission import Admission
from .compat_routes import CompatRoutes
from .connection_limits import limit_connections
from .grants import Grant
from .guarded_routes import current_grant, guard_routes
from .hub import Hub
from .hypercorn_guard import context_of
from .job_routes import JobRoutes
from .lifespan import Lifespan
from .operations import add_operations
from .resources import Resources
from .stats import server_stats, template_list, topic_list, topic_states
from .templates import RETRY_AFTER, TooManyTopics
from .topics import Topic
from .transports.asking import format_of
from .transports.http import (
    ClientGone,
    Headers,
    Problem,
    Receive,
    Request,
    Scope,
    Send,
    respond_empty,
    respond_problem,
)
from .transports.longpoll import page_topic
from .transports.publish import publish_to_topic
from .transports.streaming import stream_topic
from .transports.websocket import refuse_websocket, serve_websocket
from .watching import Watching, stream_wanted
from .web_files import add_web_files

logger = logging.getLogger("penstock.server")

# A name with a slash in it is unknown, and told so like any other.
_TOPIC_PATH = re.compile(r"/topics/(.+?)/?")
_ALLOWED = b"GET, HEAD, POST, OPTIONS"


class Application:
    """The ASGI callable behind `Server`.

    Args:
        hub: what is served.
        quart: the application for every other path.
        admission: who is let in.
        resources: what the pipelines share, for as long as the server lives.
    """

    def __init__(
        self, hub: Hub, quart: QuartTrio, admission: Admission, resources: Resources
    ) -> None:
        self._hub = hub
        self._quart = quart
        self._admission = admission
        self._jobs = JobRoutes(hub, admission)
        self._compat = CompatRoutes(hub, admission)
        self._watching = Watching(hub, admission)
        self._lifespan = Lifespan(hub, quart, admission, resources, self._watching)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan.run(scope, receive, send)
            return
        self._follow_shutdown(send)
        if scope["type"] == "websocket" and scope["path"] == "/ws":
            await self._websocket(scope, receive, send)
            return
        watch = stream_wanted(scope, receive)
        if watch is not None:
            await self._watching.answer(*watch, send)
            return
        if scope["type"] == "http" and self._jobs.serves(scope["path"]):
            await self._jobs.serve(Request(scope, receive), send)
            return
        if scope["type"] == "http" and self._compat.serves(scope["path"]):
            await self._compat.serve(Request(scope, receive), send)
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
            limit_connections(self._hub, context)
            context.on_terminated(self._hub.begin_drain)

    # Topics

    async def _topic(self, name: str, request: Request, send: Send) -> None:
        head = request.method == "HEAD"
        cors = self._admission.cors(request.scope)
        answer = Answer(request.scope, send)
        try:
            if request.method == "OPTIONS":
                await respond_empty(answer, 204, [(b"allow", _ALLOWED), *cors])
                return
            request.grant = await self._admit(name, request)
            topic = self._find(name)
            if request.method == "POST":
                with topic.held():
                    await publish_to_topic(self._hub, topic, request, answer, cors)
            else:
                await self._read(topic, request, send, cors)
        except Problem as problem:
            await respond_problem(answer, problem, cors, head=head)
        except ClientGone:
            return

    def _find(self, name: str) -> Topic[Any]:
        """The topic of this name. Raises `Problem`: 404, or 429 where there are too many."""
        try:
            topic = self._hub.find(name)
        except TooManyTopics as fault:
            detail = f"The template {fault}."
            retry_after = (b"retry-after", str(ceil(RETRY_AFTER)).encode())
            raise Problem(429, "Too Many Topics", detail, [retry_after]) from fault
        if topic is None:
            raise Problem(404, "Unknown Topic", f"There is no topic {name[:128]!r}.")
        return topic

    async def _admit(self, name: str, request: Request) -> Grant:
        """The rights of who may do this to a topic; whether there is one is not looked at.

        Raises `Problem`.
        """
        publishing = request.method == "POST"
        try:
            grant = await self._admission.admit(request.scope)
            if request.method not in ("GET", "HEAD", "POST"):
                raise Problem(
                    405,
                    "Method Not Allowed",
                    "A topic is read with GET and published to with POST.",
                    [(b"allow", _ALLOWED)],
                )
            may = grant.may_publish(name) if publishing else grant.may_subscribe(name)
            verb = "publish to" if publishing else "read"
            self._admission.require(grant, may, f"{verb} topic {name[:128]}")
        except Problem as problem:
            if publishing and problem.status in (401, 403):
                self._hub.counters.refused["forbidden"] += 1
            raise
        return grant

    async def _read(self, topic: Any, request: Request, send: Send, cors: Headers) -> None:
        format_ = format_of(request)
        if format_ == "json":
            with topic.held():
                await page_topic(self._hub, topic, request, Answer(request.scope, send), cors)
        else:
            await stream_topic(self._hub, topic, format_, request, send, cors)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            grant = await self._admission.admit(scope)
        except Problem as problem:
            await receive()
            await refuse_websocket(scope, send, problem)
        else:
            await serve_websocket(self._hub, scope, receive, send, grant)


def add_routes(quart: QuartTrio, hub: Hub, admission: Admission, title: str) -> None:
    """The routes that are Quart's: the lists, the health checks, the operations, the web files.

    Each endpoint's name begins with ``penstock_``: `guard_routes` asks for the rights.
    """
    guard_routes(quart, admission)

    async def topics() -> Any:
        def permitted(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
            grant = current_grant()
            names = (each["name"] for each in listed)
            rights = [grant.may_subscribe(name) or grant.may_publish(name) for name in names]
            return list(compress(listed, rights))

        return {
            "topics": permitted(topic_list(hub)),
            "templates": permitted(template_list(hub)),
        }

    async def stats() -> Any:
        return server_stats(hub)

    async def live() -> Any:
        return {"status": "live"}

    async def ready() -> Any:
        answer: dict[str, Any] = {"status": hub.status}
        if admission.is_open:  # else the topics' names are not for everybody; /stats has them
            answer["topics"] = topic_states(hub)
        return answer, 200 if hub.ready else 503

    quart.add_url_rule("/topics", "penstock_topics", topics)
    quart.add_url_rule("/stats", "penstock_stats", stats)
    quart.add_url_rule("/health/live", "penstock_live", live)
    quart.add_url_rule("/health/ready", "penstock_ready", ready)
    add_operations(quart, hub, title)
    add_web_files(quart)
