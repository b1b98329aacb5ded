"""What every HTTP client here needs: URLs, bodies whole and to their end, codings, media types."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import urlsplit

import httpx
import trio

from .losses import Refused

TOPIC_URL = "http://127.0.0.1:8000/topics/NAME"
"""What the URL of a topic is like, for those who gave another."""

_MAX_SHORT_BYTES = 64 * 1024


def parsed_url(url: str, like: str = TOPIC_URL) -> httpx.URL:
    """An HTTP URL with a host.

    Raises `Refused` for anything else; its words go behind the name of what was given.
    """
    try:
        _ = urlsplit(url).port  # stricter about hosts and ports
        parsed = httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise Refused(f"is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Refused(f"must be like {like}")
    return parsed


# Requests


def in_one_piece(request: httpx.Request) -> httpx.Request:
    """The same request, made of bytes, that leaves nothing behind where the connection breaks.

    httpx sends bytes through an async generator, and leaves that to the garbage collector, with a
    warning, where the connection breaks before they are sent.
    """
    request.stream = _WholeBody(request.content)
    return request


class _WholeBody(httpx.AsyncByteStream):
    """A body that can be sent again, as redirects and further attempts do."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __aiter__(self) -> _Once:
        return _Once(self._body)


class _Once:
    def __init__(self, body: bytes) -> None:
        self._left = [body]

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


# Answers


async def pieces_of(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The decoded body as it comes; to be closed. Cancelled, nothing is left open."""
    pieces = response.aiter_bytes()
    try:
        async for piece in pieces:
            yield piece
    finally:
        # httpx reads through nested async generators, and closing the outermost leaves the others
        # to the garbage collector. A cancellation that comes from the innermost ends them all.
        with trio.CancelScope() as scope:
            scope.cancel("nobody reads on")
            async for _ in pieces:
                continue


async def short_body(response: httpx.Response) -> bytes:
    """The body, at most 64 KiB; nothing where it is longer. Raises `httpx.RequestError`."""
    if int(response.headers.get("Content-Length") or 0) > _MAX_SHORT_BYTES:
        return b""
    body = b""
    async with aclosing(pieces_of(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > _MAX_SHORT_BYTES:
                return b""
    return body


def unasked_coding(response: httpx.Response) -> str:
    """As what the body is compressed that was not asked for; "" where it isn't."""
    asked = _codings(response.request.headers.get("Accept-Encoding", ""))
    given = _codings(response.headers.get("Content-Encoding", ""))
    return ", ".join(sorted(given - asked - {"", "identity"}))[:80]


def _codings(header: str) -> set[str]:
    return {each.partition(";")[0].strip().lower() for each in header.split(",")}


def media_type_of(response: httpx.Response) -> str:
    """The media type without its parameters, in small letters; "" where there is none."""
    given: str = response.headers.get("Content-Type", "")
    return given.partition(";")[0].strip().lower()
