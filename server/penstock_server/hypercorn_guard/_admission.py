"""How many connections there may be, in all and of one address; pure bookkeeping."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_CONNECTIONS = 20_000
MAX_CONNECTIONS_PER_ADDRESS = 2_000

MAX_REFUSALS = 64
"""Connections that are told at a time that they are too many; further ones are just closed."""

RESERVED_DESCRIPTORS = 64
"""Open files that are left for everything but connections."""


class Refusal(Enum):
    """Why a connection isn't served: status, title, and the setting that says so."""

    TOO_MANY = (503, "Too Many Connections", "max_connections")
    TOO_MANY_OF_ADDRESS = (
        429,
        "Too Many Connections From This Address",
        "max_connections_per_address",
    )
    TOO_MANY_FILES = (503, "Too Many Connections", "the limit of open files (ulimit -n)")

    def __init__(self, status: int, title: str, setting: str) -> None:
        self.status = status
        self.title = title
        self.setting = setting


@dataclass(frozen=True)
class ConnectionCounts:
    """What has become of connections; all but the first only grow.

    Attributes:
        open: connections that are served right now.
        accepted: connections that were served, those right now included.
        refused: connections over ``max_connections``, or over the limit of open files.
        refused_of_address: connections over ``max_connections_per_address``.
        timed_out: connections whose handshake or request head was not whole in time.
        faulty: connections or streams that ended because what came could not be read.
        floods: connections that ended because of too many frames that do nothing.
        stalled: HTTP/2 streams whose peer granted no window in time.
    """

    open: int
    accepted: int
    refused: int
    refused_of_address: int
    timed_out: int
    faulty: int
    floods: int
    stalled: int


class Admission:
    """Who is connected, and whether one more may be.

    Attributes:
        max_connections: connections at a time, of all clients together.
        max_connections_per_address: connections at a time of one IPv4 address, or one IPv6 network
            of 64 bits, which is the least that a household has.
    """

    def __init__(self) -> None:
        self.max_connections = MAX_CONNECTIONS
        self.max_connections_per_address = MAX_CONNECTIONS_PER_ADDRESS
        self.timed_out = 0
        self.faulty = 0
        self.floods = 0
        self.stalled = 0
        self._open = 0
        self._accepted = 0
        self._by_address: dict[str, int] = {}
        self._refused = dict.fromkeys(Refusal, 0)
        self._refusing = 0
        self._files = _descriptor_limit() - RESERVED_DESCRIPTORS

    def counts(self) -> ConnectionCounts:
        """How things stand."""
        return ConnectionCounts(
            open=self._open,
            accepted=self._accepted,
            refused=self._refused[Refusal.TOO_MANY] + self._refused[Refusal.TOO_MANY_FILES],
            refused_of_address=self._refused[Refusal.TOO_MANY_OF_ADDRESS],
            timed_out=self.timed_out,
            faulty=self.faulty,
            floods=self.floods,
            stalled=self.stalled,
        )

    def refused(self, why: Refusal) -> int:
        """How many connections were refused for that reason."""
        return self._refused[why]

    @contextmanager
    def of(self, address: str | None) -> Generator[Refusal | None]:
        """Count a connection while the block runs; gives why it must not be served, else None.

        None is the address of a peer that has none, as of a Unix socket.
        """
        refusal = self._objection(address)
        if refusal is not None:
            self._refused[refusal] += 1
            yield refusal
            return
        key = None if address is None else network_of(address)
        self._count(key, 1)
        self._accepted += 1
        try:
            yield None
        finally:
            self._count(key, -1)

    @contextmanager
    def refusing(self) -> Generator[bool]:
        """Whether there is time to tell one more client that it is one too many."""
        if self._refusing >= MAX_REFUSALS:
            yield False
            return
        self._refusing += 1
        try:
            yield True
        finally:
            self._refusing -= 1

    def _objection(self, address: str | None) -> Refusal | None:
        if self._open >= self.max_connections:
            return Refusal.TOO_MANY
        if self._open >= self._files:
            return Refusal.TOO_MANY_FILES
        if address is not None:
            taken = self._by_address.get(network_of(address), 0)
            if taken >= self.max_connections_per_address:
                return Refusal.TOO_MANY_OF_ADDRESS
        return None

    def _count(self, key: str | None, change: int) -> None:
        self._open += change
        if key is None:
            return
        count = self._by_address.get(key, 0) + change
        if count:
            self._by_address[key] = count
        else:
            del self._by_address[key]


_IPV6_PREFIX: Final = 64


def network_of(address: str) -> str:
    """What counts as one address; an IPv4 address within IPv6 is that IPv4 address."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))


def _descriptor_limit() -> int:
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
