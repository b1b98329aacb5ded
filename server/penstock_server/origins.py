"""The origins of web pages that ``cors=`` lists, as browsers write them (RFC 6454 section 6.2)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import penstock as ps
from penstock import caller_location

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origins(cors: str | Iterable[str]) -> frozenset[str]:
    """The origins, each as a browser sends it; one text stands for one origin.

    ``*`` and ``null`` stay as they are; letter case, a default port and a slash at the end are
    mended. Raises `PipelineError` for what is no origin, such as an address with a path.
    """
    given = (cors,) if isinstance(cors, str) else cors
    return frozenset(_parse(origin) for origin in given)


def _parse(origin: object) -> str:
    if origin in ("*", "null"):
        return str(origin)
    if not isinstance(origin, str):
        raise _refused(origin, "is no text")
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError as fault:
        raise _refused(origin, f"is no origin ({fault})") from fault
    if not parts.scheme or not parts.hostname:
        raise _refused(origin, "has no scheme and host")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise _refused(origin, "has more than scheme, host and port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None or port == _DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{port}"


def _refused(origin: object, problem: str) -> ps.PipelineError:
    return ps.PipelineError(
        "Server", f"cors: {origin!r} {problem}; write https://app.example.com", caller_location()
    )
