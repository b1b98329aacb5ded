"""What a running server has counted: plain numbers that the hot path can afford to touch.

Nobody waits here and nothing is locked: a server runs on one thread, and `/metrics` and `/stats`
read these numbers as they stand. The dictionaries have their keys from the start, so that counting
is one addition (``counters.events_out["sse"] += n``), a mistyped label is a `KeyError` in the first
test that meets it, and the number of labels can't grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

#: How a client is served, as `Connection.transport` says it.
TRANSPORTS: Final = ("sse", "ndjson", "msgpack", "json", "websocket")
#: Why a reader was told of a gap.
GAP_REASONS: Final = ("expired", "epoch", "slow")
#: Why the server closed a connection that the client had not left.
DISCONNECT_REASONS: Final = ("slow", "stalled", "expired_token", "revoked", "age")
#: Why a publication was refused.
REFUSAL_REASONS: Final = (
    "unreadable",  # 400: not JSON or MessagePack, or a wrong header
    "forbidden",  # 401 and 403
    "not_publishable",  # 405
    "too_large",  # 413
    "media_type",  # 415
    "invalid",  # 422: fails the topic's schema, or a key used twice
    "rate_limited",  # 429
    "unavailable",  # 503: no room in time, or the server goes away
)

#: Upper bounds, in seconds, of the buckets of a lag: half a millisecond to a minute.
LAG_BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip


class Histogram:
    """How often a length of time fell into each of a few fixed buckets.

    Args:
        bounds: the buckets' upper bounds (inclusive) in seconds, rising; one more takes the rest.

    Attributes:
        counts: how many observations each bucket holds (not cumulative); one more than `bounds`.
        sum: all observations added up, in seconds.
        max: the greatest observation, in seconds.
    """

    __slots__ = ("bounds", "counts", "max", "sum")

    def __init__(self, bounds: Sequence[float] = LAG_BOUNDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0
        self.max = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count `times` observations of `seconds`; what is below 0 counts as 0."""
        seconds = max(seconds, 0.0)
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.sum += seconds * times
        self.max = max(self.max, seconds)

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """The bound, in seconds, that a share `q` of the observations is within; 0 without any.

        It is the upper bound of a bucket, but never more than the greatest observation.
        """
        wanted = q * self.count
        seen = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return min(bound, self.max)
        return self.max


class Counters:
    """What one server has counted since it started.

    Attributes:
        events_out: events delivered, by transport.
        bytes_out: bytes of streams and messages delivered, by transport, after compression.
        gaps: gaps that readers were told of, by reason.
        conflated: events that a newer one of their key replaced, for readers that asked for it.
        skipped: events that slow readers missed, which their gaps told.
        disconnected: connections that the server closed, by reason.
        stalls: times that a peer accepted no byte while there was something to send.
        refused: publications refused, by reason.
        lag: time from an event's append to the moment its bytes were written, in seconds.
        connected: connections that were opened, by transport.
        retired_events: events that were appended to instances of a template since dropped.
        retired_restarts: restarts of the pipelines of such instances.
    """

    __slots__ = (
        "bytes_out",
        "conflated",
        "connected",
        "disconnected",
        "events_out",
        "gaps",
        "lag",
        "refused",
        "retired_events",
        "retired_restarts",
        "skipped",
        "stalls",
    )

    def __init__(self) -> None:
        self.events_out: dict[str, int] = dict.fromkeys(TRANSPORTS, 0)
        self.bytes_out: dict[str, int] = dict.fromkeys(TRANSPORTS, 0)
        self.gaps: dict[str, int] = dict.fromkeys(GAP_REASONS, 0)
        self.conflated = 0
        self.skipped = 0
        self.disconnected: dict[str, int] = dict.fromkeys(DISCONNECT_REASONS, 0)
        self.stalls = 0
        self.refused: dict[str, int] = dict.fromkeys(REFUSAL_REASONS, 0)
        self.lag = Histogram()
        self.connected: dict[str, int] = dict.fromkeys(TRANSPORTS, 0)
        self.retired_events: dict[str, int] = {}
        self.retired_restarts: dict[str, int] = {}

    def retire(self, template: str, events: int, restarts: int) -> None:
        """Remember what a dropped instance of a template counted: a sum must never fall."""
        self.retired_events[template] = self.retired_events.get(template, 0) + events
        self.retired_restarts[template] = self.retired_restarts.get(template, 0) + restarts
