"""What every HTTP client here needs: bodies to their end, statuses, ``Retry-After``, problems."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
import trio

from .failures import detail_of, status_line, system_error
from .losses import AlreadyFinished, ConnectionLost, Refused

_MAX_ERROR_BYTES = 64 * 1024
_TEMPORARY = (408, 425, 429)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?")


def parsed_url(url: str) -> httpx.URL:
    """An HTTP URL with a host. Raises `Refused` for anything else."""
    try:
        urlsplit(url)  # stricter about hosts
        parsed = httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise Refused(f"not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Refused("not the URL of a topic, which is like http://127.0.0.1:8000/topics/NAME")
    return parsed


def header_problem(name: str, value: str) -> str | None:
    """Why this can't be a header (RFC 9110, 5.5), where it can't. It doesn't say the value."""
    if _HEADER_NAME.fullmatch(name) is None:
        return f"{name[:80]!r} is no name of a header"
    if _HEADER_VALUE.fullmatch(value) is None:
        return f"the value of {name} must be printable ASCII on one line"
    return None


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


async def require_success(response: httpx.Response, *, asked_before: bool = False) -> None:
    """Pass a 200, and a 201, on.

    `asked_before` says that the same request has been answered well already. Then a 400 that isn't
    explained comes of a request that was cut short on its way, and may pass.

    Raises `AlreadyFinished` for 204, `ConnectionLost` for a status that may pass (408, 425, 429 and
    5xx) with its ``Retry-After``, and `Refused`, with the problem's words, for any other.
    """
    status = response.status_code
    if status == HTTPStatus.NO_CONTENT:
        raise AlreadyFinished
    if status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return
    detail = ""
    temporary = status in _TEMPORARY or response.is_server_error
    if not temporary:
        detail = await _detail(response)
        temporary = status == HTTPStatus.BAD_REQUEST and asked_before and not detail
    if temporary:
        pause = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
        raise ConnectionLost(f"the server answered {_status(response)}", pause)
    raise Refused(f"{_status(response)}{detail}", status)


def require_asked_coding(response: httpx.Response) -> None:
    """Demand that the body is compressed as was asked for, if it is. Raises `Refused`."""
    asked = {
        each.partition(";")[0].strip().lower()
        for each in response.request.headers.get("Accept-Encoding", "").split(",")
    }
    given = {
        each.strip().lower() for each in response.headers.get("Content-Encoding", "").split(",")
    }
    unasked = ", ".join(sorted(given - asked - {"", "identity"}))
    if unasked:
        raise Refused(f"the answer is compressed as {unasked[:80]}, which was not asked for")


def problem_of(error: httpx.RequestError) -> str:
    """What went wrong with a request, in words."""
    if isinstance(error, httpx.ReadTimeout):
        return "the server has been silent for too long"
    return system_error(error)


def _status(response: httpx.Response) -> str:
    phrase = response.reason_phrase  # which HTTP/2 has none of
    return f"{response.status_code} {phrase}" if phrase else status_line(response.status_code)


async def _detail(response: httpx.Response) -> str:
    """``: no such topic``, of a problem document (RFC 9457), where there is one."""
    if int(response.headers.get("Content-Length") or 0) > _MAX_ERROR_BYTES:
        return ""
    body = b""
    async with aclosing(pieces_of(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > _MAX_ERROR_BYTES:
                return ""
    return detail_of(body)
