"""Where a request's token is found (RFC 6750 and the protocol, section 9). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl

COOKIE = "penstock_token"
"""The cookie that may hold the token."""

QUERY = "token"
"""The query parameter that may hold the token, where the configuration allows it."""

MAX_TOKEN = 10_240
"""The most characters of a token."""

Source: TypeAlias = Literal["header", "cookie", "query"]

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class MalformedCredentials(ValueError):
    """There is a token, but not one that can be taken; its text says why and holds none of it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, and how it came.

    Attributes:
        token: the token itself; not in the ``repr``.
        source: which place of the request it is from. A browser sends cookies by itself, for
            whatever page asks; the others only a program can send that has the token.
    """

    token: str = field(repr=False)
    source: Source


def find_credentials(
    headers: Headers, query_string: bytes, *, query_token: bool
) -> Credentials | None:
    """The request's token; None where it has none. The header wins, then the cookie.

    `query_token` says whether ``?token=`` counts. An ``Authorization`` of another scheme is a
    proxy's or another application's, and passed over. Raises `MalformedCredentials`.
    """
    if (token := _bearer(headers)) is not None:
        return Credentials(_checked(token), "header")
    if (token := _cookie(headers)) is not None:
        return Credentials(_checked(token), "cookie")
    if query_token and (token := _query(query_string)) is not None:
        return Credentials(_checked(token), "query")
    return None


def _bearer(headers: Headers) -> str | None:
    given = [value for name, value in headers if name.lower() == b"authorization"]
    if len(given) > 1:
        raise MalformedCredentials("The request has more than one Authorization header.")
    if not given:
        return None
    scheme, _, rest = given[0].decode("latin-1").strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else None


def _cookie(headers: Headers) -> str | None:
    """The cookie's value. Two that differ are refused: a page of a neighbouring domain can add one,
    to have its own token used.
    """
    found: set[str] = set()
    for name, value in headers:
        if name.lower() != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            key, equals, text = pair.strip().partition("=")
            if equals and key == COOKIE:
                found.add(text.strip('"'))
    if len(found) > 1:
        raise MalformedCredentials(f"The request has more than one cookie {COOKIE}.")
    return next(iter(found), None) or None  # an empty cookie is what is left of a logout


def _query(query_string: bytes) -> str | None:
    if len(query_string) > 4 * MAX_TOKEN:
        return None
    try:
        pairs = parse_qsl(query_string.decode("latin-1"), max_num_fields=1_000)
    except ValueError:
        return None
    found = {value for name, value in pairs if name == QUERY}
    if len(found) > 1:
        raise MalformedCredentials(f"The request has more than one ?{QUERY}=.")
    return next(iter(found), None)


def _checked(token: str) -> str:
    if not token:
        raise MalformedCredentials("The token is empty.")
    if len(token) > MAX_TOKEN:
        raise MalformedCredentials(f"The token is longer than {MAX_TOKEN} characters.")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise MalformedCredentials("The token has characters in it that no token has.")
    return token
