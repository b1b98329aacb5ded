"""What the HTTP handlers share: reading a request, answering it, and problems (RFC 9457)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import msgspec
import trio

from ..grants import UNRESTRICTED, Grant

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class Problem(Exception):
    """An answer that says what is wrong with the request.

    Attributes:
        status: the HTTP status.
        title: the short name of the problem, the same each time.
        detail: what was wrong this time and how to mend it.
        headers: further headers of the answer.
        more: further members of the problem's body.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        headers: Headers = (),
        **more: object,
    ) -> None:
        super().__init__(status, title, detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers
        self.more = more

    def body(self) -> bytes:
        """The body, ``application/problem+json``."""
        members = {"type": "about:blank", "title": self.title, "status": self.status}
        return msgspec.json.encode({**members, "detail": self.detail, **self.more})


class ClientGone(Exception):
    """The client went away before its request was whole."""


class Request:
    """An ASGI HTTP scope, read."""

    __slots__ = ("_headers", "_query", "_receive", "grant", "method", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.grant: Grant = UNRESTRICTED
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._query: dict[str, list[str]] | None = None

    def header(self, name: str) -> str | None:
        """A header's value; several of one name are joined by commas (RFC 9110 section 5.3)."""
        return header_of(self._headers, name)

    def query(self, name: str) -> str | None:
        """A query parameter; the last one of that name."""
        if self._query is None:
            raw: bytes = self.scope.get("query_string", b"")
            self._query = parse_qs(raw.decode("latin-1"), keep_blank_values=True)
        values = self._query.get(name)
        return values[-1] if values else None

    @property
    def client(self) -> str:
        """The peer's address, "" where the server doesn't say."""
        return client_of(self.scope)

    async def body(
        self,
        limit: int,
        timeout: float,  # noqa: ASYNC109 - becomes a 408
        what: str = "A body",
    ) -> bytes:
        """The whole body; `what` it is begins the problem's sentence.

        Raises `Problem` 413 over `limit` bytes and 408 after `timeout` seconds, and `ClientGone`.
        """
        too_large = Problem(
            413, "Content Too Large", f"{what} is at most {limit} bytes.", limit=limit
        )
        length = self.header("content-length")
        if length is not None and length.isascii() and length.isdigit() and int(length) > limit:
            raise too_large
        parts: list[bytes] = []
        size = 0
        with trio.move_on_after(timeout):
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise too_large
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
        raise Problem(408, "Request Timeout", f"The body took longer than {timeout:g} seconds.")

    async def disconnected(self) -> None:
        """Wait until the client has gone, reading and dropping what it still sends."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return

    async def while_there(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Do something as long as the client is there; False where it has gone, which cancels it.

        What it still sends is read and dropped. What the work raises comes out in an
        ``ExceptionGroup``.
        """
        gone = False
        async with trio.open_nursery() as nursery:

            async def watch_client() -> None:
                nonlocal gone
                await self.disconnected()
                gone = True
                nursery.cancel_scope.cancel("the client has gone")

            nursery.start_soon(watch_client)
            await work()
            nursery.cancel_scope.cancel("the work is done")
        return not gone


def header_of(headers: Headers, name: str) -> str | None:
    """A header's value by its lower-case name."""
    wanted = name.encode("latin-1")
    values = [value.decode("latin-1") for key, value in headers if key.lower() == wanted]
    return ", ".join(values) if values else None


def client_of(scope: Scope) -> str:
    """The peer's address as text."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


async def respond(
    send: Send, status: int, headers: Headers, body: bytes, *, head: bool = False
) -> None:
    """Send a whole answer; for HEAD without its body."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def respond_empty(send: Send, status: int, headers: Headers) -> None:
    """Answer without content; 204 has no Content-Length (RFC 9110 section 8.6)."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


async def respond_json(
    send: Send, status: int, value: object, headers: Headers = (), *, head: bool = False
) -> None:
    """Answer with JSON."""
    content = (b"content-type", b"application/json")
    body = msgspec.json.encode(value)
    await respond(send, status, [content, *headers], body, head=head)


async def respond_problem(
    send: Send, problem: Problem, headers: Headers = (), *, head: bool = False
) -> None:
    """Answer with a problem; `headers` are those of any answer to this request."""
    content = (b"content-type", b"application/problem+json")
    all_headers = [content, *problem.headers, *headers]
    await respond(send, problem.status, all_headers, problem.body(), head=head)
