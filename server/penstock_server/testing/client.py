"""A client of a server in memory: no socket, no wait that is not the server's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import quote

import trio

from penstock.wire import JSON

from ..server import Server
from .answer import Response, UnexpectedAnswer, next_piece, response_of
from .exchange import Exchange, Message, lifespan_scope, lone_errors, request_scope
from .stream import Events, Format
from .websocket import Subprotocol, WebSocket

_PATIENCE = 30.0
_NO_HEADERS: Mapping[str, str] = {}


class Client:
    """Says things to a server in memory. Made by `serve`.

    Waits that outlast the client's patience raise ``trio.TooSlowError``.

    Attributes:
        server: what it talks to.
    """

    def __init__(self, server: Server, nursery: trio.Nursery, patience: float) -> None:
        self.server = server
        self._nursery = nursery
        self._patience = patience

    async def get(self, path: str, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
        """The whole answer to a GET of ``/path?query``. For a stream, use `stream`."""
        return await self.request("GET", path, headers)

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
    ) -> Response:
        """The whole answer to any request."""
        async with self._open(method, path, headers, body) as (exchange, start):
            pieces: list[bytes] = []
            while (piece := await next_piece(exchange)) is not None:
                pieces.append(piece)
        return response_of(start, b"".join(pieces))

    async def publish(
        self,
        topic: str,
        value: object,
        event: str | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> str:
        """Publish one value over HTTP, as JSON; gives its cursor.

        Raises `UnexpectedAnswer` where the server refuses it.
        """
        named = {} if event is None else {"event-name": event}
        all_headers = {"content-type": "application/json", **named, **headers}
        target = f"/topics/{quote(topic)}"
        answer = await self.request("POST", target, all_headers, JSON.encode(value))
        if answer.status != 201:
            raise UnexpectedAnswer(answer)
        return str(answer.json()["last"])

    @asynccontextmanager
    async def stream(
        self,
        topic: str,
        after: str = "latest",
        format: Format = "sse",  # noqa: A002 - the parameter's name in the protocol
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> AsyncGenerator[Events]:
        """The events of a topic, for an ``async for``, until the block is left.

        It is entered once the server has answered: what is published then arrives. Raises
        `UnexpectedAnswer` for any status but 200.
        """
        target = f"/topics/{quote(topic)}?format={format}&after={quote(after)}"
        async with self._open("GET", target, headers, b"") as (exchange, start):
            if start["status"] != 200:
                raise UnexpectedAnswer(response_of(start, await next_piece(exchange) or b""))
            events = Events(exchange, format)
            await events.opened()
            yield events

    @asynccontextmanager
    async def websocket(
        self,
        subprotocol: Subprotocol = "penstock.v1.json",
        headers: Mapping[str, str] = _NO_HEADERS,
        path: str = "/ws",
    ) -> AsyncGenerator[WebSocket]:
        """A WebSocket, until the block is left. Raises `UnexpectedAnswer` where it is refused."""
        scope = request_scope("websocket", path, headers) | {"subprotocols": [subprotocol]}
        exchange = Exchange(self.server, scope, self._patience, [{"type": "websocket.connect"}])
        self._nursery.start_soon(exchange.run)
        try:
            answer = await exchange.hear()
            if answer is None or answer["type"] != "websocket.accept":
                raise UnexpectedAnswer(await _refusal(answer, exchange))
            yield WebSocket(exchange, answer["subprotocol"])
        finally:
            await exchange.leave()

    @asynccontextmanager
    async def _open(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncGenerator[tuple[Exchange, Message]]:
        scope = request_scope("http", target, headers) | {"method": method}
        request = [{"type": "http.request", "body": body, "more_body": False}]
        exchange = Exchange(self.server, scope, self._patience, request)
        self._nursery.start_soon(exchange.run)
        try:
            start = await exchange.hear()
            assert start is not None, "the application gave no response"
            yield exchange, start
        finally:
            await exchange.leave()


def serve(server: Server, *, patience: float = _PATIENCE) -> AbstractAsyncContextManager[Client]:
    """Run a server in memory while the block runs; gives a client of it.

    Leaving the block shuts the server down in order. Cancelled, or left by an error, everything is
    cancelled. Raises `AssertionError` where the server can't start.

    Args:
        server: a server that was not run yet.
        patience: seconds of Trio's clock that a client waits for the server at most, each time.
    """
    return _serve(server, patience)


@asynccontextmanager
async def _serve(server: Server, patience: float) -> AsyncGenerator[Client]:
    lifespan = Exchange(server, lifespan_scope(), patience)
    with lone_errors():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lifespan.run)
            await _pass_through(lifespan, "startup")
            yield Client(server, nursery, patience)
            await _pass_through(lifespan, "shutdown")


async def _pass_through(lifespan: Exchange, stage: str) -> None:
    await lifespan.say({"type": f"lifespan.{stage}"})
    answer = await lifespan.hear()
    if answer is None or answer["type"] != f"lifespan.{stage}.complete":
        said = "" if answer is None else answer.get("message", "")
        raise AssertionError(f"the server's {stage} failed: {said}")


async def _refusal(answer: Message | None, exchange: Exchange) -> Response:
    if answer is None or answer["type"] == "websocket.close":
        return Response(403, {}, b"")
    return response_of(answer, await next_piece(exchange) or b"")
