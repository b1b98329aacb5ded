"""Token buckets: how many publications a client may send at once, and in the long run.

A bucket holds up to `burst` tokens and gains `rate` of them a second; a publication takes one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import trio

_MOST_BUCKETS = 10_000


class TokenBucket:
    """One client's tokens; full at first.

    Args:
        rate: tokens gained a second.
        burst: the most tokens it holds.
        clock: seconds from any fixed point, not going back.
    """

    __slots__ = ("_at", "_clock", "_tokens", "burst", "rate")

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    def take(self, count: int) -> float:
        """Take `count` tokens, at most `burst`, and give 0; or none, and give how long to wait.

        The wait, in seconds, is what it takes to have them if nobody takes any in the meantime.
        """
        wait = self.wait_for(count)
        if wait == 0:
            self._tokens -= count
        return wait

    def wait_for(self, count: int) -> float:
        """Seconds until `count` tokens are there; 0 where they are."""
        assert count <= self.burst, "more than a bucket holds will never be there"
        self._fill()
        # What rounding keeps from a token would never come to be one: a wait of 1e-17 s is none.
        missing = count - self._tokens
        return missing / self.rate if missing > 1e-9 else 0.0

    @property
    def full(self) -> bool:
        """Whether it is as good as a new one."""
        self._fill()
        return self._tokens >= self.burst

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.rate)
        self._at = now


class Buckets:
    """The buckets of clients that have no connection of their own, by name.

    A full bucket is as good as a new one, so it is forgotten. Of more than `most` that aren't full,
    the one that was used longest ago goes.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        most: int = _MOST_BUCKETS,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def new(self) -> TokenBucket:
        """A bucket of one's own, for a connection."""
        return TokenBucket(self._rate, self._burst, self._clock)

    def of(self, name: str) -> TokenBucket:
        """The bucket of this client; to be used at once, as a full one may soon be forgotten."""
        bucket = self._buckets.get(name)
        if bucket is None:
            self._forget()
            bucket = self._buckets[name] = self.new()
        self._buckets.move_to_end(name)
        return bucket

    def _forget(self) -> None:
        """Let go of the full ones among those that were used longest ago, and make room for one."""
        while self._buckets:
            name, bucket = next(iter(self._buckets.items()))
            if not bucket.full and len(self._buckets) < self._most:
                return
            del self._buckets[name]


def client_network(address: str) -> str:
    """What stands for one client: its address, of IPv6 the /64, which is what one is given."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a Unix socket, or a test's
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
