"""The representation a client wants: ``?format=`` or ``Accept`` (RFC 9110 section 12.5.1). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["sse", "ndjson", "msgpack", "json"]

MEDIA_TYPES: Mapping[str, Format] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
    "application/json": "json",
}
"""What is understood, the server's own preference first."""


class NotAcceptable(ValueError):
    """The client wants something that there is not."""


def choose(accept: str | None, format_: str | None, preferred: Format = "sse") -> Format:
    """The representation; the `preferred` one where the client has no preference.

    Raises `NotAcceptable`, whose text says what there is.
    """
    if format_ is not None:
        chosen: Format | None = next((f for f in MEDIA_TYPES.values() if f == format_), None)
        if chosen is None:
            known = ", ".join(dict.fromkeys(MEDIA_TYPES.values()))
            raise NotAcceptable(f"format is one of {known}, not {format_[:40]!r}")
        return chosen
    if accept is None or not accept.strip():
        return preferred
    best: Format | None = None
    best_quality = 0.0
    ranges = [_parse(each) for each in accept.split(",")]
    for media_type, name in sorted(MEDIA_TYPES.items(), key=lambda each: each[1] != preferred):
        # The most specific range that matches decides a type's quality.
        _, quality = max(_match(media_type, each) for each in ranges)
        if quality > best_quality:
            best, best_quality = name, quality
    if best is None:
        raise NotAcceptable(f"there is {', '.join(sorted(set(MEDIA_TYPES)))}")
    return best


def _parse(media_range: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in media_range.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return name.lower(), quality


def _match(media_type: str, media_range: tuple[str, float]) -> tuple[int, float]:
    """How specific a range matches (0: not at all), and with which quality."""
    name, quality = media_range
    if name == media_type:
        return 3, quality
    if name == media_type.partition("/")[0] + "/*":
        return 2, quality
    return (1, quality) if name == "*/*" else (0, 0.0)


CODINGS = ("gzip", "zstd", "br")
"""Content codings, the server's own preference first: those whose blocks connections share, and of
them gzip, for some clients (httpx) fail where a read ends between two Zstandard frames of a body.
"""


def choose_coding(accept_encoding: str | None) -> str | None:
    """The content coding for a body (RFC 9110 section 12.5.3); None for the body as it is.

    The client's weights decide, among equals the server's own preference.
    """
    if not accept_encoding:
        return None
    weights: dict[str, float] = {}
    for part in accept_encoding.split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip().lower()] = _coding_weight(parameters)
    others = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, others))
    weight = weights.get(best, others)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _coding_weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
