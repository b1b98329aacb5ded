"""The routes for those who run the server, and the access log of every route that is Quart's."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import trio
from quart import Response, g, request
from quart_trio import QuartTrio

import penstock as ps

from . import access_log
from .asyncapi import Address, Topic, asyncapi_document
from .grants import UNRESTRICTED, Grant
from .guarded_routes import current_grant
from .hub import Hub
from .metrics import Metrics
from .topics import Topic as ServedTopic
from .transports.http import Scope, client_of


def add_operations(quart: QuartTrio, hub: Hub, title: str) -> None:
    """Add ``/metrics`` and ``/asyncapi.json``, and note what `quart` answers in the access log."""
    metrics = Metrics(hub)

    async def metrics_text() -> Response:
        text, kind = await metrics.render(request.headers.get("accept", ""))
        return Response(text, content_type=kind)

    async def asyncapi() -> Response:
        document = asyncapi_document(
            title,
            ps.__version__,
            Address(request.host, secure=request.scheme in ("https", "wss")),
            described_topics(hub, current_grant()),
            None if hub.auth is None else hub.auth.security_schemes(),
        )
        return Response(msgspec.json.encode(document), content_type="application/json")

    quart.add_url_rule("/metrics", "penstock_metrics", metrics_text)
    quart.add_url_rule("/asyncapi.json", "penstock_asyncapi", asyncapi)
    _log_answers(quart)


def described_topics(hub: Hub, grant: Grant = UNRESTRICTED) -> list[Topic]:
    """The topics as they were declared that a client has a right to: a template once, and none of
    its instances.
    """
    topics: list[ServedTopic[Any]] = [
        *(topic for topic in hub.topics.values() if topic.template is None),
        *hub.catalogue.templates.values(),
    ]
    return [
        Topic(topic.name, topic.schema, topic.publishable, topic.encoding == "text")
        for topic in topics
        if grant.may_subscribe(topic.name) or grant.may_publish(topic.name)
    ]


def _log_answers(quart: QuartTrio) -> None:
    """Note each answer when it begins; the body of a route of the user's may still be to come."""

    async def begin() -> None:
        g.penstock_began = trio.current_time()

    async def end(response: Response) -> Response:
        if access_log.is_on():
            length = response.headers.get("content-length", type=int)
            access_log.answered(
                request.method,
                request.path,
                response.status_code,
                client=client_of(cast("Scope", request.scope)),
                seconds=trio.current_time() - g.get("penstock_began", trio.current_time()),
                size=length or 0,
            )
        return response

    quart.before_request(begin)
    quart.after_request(end)
