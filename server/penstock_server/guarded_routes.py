"""The rights that the server's own Quart routes need. The user's routes are the user's to guard.

What is not listed here needs ``operate``: a route that is added and forgotten is closed, not open.
"""

from __future__ import annotations

from typing import Any, cast

from quart import Response, request
from quart_trio import QuartTrio

from .admission import Admission
from .grants import Grant
from .transports.http import Problem, Scope

OWN = "penstock_"
"""How the endpoint of each of the server's own routes begins."""

_OPEN = frozenset(
    {
        "penstock_live",
        "penstock_ready",
        "penstock_index",
        "penstock_console",
        "penstock_client",
        "penstock_client_types",
    }
)
_FOR_ANY_TOKEN = frozenset({"penstock_topics", "penstock_asyncapi"})
_GRANT = "penstock.grant"


def guard_routes(quart: QuartTrio, admission: Admission) -> None:
    """Ask for the rights before each of the server's own routes, and answer with CORS headers."""

    async def admit() -> Response | None:
        endpoint = _own_endpoint()
        if endpoint is None or endpoint in _OPEN or request.method == "OPTIONS":
            return None
        try:
            grant = await admission.admit(_scope())
            if endpoint not in _FOR_ANY_TOKEN:
                admission.require(grant, grant.operate, "look into the server")
        except Problem as problem:
            return _problem_response(problem)
        _scope()[_GRANT] = grant
        return None

    async def finish(response: Any) -> Any:
        if _own_endpoint() is not None:
            for name, value in admission.cors(_scope()):
                response.headers.add(name.decode(), value.decode("latin-1"))
            if not admission.is_open:
                # The page's address may hold a token, and what it shows is not for everybody.
                response.headers.setdefault("Cache-Control", "no-store")
                response.headers.setdefault("Referrer-Policy", "no-referrer")
        return response

    quart.before_request(admit)
    quart.after_request(finish)


def current_grant() -> Grant:
    """The rights of the current request, in a route of the server's own that isn't open to all."""
    return cast("Grant", _scope()[_GRANT])


def _own_endpoint() -> str | None:
    endpoint = request.endpoint
    return endpoint if endpoint is not None and endpoint.startswith(OWN) else None


def _scope() -> Scope:
    return cast("Scope", request.scope)


def _problem_response(problem: Problem) -> Response:
    response = Response(problem.body(), problem.status, content_type="application/problem+json")
    for name, value in problem.headers:
        response.headers.add(name.decode(), value.decode("latin-1"))
    return response
