"""What went wrong, in words: of the operating system's errors, and of a server's answers. Pure."""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus
from typing import cast

from penstock._errors import flatten
from penstock.wire import JSON, Undecodable

TEMPORARY_CODES = ("limit", "unavailable", "rate_limited")
"""The protocol's error codes that may pass; all others are for good."""

_TEMPORARY = (408, 425, 429)
_LONGEST = 300  # characters of a server's that are shown


def system_error(error: BaseException) -> str:
    """What the system says of a failed connection, which libraries wrap several times."""
    distrust = _distrust(error)
    if distrust is not None:
        return distrust
    for each in _with_causes(error):
        if isinstance(each, ssl.SSLError):  # an OSError, with numbers of its own
            return str(each.reason or each)
        if isinstance(each, OSError) and each.errno:
            # Trio puts the address into strerror; an error of name look-up has a number below 0.
            return os.strerror(each.errno) if each.errno > 0 else str(each.strerror)
    return str(error) or type(error).__name__


def untrusted(
    error: BaseException, remedy: str = "ssl_context= takes a context that trusts it"
) -> str | None:
    """That the server's certificate is not trusted, where that is what went wrong, and a remedy."""
    distrust = _distrust(error)
    return f"{distrust}; {remedy}" if distrust else None


def _distrust(error: BaseException) -> str | None:
    for each in _with_causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the server's certificate is not trusted: {each.verify_message}"
    return None


def _with_causes(error: BaseException) -> list[BaseException]:
    """The error, and what it came from, the nearest first."""
    seen: list[BaseException] = [error]
    for each in seen:
        causes = (each.__cause__, each.__context__, *flatten(each))
        seen += [cause for cause in causes if cause is not None and cause not in seen]
    return seen


def status_line(status: int) -> str:
    """``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def may_pass(status: int) -> bool:
    """Whether another attempt may be answered better than with this status."""
    return status in _TEMPORARY or status >= 500


def with_code(message: str, code: str) -> str:
    """``no room (limit)``: an error message of the protocol's, cut short."""
    return f"{message[:_LONGEST]} ({code[:40]})"


def problem_in(body: bytes) -> dict[str, object]:
    """The members of a problem document (RFC 9457); none where the body is no such document."""
    try:
        problem = JSON.decode_value(body)
    except Undecodable:
        return {}
    return cast("dict[str, object]", problem) if isinstance(problem, dict) else {}


def with_detail(status: int, detail: str) -> str:
    """``422 Unprocessable Entity: no number``, cut short."""
    return f"{status_line(status)}: {detail[:_LONGEST]}"


def detail_of(body: bytes) -> str:
    """``: no such topic``, of a problem document, where there is one."""
    problem = problem_in(body)
    said = problem.get("detail") or problem.get("title")
    return f": {said[:_LONGEST]}" if isinstance(said, str) else ""
