"""What is wrong, in the words of OpenAI's API: ``{"error": {"message", "type", …}}``. Pure.

Source: OpenAI API reference, "Error codes"; the types and codes are those that its own clients, and
programs written for it, look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES = {403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    401: "invalid_api_key",
    403: "insufficient_permissions",
    413: "content_too_large",
    429: "rate_limit_exceeded",
    503: "server_unavailable",
}


class BadChatRequest(Exception):
    """A request that can't be served as it is.

    Attributes:
        message: what is wrong, and how to mend it.
        param: the field that is meant, as in ``messages[0].role``; None for the whole.
        code: a word for programs.
        status: the HTTP status.
    """

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message, param, code, status)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


def error_of(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The error for an HTTP status; with `code`, that instead of the usual word."""
    usual = "server_error" if status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(status, usual),
            "param": param,
            "code": code or _CODES.get(status),
        }
    }


def error_of_problem(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the problem that a run has ended with (RFC 9457)."""
    code = problem.get("code")
    return error_of(problem["status"], problem["detail"], code=code)
