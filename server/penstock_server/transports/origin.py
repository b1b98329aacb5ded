"""Which web pages may open a connection (RFC 6454). Pure.

A browser lets any page open a WebSocket to any server, and send simple requests, with the user's
cookies; the ``Origin`` header is the server's only sign of it. Programs that aren't browsers send
none.
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


def _authority(url: str, scheme: str) -> tuple[str | None, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _port(scheme)
    except ValueError:
        return None, 0


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
