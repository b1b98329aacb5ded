"""Which web pages may open a connection (RFC 6454), and read the answer (Fetch, CORS). Pure.

A browser lets any page open a WebSocket to any server, and send simple requests, with the user's
cookies; the ``Origin`` header is the server's only sign of it. Programs that aren't browsers send
none.

A token in a cookie is the browser's to give, whichever page asks, so with one only same-origin
pages and those that are listed by name are served: ``*`` lists nobody by name, and ``null`` is the
origin of any page that chooses to have none.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def origin_allowed(
    origin: str | None, host: str | None, scheme: str, allowed: Collection[str]
) -> bool:
    """Whether a request with this ``Origin`` may be served.

    Same-origin (scheme, host and port) and listed origins may; no ``Origin`` at all may. `scheme`
    is the request's own, ``http`` or ``https``; behind a proxy that ends TLS a page's ``https`` is
    accepted for our ``http``, because the host decides.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.hostname is None or host is None:
        return False
    if scheme == "https" and parts.scheme == "http":
        return False
    return _authority(f"//{host}", parts.scheme) == (parts.hostname, port or _port(parts.scheme))


def credentials_allowed(
    origin: str | None, host: str | None, scheme: str, allowed: Collection[str]
) -> bool:
    """Whether a request with this ``Origin`` may be served that shows a cookie's token."""
    return origin_allowed(origin, host, scheme, _named(allowed))


def cross_site_without_origin(fetch_site: str | None, fetch_mode: str | None) -> bool:
    """Whether a request that has no ``Origin`` is another site's all the same: its ``<script>`` or
    ``<img>``; a sibling domain's too. A link that leads here is the user's own doing.
    """
    return fetch_site in ("cross-site", "same-site") and fetch_mode != "navigate"


def cors_headers(
    origin: str | None, allowed: Collection[str], *, preflight: bool
) -> list[tuple[bytes, bytes]]:
    """What an answer says about pages of other origins that may read it.

    Only those that are listed by name are offered to send credentials along. ``Vary`` is there for
    every request where some origins are listed: no cache may give one page's answer to another.
    """
    named = _named(allowed)
    headers = [(b"vary", b"Origin")] if named else []
    if origin is not None and origin in named:
        headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
        headers.append((b"access-control-allow-credentials", b"true"))
    elif origin is not None and "*" in allowed:
        headers.append((b"access-control-allow-origin", b"*"))
    else:
        return headers
    return headers + (_PREFLIGHT if preflight else _EXPOSED)


_METHODS = b"GET, HEAD, POST, DELETE"
_REQUEST_HEADERS = (
    b"Authorization, Content-Type, Event-Name, Idempotency-Key, Last-Event-ID, Prefer"
)
_PREFLIGHT = [
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", _REQUEST_HEADERS),
    (b"access-control-max-age", b"600"),
]
_EXPOSED = [(b"access-control-expose-headers", b"Location, Idempotent-Replayed, Retry-After")]


def _named(allowed: Collection[str]) -> frozenset[str]:
    return frozenset(allowed) - {"*", "null"}


def _authority(url: str, scheme: str) -> tuple[str | None, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _port(scheme)
    except ValueError:
        return None, 0


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
