"""What an HTTP answer means to a reader, before its body is read."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

import httpx

from ..failures import detail_of, may_pass, status_line, system_error
from ..http import short_body, unasked_coding
from ..losses import ConnectionLost, Refused
from ..waiting import retry_after_seconds
from .resuming import AlreadyFinished


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
    temporary = may_pass(status)
    if not temporary:
        detail = detail_of(await short_body(response))
        temporary = status == HTTPStatus.BAD_REQUEST and asked_before and not detail
    if temporary:
        pause = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
        raise ConnectionLost(f"the server answered {_status(response)}", pause)
    raise Refused(f"{_status(response)}{detail}", status)


def require_asked_coding(response: httpx.Response) -> None:
    """Demand that the body is compressed as was asked for, if it is. Raises `Refused`."""
    unasked = unasked_coding(response)
    if unasked:
        raise Refused(f"the answer is compressed as {unasked}, which was not asked for")


def problem_of(error: httpx.RequestError) -> str:
    """What went wrong with a request, in words."""
    if isinstance(error, httpx.ReadTimeout):
        return "the server has been silent for too long"
    return system_error(error)


def _status(response: httpx.Response) -> str:
    phrase = response.reason_phrase  # which HTTP/2 has none of
    return f"{response.status_code} {phrase}" if phrase else status_line(response.status_code)
