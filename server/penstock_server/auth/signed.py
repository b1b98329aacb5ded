"""Signed tokens, read: the one place that calls PyJWT. Pure, but for the clock.

For any text at all: it gives claims, or raises `Unauthorized`, never anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt

from .keys import VerifyingKey
from .refusals import Unauthorized

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidAudienceError, "The token is for another audience."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.InvalidSignatureError, "The token's signature is not right."),
)
_UNREADABLE = "The token can't be read."
# What the standard library's base64 and JSON, and numbers without sense, can lead to.
_JUNK = (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token's claims must be.

    Attributes:
        audience: what ``aud`` must name one of; None for tokens without an audience.
        issuer: what ``iss`` must be one of; None for any.
        leeway: seconds by which clocks may differ.
        required: claims that must be there.
    """

    audience: tuple[str, ...] | None
    issuer: tuple[str, ...] | None
    leeway: float
    required: tuple[str, ...]


def key_wanted(token: str) -> tuple[str | None, str]:
    """The key's name and the algorithm that an unverified token asks for. Raises `Unauthorized`."""
    try:
        header = jwt.get_unverified_header(token)
    except _JUNK:
        raise Unauthorized(_UNREADABLE) from None
    kid, algorithm = header.get("kid"), header.get("alg")
    if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
        raise Unauthorized(_UNREADABLE)
    return kid, algorithm


def read_claims(token: str, key: VerifyingKey, expected: Expected) -> dict[str, Any]:
    """The claims of a token that `key` has signed. Raises `Unauthorized`."""
    try:
        return jwt.decode(
            token,
            key.key,
            algorithms=list(key.algorithms),
            audience=expected.audience,
            issuer=expected.issuer,
            leeway=expected.leeway,
            options={"require": list(expected.required)},
        )
    except jwt.MissingRequiredClaimError as fault:
        raise Unauthorized(f"The token lacks the claim {fault.claim}.") from None
    except _JUNK as fault:
        raise Unauthorized(_reason(fault)) from None


def _reason(fault: Exception) -> str:
    return next((text for kind, text in _REASONS if isinstance(fault, kind)), _UNREADABLE)
