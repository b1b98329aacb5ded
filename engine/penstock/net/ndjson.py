"""Reading a topic as ``application/x-ndjson``: a message a line, over httpx."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

import httpx
import trio

from penstock._backoff import Backoff
from penstock._errors import flatten
from penstock.wire import JSON, Undecodable

from .resuming import AlreadyFinished, ConnectionLost, Loss, Message, Refused, read_resuming

MEDIA_TYPE = "application/x-ndjson"
MAX_LINE_BYTES = 16 * 1024 * 1024

# A server says something every 15 s: silence four times as long is a dead connection.
_TIMEOUTS = httpx.Timeout(10.0, read=60.0)
_MAX_ERROR_BYTES = 64 * 1024
_TEMPORARY = (408, 425, 429)


async def read_topic(
    send: Callable[[Message], Awaitable[object]],
    url: str,
    *,
    after: str | None = None,
    backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    on_loss: Callable[[Loss], object] = lambda _: None,
    chance: Callable[[], float] = random.random,
) -> None:
    """Send the messages of the topic at ``url`` until its log is finished, reconnecting as needed.

    See `read_resuming` for the parameters. Raises `Refused` for what no further attempt can mend:
    a URL that isn't one, a status from 400 to 499 other than 408, 425 and 429, another media type.
    """
    async with httpx.AsyncClient(timeout=_TIMEOUTS, follow_redirects=True) as client:
        await read_resuming(
            partial(_connect, client, _parsed(url)),
            send,
            after=after,
            backoff=backoff,
            on_loss=on_loss,
            chance=chance,
        )


class LineDecoder:
    """Bytes to messages, a line each. A last line without a line end is not a message yet."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete, each decoded when it is asked for.

        Raises `ConnectionLost` for a line that is too long, and in its turn for one that says no
        message: what a proxy or a cut has mangled is read again.
        """
        head, line_end, rest = data.partition(b"\n")
        self._hold(head)
        if not line_end:
            return iter(())
        *lines, last = [b"".join(self._pieces), *rest.split(b"\n")]
        self._pieces, self._held = [], 0
        self._hold(last)
        return map(_message, [line for line in lines if line and not line.isspace()])

    def _hold(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._held > self._max_line_bytes:
            raise ConnectionLost(f"the server sent a line of over {self._max_line_bytes:,} bytes")
        self._pieces.append(piece)


def retry_after_seconds(value: str | None, now: datetime) -> float:
    """The seconds that a ``Retry-After`` asks for (RFC 9110, 10.2.3), 0 where it says nothing."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    # A date without a zone is in GMT, as every HTTP date is.
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _message(line: bytes) -> Message:
    try:
        value, *more = JSON.decode_frame(line)
    except (Undecodable, ValueError) as error:
        raise ConnectionLost(f"the server sent a line that is no message: {error}") from error
    if more or not isinstance(value, dict):
        raise ConnectionLost("the server sent a line that is no message: not a map")
    message = cast("Message", value)
    if not isinstance(message.get("type"), str):
        raise ConnectionLost("the server sent a message without a type")
    return message


def _parsed(url: str) -> httpx.URL:
    try:
        urlsplit(url)  # stricter about hosts
        parsed = httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise Refused(f"not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Refused("not the URL of a topic, which is like http://127.0.0.1:8000/topics/NAME")
    return parsed


@asynccontextmanager
async def _connect(
    client: httpx.AsyncClient, url: httpx.URL, after: str | None
) -> AsyncGenerator[AsyncIterator[Message], None]:
    target = url if after is None else url.copy_set_param("after", after)
    try:
        async with client.stream("GET", target, headers={"Accept": MEDIA_TYPE}) as response:
            await _require_stream(response)
            async with aclosing(_messages(response)) as messages:
                yield messages
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
        raise Refused(str(error)) from error
    except httpx.RequestError as error:
        raise ConnectionLost(_problem(error)) from error


async def _messages(response: httpx.Response) -> AsyncGenerator[Message, None]:
    decoder = LineDecoder()
    async with aclosing(_pieces(response)) as pieces:
        async for piece in pieces:
            for message in decoder.feed(piece):
                yield message


async def _pieces(response: httpx.Response) -> AsyncGenerator[bytes, None]:
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


async def _require_stream(response: httpx.Response) -> None:
    status = response.status_code
    if status == HTTPStatus.NO_CONTENT:
        raise AlreadyFinished
    if status in _TEMPORARY or response.is_server_error:
        pause = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
        raise ConnectionLost(f"the server answered {_status(response)}", pause)
    if status != HTTPStatus.OK:
        raise Refused(f"{_status(response)}{await _detail(response)}", status)
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        given = media_type or "without a type"
        raise Refused(f"not a topic of a penstock server: the answer is {given}, not {MEDIA_TYPE}")


def _status(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


async def _detail(response: httpx.Response) -> str:
    """``: no such topic``, of a problem document (RFC 9457), where there is one."""
    if int(response.headers.get("Content-Length") or 0) > _MAX_ERROR_BYTES:
        return ""
    body = b""
    async with aclosing(_pieces(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > _MAX_ERROR_BYTES:
                return ""
    try:
        problem = JSON.decode_value(body)
    except Undecodable:
        return ""
    members = cast("dict[str, object]", problem) if isinstance(problem, dict) else {}
    said = members.get("detail") or members.get("title")
    return f": {said}" if isinstance(said, str) else ""


def _problem(error: BaseException) -> str:
    """What the system says of a failed connection, which httpx wraps several times."""
    seen: list[BaseException] = [error]
    for each in seen:
        if isinstance(each, OSError) and each.errno:
            # Trio puts the address into strerror; an error of name look-up has a number below 0.
            return os.strerror(each.errno) if each.errno > 0 else str(each.strerror)
        causes = (each.__cause__, each.__context__, *flatten(each))
        seen += [cause for cause in causes if cause is not None and cause not in seen]
    return str(error) or type(error).__name__
