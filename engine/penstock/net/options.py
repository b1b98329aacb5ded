"""The options that all clients have, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import httpx

from penstock import _options as options
from penstock._backoff import Backoff

from .http import parsed_url
from .losses import Loss, Refused

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?")


def http_url(stage: str, url: str) -> httpx.URL:
    """An HTTP URL with a host. Raises `PipelineError`, with the stage's name, for anything else."""
    if not isinstance(url, str):
        raise options.refuse(stage, f"url must be text, got {url!r}")
    try:
        return parsed_url(url)
    except Refused as refused:
        raise options.refuse(stage, f"url {refused}") from refused


def checked_headers(stage: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers that can be sent. Raises `PipelineError`, which doesn't say their values."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise options.refuse(stage, f"headers must be a mapping, got {type(headers).__name__}")
    for name, value in cast("Mapping[Any, Any]", headers).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise options.refuse(stage, "headers must be a mapping from text to text")
        problem = header_problem(name, value)
        if problem is not None:
            raise options.refuse(stage, f"headers: {problem}")
    return dict(headers)


def header_problem(name: str, value: str) -> str | None:
    """Why this can't be a header (RFC 9110, 5.5), where it can't. It doesn't say the value."""
    if _HEADER_NAME.fullmatch(name) is None:
        return f"{name[:80]!r} is no name of a header"
    if _HEADER_VALUE.fullmatch(value) is None:
        return f"the value of {name} must be printable ASCII on one line"
    return None


def require_recovery(
    stage: str, reconnect: Backoff, on_loss: Callable[[Loss], object] | None
) -> None:
    """Demand that `reconnect` and `on_loss` are what they should be. Raises `PipelineError`."""
    if not isinstance(reconnect, Backoff):
        raise options.refuse(stage, f"reconnect must be a Backoff, got {reconnect!r}")
    if on_loss is not None:
        options.function(stage, "on_loss", on_loss)
