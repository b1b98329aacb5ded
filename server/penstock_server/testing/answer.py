"""What a server answers over HTTP: the whole of it, or piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.wire import JSON

from .exchange import Exchange, Message


class UnexpectedAnswer(AssertionError):
    """The server answered something else than was asked for.

    Attributes:
        response: the answer.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(f"status {response.status}: {response.text[:500]}")
        self.response = response


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer over HTTP.

    Attributes:
        status: the HTTP status.
        headers: by lower-case name.
        body: the content.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The content as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The content, decoded from JSON."""
        return JSON.decode_value(self.body)


async def next_piece(exchange: Exchange) -> bytes | None:
    """The next piece of a body; None after the last."""
    while True:
        message = await exchange.hear()
        if message is None:
            return None
        body: bytes = message.get("body", b"")
        if body:
            return body


def response_of(start: Message, body: bytes) -> Response:
    """The answer that began with this message and has this body."""
    headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Response(start["status"], headers, body)
