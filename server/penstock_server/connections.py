"""The connections of a running server: what they read, and how they are ended.

A connection's transport registers it here and writes to it; here it is looked after, all of them by
one timer: signs of life, peers that take nothing, tokens that expire, age.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Literal, TypeAlias

import trio

from .counters import Counters
from .fanout import Delivery, Framing, Piece, Reader, Slow, Waker
from .grants import UNRESTRICTED, Grant
from .log import Start
from .settings import Timing
from .topics import Topic
from .wake import Wake

Transport: TypeAlias = Literal["sse", "ndjson", "msgpack", "json", "websocket"]

Ending: TypeAlias = Literal["expired", "revoked", "age", "slow", "stalled"]
"""Why the server ends a connection of its own accord: its token has expired, or was revoked; it is
so old that its client should make a new one; it reads too slowly, or takes nothing at all.
"""

_COUNTED_AS: dict[Ending, str] = {"expired": "expired_token"}
_LOOK_SECONDS = 0.5
_STUCK_SECONDS = 1.0


def _no_way() -> None:
    """How a connection is dropped that can't be."""


@dataclass(eq=False, slots=True)
class Connection:
    """One client that reads.

    Attributes:
        transport: how.
        client: the peer's address as text, "" where it is unknown.
        due: when it is to be woken at the latest, for a sign of life, on Trio's clock.
        wake: set when there is something to send, or to look at.
        opened: when it was, on Trio's clock.
        grant: what its client may do.
        ending: set, with `wake`, to end it; its transport then tells the client, and closes.
        ends_at: when it is so old that it ends, on Trio's clock.
        is_traffic: whether it counts as the server's traffic; who only watches it does not.
        stall_timeout: seconds for which its peer may accept nothing.
        writing_since: when the write began that is under way, or its peer took a part of it last;
            infinity where there is none.
        abort: drops it at once, without a word; must not block.
        readers: its position in each topic that it reads.
        leave: what takes it out of each topic that it reads.
    """

    transport: Transport
    client: str
    due: float
    wake: Wake = field(default_factory=Wake)
    opened: float = field(default_factory=trio.current_time)
    grant: Grant = UNRESTRICTED
    ending: Ending | None = None
    ends_at: float = inf
    is_traffic: bool = True
    stall_timeout: float = inf
    writing_since: float = inf
    abort: Callable[[], object] = _no_way
    readers: dict[str, Reader] = field(default_factory=dict[str, Reader])
    leave: dict[str, Callable[[], None]] = field(default_factory=dict[str, Callable[[], None]])

    @property
    def is_due(self) -> bool:
        """Whether the time for a sign of life has come."""
        return trio.current_time() >= self.due

    def progressed(self) -> None:
        """Note that the peer has taken a part of the write that is under way."""
        if self.writing_since != inf:
            self.writing_since = trio.current_time()

    async def noting(self, write: Awaitable[None]) -> None:
        """Await a write, so that it shows for how long its peer has taken nothing."""
        self.writing_since = trio.current_time()
        try:
            await write
        finally:
            self.writing_since = inf

    def leave_all(self) -> None:
        """Stop reading every topic."""
        for name in list(self.leave):
            self.leave.pop(name)()


