"""What a request asks for: the forms of a target that there are, and those that are refused.

HTTP/1.1 has four forms (RFC 9112, section 3.2), HTTP/2 only a path (RFC 9113, section 8.3.1). Each
is brought to a path that begins with a slash, so that nothing else is ever compared with a route.
"""

from collections.abc import Iterable
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]

FIELD_OVERHEAD: Final = 32
"""Bytes that a header counts for beside its own (RFC 9113, section 6.5.2)."""

_SCHEMES: Final = (b"http://", b"https://")


def path_of(method: bytes, target: bytes) -> tuple[bytes, bytes | None] | None:
    """The path with its query, and the authority where the target names one.

    None for a target that is refused: one of another form, or not in ASCII. A ``CONNECT``, which
    is for proxies, has none that is allowed.
    """
    if not target.isascii() or method == b"CONNECT":
        return None
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, None
    scheme = next((each for each in _SCHEMES if target[:8].lower().startswith(each)), None)
    if scheme is None:
        return None
    rest = target[len(scheme) :]
    end = min((at for mark in b"/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if not authority or b"@" in authority:
        return None
    return (path if path.startswith(b"/") else b"/" + path), authority


def objection_to(headers: Headers, max_bytes: int) -> int | None:
    """The status with which a request over HTTP/2 is refused unseen, else None.

    501 for a tunnel that isn't a WebSocket (RFC 8441, section 4), 431 for headers over the size,
    400 for what isn't a path.
    """
    pseudo: dict[bytes, bytes] = {}
    size = 0
    for name, value in headers:
        size += len(name) + len(value) + FIELD_OVERHEAD
        if name.startswith(b":"):
            pseudo[name] = value
    if size > max_bytes:
        return 431
    method = pseudo.get(b":method", b"")
    if method == b"CONNECT":
        if pseudo.get(b":protocol", b"").lower() != b"websocket":
            return 501
        method = b"GET"
    path = pseudo.get(b":path", b"")
    is_path = method.isascii() and path[:1] in b"/*" and path_of(method, path) is not None
    return None if path and is_path else 400
