"""What a request brings: the values in its body, its text headers, its idempotency key."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from penstock.wire import JSON, MSGPACK, Undecodable

from ..aside import work_on
from ..hub import Hub
from .http import Problem, Request

Parse: TypeAlias = Callable[[bytes], list[object]]
"""Gives the values that a body says."""

_PARSERS: Mapping[str, Parse] = {
    "application/json": lambda body: [JSON.decode_value(body)],
    "application/x-ndjson": JSON.decode_values,
    "application/msgpack": MSGPACK.decode_values,
}
_ALIASES: Mapping[str, str] = {
    "application/ndjson": "application/x-ndjson",
    "application/x-msgpack": "application/msgpack",
    "application/vnd.msgpack": "application/msgpack",
}

# An RFC 8941 string: printable ASCII, a quote or a backslash in it after a backslash.
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


def parser_for(request: Request, accepted: Collection[str], what: str) -> Parse:
    """What reads the body, one of the media types `accepted`. Raises `Problem` 415.

    `what` the body is begins the problem's sentences (``A publication``).
    """
    coding = (request.header("content-encoding") or "identity").strip().lower()
    given = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if coding != "identity":
        raise _unsupported(
            f"{what} is sent as it is, without Content-Encoding, not {coding[:80]}.",
            (b"accept-encoding", b"identity"),
        )
    kind = _ALIASES.get(given, given)
    if kind not in accepted:
        listed = ", ".join(accepted)
        raise _unsupported(
            f"{what} is one of {listed}, not {given[:80] or 'without a type'}.",
            (b"accept-post", listed.encode()),
        )
    return _PARSERS[kind]


def _unsupported(detail: str, header: tuple[bytes, bytes]) -> Problem:
    return Problem(415, "Unsupported Media Type", detail, [header])


async def read_body(hub: Hub, request: Request, what: str) -> bytes:
    """The whole body. Raises `Problem` 413 and 408, and `ClientGone`."""
    return await request.body(hub.limits.max_message_bytes, hub.limits.body_timeout, what)


async def parse_values(parse: Parse, body: bytes) -> list[object]:
    """The values that a body says; a long one is read aside. Raises `Problem` 400."""
    try:
        return await work_on(body, parse)
    except Undecodable as fault:
        detail = f"The body can't be read: {fault}."
        raise Problem(400, "Unreadable Body", detail) from fault


def text_header(request: Request, name: str) -> str | None:
    """A header's value; its bytes are UTF-8 where they can be."""
    raw = request.header(name)
    if raw is None:
        return None
    try:
        return raw.encode("latin-1").decode()
    except UnicodeDecodeError:
        return raw


def idempotency_key(request: Request) -> str | None:
    """The idempotency key: the header's value, or what the string in it says."""
    text = text_header(request, "idempotency-key")
    quoted = None if text is None else _QUOTED.fullmatch(text)
    return text if quoted is None else re.sub(r"\\(.)", r"\1", quoted[1])