class Connections:
    """All connections of one server.

    Args:
        counters: where deliveries and disconnections are counted.
        timing: of signs of life and time-outs.
        clock: seconds since 1970, for when rights expire.
    """

    def __init__(
        self, counters: Counters, timing: Timing, clock: Callable[[], float] = time.time
    ) -> None:
        self.timing = timing
        self._counters = counters
        self._clock = clock
        self._all: set[Connection] = set()
        self._waker = Waker()
        self._deliveries: dict[Delivery, int] = {}
        self._none_left = trio.Event()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._all))

    # Coming and going

    def open(self, connection: Connection) -> Callable[[], None]:
        """Count a connection in; gives the function that takes it out of everything."""
        connection.stall_timeout = min(connection.stall_timeout, self.timing.stall_timeout)
        if self.timing.max_connection_age is not None:
            spread = random.uniform(0.9, 1.1)  # noqa: S311 - a wait, no secret
            connection.ends_at = connection.opened + self.timing.max_connection_age * spread
        self._all.add(connection)
        if connection.is_traffic:
            self._counters.connected[connection.transport] += 1

        return partial(self._close, connection)

    def _close(self, connection: Connection) -> None:
        connection.leave_all()
        self._all.discard(connection)
        if not self._all:
            self._none_left.set()

    async def none_left(self) -> None:
        """Wait until there is no connection."""
        while self._all:
            self._none_left = trio.Event()
            await self._none_left.wait()

    def join(
        self,
        connection: Connection,
        topic: Topic[Any],
        framing: Framing,
        start: Start,
        slow: Slow,
        wake: Callable[[], None],
    ) -> Reader:
        """Let a connection read a topic, until ``connection.leave[topic.name]`` is called."""
        delivery = topic.delivery
        delivery.on_due = self._waker.due
        delivery.on_delivered = self._count_lane if connection.is_traffic else None
        give_up = partial(self.end, connection, "slow")
        reader = delivery.join(framing, start, slow=slow, wake=wake, give_up=give_up)
        self._deliveries[delivery] = self._deliveries.get(delivery, 0) + 1
        if topic.stall_timeout is not None:
            connection.stall_timeout = min(connection.stall_timeout, topic.stall_timeout)

        connection.readers[topic.name] = reader
        connection.leave[topic.name] = partial(self._leave, connection, topic, reader)
        topic.audience.join()
        return reader

    def _leave(self, connection: Connection, topic: Topic[Any], reader: Reader) -> None:
        delivery = reader.delivery
        delivery.leave(reader)
        topic.audience.leave()
        del connection.readers[topic.name]
        self._deliveries[delivery] -= 1
        if not self._deliveries[delivery]:
            del self._deliveries[delivery]

    # Counting

    def _count_lane(
        self, framing: Framing, piece: Piece, size: int, readers: int, age: float | None
    ) -> None:
        counters = self._counters
        counters.events_out[framing.transport] += piece.events * readers
        counters.bytes_out[framing.transport] += size * readers
        counters.conflated += piece.replaced * readers
        if age is not None and piece.events:
            counters.lag.observe(age, readers)

    def count(self, transport: Transport, piece: Piece, size: int, age: float | None) -> None:
        """Count what a connection's own task has written of one topic."""
        counters = self._counters
        counters.events_out[transport] += piece.events
        counters.bytes_out[transport] += size
        counters.conflated += piece.replaced
        if piece.gap is not None:
            counters.gaps[piece.gap.reason] += 1
            if piece.gap.reason == "slow":
                counters.skipped += piece.gap.missed or 0
        if age is not None and piece.events:
            counters.lag.observe(age)

    # Ending

    def end(self, connection: Connection, why: Ending) -> None:
        """End a connection; its client is told where it listens. The first reason counts."""
        if connection.ending is None:
            connection.ending = why
            self._counters.disconnected[_COUNTED_AS.get(why, why)] += 1
            connection.wake.set()

    def end_those(self, chosen: Callable[[Grant], bool], why: Ending) -> int:
        """End the connections whose rights are chosen; gives how many."""
        found = [connection for connection in self if chosen(connection.grant)]
        for connection in found:
            self.end(connection, why)
        return len(found)

    def end_readers(self, topic: str) -> None:
        """Let those that read a topic reconnect: it has another log now."""
        for connection in self:
            if topic in connection.readers:
                self.end(connection, "age")

    def wake_all(self) -> None:
        """Let all of them look whether they are to say farewell."""
        for connection in self:
            connection.wake.set()

    # Running

    async def run(self) -> None:
        """Deliver events and look after the connections, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._waker.run)
            nursery.start_soon(self._look_after_all)

    async def _look_after_all(self) -> None:
        timing = self.timing
        while True:
            await trio.sleep(min(_LOOK_SECONDS, timing.keepalive / 10, timing.heartbeat / 10))
            now, wall = trio.current_time(), self._clock()
            for connection in self:
                self._look_after(connection, now, wall)
            for delivery in list(self._deliveries):
                delivery.keep_alive(now - timing.keepalive)
                delivery.merge()

    def _look_after(self, connection: Connection, now: float, wall: float) -> None:
        if connection.grant.expires <= wall:
            self.end(connection, "expired")
        elif connection.ends_at <= now:
            self.end(connection, "age")
        elif connection.due <= now:
            connection.wake.set()
        writing_for = now - connection.writing_since
        stalled = writing_for > connection.stall_timeout
        if stalled and connection.ending is None:
            self._counters.stalls += 1
            self.end(connection, "stalled")
        if stalled or (connection.ending is not None and writing_for > _STUCK_SECONDS):
            connection.abort()
