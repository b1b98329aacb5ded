"""WebSocket close codes, and which of them a client answers by connecting again."""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a WebSocket was closed (RFC 6455 section 7.4; from 3000 on, our own)."""

    GOING_AWAY = 1001
    WRONG_FRAME_KIND = 1003
    UNDECODABLE = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    OVERLOAD = 1013
    TOO_SLOW = 3008
    TOKEN_EXPIRED = 4401


_NORMAL_CLOSURE = 1000

_FINAL = frozenset(
    {
        _NORMAL_CLOSURE,  # both sides meant it
        CloseCode.WRONG_FRAME_KIND,  # the client would make the same mistake again
        CloseCode.UNDECODABLE,
        CloseCode.POLICY,
        CloseCode.TOO_BIG,
        CloseCode.TOKEN_EXPIRED,  # the same token would be refused again
    }
)


def may_reconnect(code: int) -> bool:
    """Whether a client whose connection closed with `code` connects again by itself.

    A code that nobody knows counts as an accident, as does 1006 (closed without a code).
    """
    return code not in _FINAL
