"""What can be set for a publisher, and the way to its topic; checked before anything is sent."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

import httpx

from penstock import _options as stage_options
from penstock._backoff import Backoff

from ..http import TOPIC_URL
from ..losses import Loss
from ..options import checked_headers, http_url, require_recovery
from .policy import Errors
from .report import Acknowledgement

Overflow = Literal["drop_oldest", "block"]

QUEUE = 10_000
QUEUE_BYTES = 64 << 20
BATCH = 1_000
BATCH_BYTES = 256 << 10
TIMEOUT = 30.0
IDEMPOTENCY_WINDOW = 300.0


class PublisherSettings(TypedDict, total=False):
    """The options that `publisher` and `publish` have in common; `publisher` documents them."""

    reconnect: Backoff
    queue: int
    queue_bytes: int
    overflow: Overflow
    errors: Errors
    batch: int
    batch_bytes: int
    timeout: float
    idempotency_window: float
    on_loss: Callable[[Loss], object] | None
    on_acknowledged: Callable[[Acknowledgement], object]


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """The same, with their defaults."""

    reconnect: Backoff = Backoff()  # noqa: RUF009 - frozen
    queue: int = QUEUE
    queue_bytes: int = QUEUE_BYTES
    overflow: Overflow = "drop_oldest"
    errors: Errors = "raise"
    batch: int = BATCH
    batch_bytes: int = BATCH_BYTES
    timeout: float = TIMEOUT
    idempotency_window: float = IDEMPOTENCY_WINDOW
    on_loss: Callable[[Loss], object] | None = None
    on_acknowledged: Callable[[Acknowledgement], object] = lambda _: None


@dataclass(frozen=True, slots=True)
class Way:
    """Where a publisher sends: the topic's URL, headers, and what certificates it trusts."""

    url: httpx.URL
    headers: Mapping[str, str]
    ssl_context: ssl.SSLContext | None


def way_to(
    stage: str, url: str, headers: Mapping[str, str] | None, ssl_context: ssl.SSLContext | None
) -> Way:
    """The way to a topic. Raises `PipelineError`, with the stage's name."""
    parsed = http_url(stage, url)
    if parsed.path in ("", "/"):
        raise stage_options.refuse(stage, f"url must be like {TOPIC_URL}")
    return Way(parsed, checked_headers(stage, headers), ssl_context)


def require_sound(stage: str, options: PublisherOptions) -> None:
    """Demand options that make sense. Raises `PipelineError`, with the stage's name."""
    for name in ("queue", "queue_bytes", "batch", "batch_bytes"):
        stage_options.whole_number(stage, name, getattr(options, name), at_least=1)
    for name in ("timeout", "idempotency_window"):
        stage_options.seconds(stage, name, getattr(options, name))
    stage_options.one_of(stage, "overflow", options.overflow, ("drop_oldest", "block"))
    stage_options.one_of(stage, "errors", options.errors, ("raise", "skip"))
    require_recovery(stage, options.reconnect, options.on_loss)
    stage_options.function(stage, "on_acknowledged", options.on_acknowledged)
