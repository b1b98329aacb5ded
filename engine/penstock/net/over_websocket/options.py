"""The options that a user of ``websocket`` writes, checked before anything runs."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from penstock import _options as options
from penstock.wire import BadCursor, Cursor, MessageCodec

from ..options import checked_headers
from .stream import Target

_SCHEMES = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_SECURE = ("wss", "https")


def target_of(
    url: str,
    headers: Mapping[str, str] | None,
    codec: MessageCodec,
    ssl_context: ssl.SSLContext | None,
    max_message_bytes: int,
) -> Target:
    """Where a reader connects. Raises `PipelineError` for a URL that is no WebSocket's."""
    parts = _split_url(url)
    host, port = parts.hostname, parts.port
    if parts.scheme not in _SCHEMES or not host:
        raise options.refuse(
            "websocket", f"url must be like ws://127.0.0.1:8000/ws, got {url[:200]!r}"
        )
    if parts.username is not None:
        raise options.refuse(
            "websocket", "url must hold no user and password; headers= takes an Authorization"
        )
    secure = parts.scheme in _SECURE
    if ssl_context is not None and not secure:
        raise options.refuse("websocket", "ssl_context goes with a wss:// url only")
    path = parts.path if parts.path not in ("", "/") else "/ws"
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port in (None, _SCHEMES[parts.scheme]) else f"{bracketed}:{port}"
    return Target(
        host=host,
        port=_SCHEMES[parts.scheme] if port is None else port,
        authority=authority,
        resource=f"{path}?{parts.query}" if parts.query else path,
        tls=(ssl_context or ssl.create_default_context()) if secure else None,
        headers=checked_headers("websocket", headers),
        codec=codec,
        max_message_bytes=max_message_bytes,
    )


def _split_url(url: str) -> SplitResult:
    """The parts of a URL. Raises `PipelineError` where it can't be one."""
    if not isinstance(url, str):
        raise options.refuse("websocket", f"url must be text, got {url!r}")
    try:
        parts = urlsplit(url)
        _ = parts.port  # it is looked at when it is asked for
        url.encode("ascii")
    except UnicodeEncodeError:
        raise options.refuse(
            "websocket", f"url must be ASCII (percent-encoded), got {url[:200]!r}"
        ) from None
    except ValueError as error:
        raise options.refuse("websocket", f"url is not a URL: {error}") from error
    if any(ord(each) <= 0x20 or ord(each) == 0x7F for each in url):
        raise options.refuse(
            "websocket", f"url must hold no spaces or control characters, got {url[:200]!r}"
        )
    return parts


def starts_of(
    topics: str | Iterable[str] | Mapping[str, str], after: str | Mapping[str, str]
) -> dict[str, str]:
    """From each topic to where its reading starts. Raises `PipelineError`."""
    if isinstance(topics, Mapping):
        if after != "latest":
            raise options.refuse("websocket", "topics says where to start, so after must not")
        starts = dict(cast("Mapping[str, str]", topics))
    else:
        names = [topics] if isinstance(topics, str) else list(topics)
        starts = _with_after(names, after)
    if not starts:
        raise options.refuse("websocket", "topics must name at least one topic")
    for name, start in cast("dict[Any, Any]", starts).items():
        if not isinstance(name, str) or not name:
            raise options.refuse("websocket", f"topics must be names, got {name!r}")
        _require_start(name, start)
    return starts


def _with_after(names: list[str], after: str | Mapping[str, str]) -> dict[str, str]:
    if not isinstance(after, Mapping):
        return dict.fromkeys(names, after)
    unread = [name for name in after if name not in names]
    if unread:
        raise options.refuse("websocket", f"after names {unread[0]!r}, which is not in topics")
    return {name: after.get(name, "latest") for name in names}


def _require_start(name: str, start: object) -> None:
    if start in ("earliest", "latest"):
        return
    try:
        if not isinstance(start, str):
            raise BadCursor("not text")
        Cursor.parse(start)
    except BadCursor as fault:
        raise options.refuse(
            "websocket",
            f"after must be 'earliest', 'latest' or a cursor, got {start!r} for {name}: {fault}",
        ) from fault
