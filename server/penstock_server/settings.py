"""What can be set for a server; the defaults hold up against hostile clients. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock import PenstockError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a client may ask for. Raises `PenstockError` for a value that makes no sense.

    Attributes:
        max_connections: connections at a time, of all clients together.
        max_connections_per_address: connections at a time of one address. Behind a proxy all
            clients have the proxy's: set it as high as `max_connections` there.
        max_message_bytes: the body of a publication, or one WebSocket message.
        max_subscriptions: topics that one WebSocket connection reads at a time.
        publish_rate: publications a second of one WebSocket connection, or over HTTP of one
            address, in the long run.
        publish_burst: publications that may come at once before the rate holds.
        idempotency_keys: keys of publications that are remembered at a time, of all topics.
        publish_wait: seconds that a publication waits for room in a topic with ``slow="block"``.
        max_jobs_running: runs of jobs at a time, of all jobs and clients together.
        kept_jobs_bytes: the most bytes of finished jobs that are kept; then the oldest go.
        header_timeout: seconds for a whole request head to come in.
        body_timeout: seconds for a whole publication body to come in.
    """

    max_connections: int = 20_000
    max_connections_per_address: int = 2_000
    max_message_bytes: int = MIB
    max_subscriptions: int = 128
    publish_rate: float = 10_000.0
    publish_burst: int = 100_000
    idempotency_keys: int = 100_000
    publish_wait: float = 5.0
    max_jobs_running: int = 1_000
    kept_jobs_bytes: int = 256 * MIB
    header_timeout: float = 10.0
    body_timeout: float = 30.0

    def __post_init__(self) -> None:
        for option in (
            "max_connections",
            "max_connections_per_address",
            "max_message_bytes",
            "max_subscriptions",
            "publish_burst",
            "idempotency_keys",
            "max_jobs_running",
            "kept_jobs_bytes",
        ):
            _require(self, option, "a whole number of at least 1", whole=True)
        _require(self, "publish_rate", "a number of publications a second above 0")
        _require(self, "publish_wait", "a number of seconds, not negative", zero=True)
        for option in ("header_timeout", "body_timeout"):
            _require(self, option, "a number of seconds above 0")


@dataclass(frozen=True, slots=True)
class Timing:
    """When the server says something of its own accord, and how long it waits for an answer.

    Raises `PenstockError` for a value that makes no sense.

    Attributes:
        keepalive: an idle HTTP stream gets a sign of life after this long.
        heartbeat: how often a WebSocket peer is pinged; its pong may be as late as that.
        stall_timeout: a peer that takes no byte for this long is disconnected.
        retry: how long a client should wait before it reconnects.
        reconnect_spread: when the server goes away, each client is told a wait drawn at random up
            to this, so that they don't all come back at once.
        max_connection_age: a stream or WebSocket is told to reconnect after about this long (10 %
            more or less, drawn at random); None for never. For load balancers, so that
            connections spread over new instances.
        idempotency_window: for how long a publication's idempotency key is remembered.
        grace: how long a shutdown may take: producers drain, clients are told, then all is cut.
    """

    keepalive: float = 15.0
    heartbeat: float = 20.0
    stall_timeout: float = 30.0
    retry: float = 2.0
    reconnect_spread: float = 5.0
    max_connection_age: float | None = None
    idempotency_window: float = 300.0
    grace: float = 10.0

    def __post_init__(self) -> None:
        for option in ("keepalive", "heartbeat", "stall_timeout", "idempotency_window"):
            _require(self, option, "a number of seconds above 0")
        for option in ("retry", "reconnect_spread", "grace"):
            _require(self, option, "a number of seconds, not negative", zero=True)
        if self.max_connection_age is not None:
            _require(self, "max_connection_age", "a number of seconds above 0, or None")


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a topic is kept for those who come later, or come back.

    Attributes:
        events: the most events; at least 1.
        bytes: the most bytes of encoded events; the newest event is always kept.
        seconds: the most age; None keeps events however old they are.
    """

    events: int = 1000
    bytes: int = 16 * MIB
    seconds: float | None = None


def _require(
    settings: object, option: str, wanted: str, *, whole: bool = False, zero: bool = False
) -> None:
    """Raise `PenstockError` for an option that is no such number; NaN is none."""
    value: Any = getattr(settings, option)
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (number and (value > 0 or (zero and value == 0))):
        raise PenstockError(f"{type(settings).__name__}: {option} must be {wanted}, got {value!r}")
