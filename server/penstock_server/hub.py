"""What a running server consists of: its topics, their supervisors, and its connections.

The hub owns no transport. Transports register each connection, are told of the drain through its
`Wake`, and look at `Hub.farewell`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import trio

import penstock as ps

from .fanout import Feed, Framing, Reader, Waker
from .log import Start, resolve
from .settings import Limits, Timing
from .supervisor import Supervisor
from .topics import Topic
from .wake import Wake

logger = logging.getLogger("penstock.server")

Transport: TypeAlias = Literal["sse", "ndjson", "msgpack", "json", "websocket"]


@dataclass(eq=False, slots=True)
class Connection:
    """One client that reads.

    Attributes:
        transport: how.
        client: the peer's address as text, "" where it is unknown.
        wake: set when there is something to send, or to look at.
        due: when it is to be woken at the latest, for a sign of life, on Trio's clock.
        readers: its position in each topic that it reads.
    """

    transport: Transport
    client: str
    due: float
    wake: Wake = field(default_factory=Wake)
    opened: float = field(default_factory=trio.current_time)
    readers: dict[str, Reader] = field(default_factory=dict[str, Reader])

    @property
    def is_due(self) -> bool:
        """Whether the time for a sign of life has come."""
        return trio.current_time() >= self.due


class Hub:
    """The topics and connections of one server. `run` must be running for readers to be woken.

    Attributes:
        draining: the shutdown has begun: not ready, no publications, producers end.
        farewell: the producers have ended: who has read everything is told to reconnect.
    """

    def __init__(self, topics: dict[str, Topic[Any]], limits: Limits, timing: Timing) -> None:
        self.topics = topics
        self.limits = limits
        self.timing = timing
        self.connections: set[Connection] = set()
        self.supervisors = {name: Supervisor(topic) for name, topic in topics.items()}
        self.draining = False
        self.farewell = False
        self.running = False
        self.published = 0
        self.started = 0.0
        self._waker = Waker()
        self._feeds: dict[tuple[str, Framing], Feed] = {}
        self._drain_asked = trio.Event()
        self._producers_ended = trio.Event()
        self._drained = trio.Event()
        self._all_gone = trio.Event()

    # Reading

    def reader(self, topic: Topic[Any], framing: Framing, start: Start) -> Reader:
        """A reader of `topic`; all readers in the same framing share its feed."""
        key = (topic.name, framing)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(topic.name, topic.log, framing)
        return Reader(feed, start)

    def start_of(self, topic: Topic[Any], asked: Any) -> Start:
        """Where a reader starts that asked for a `Cursor`, ``earliest`` or ``latest``."""
        return resolve(asked, topic.name, topic.log.epoch, topic.log.bounds())

    def connect(self, connection: Connection) -> Callable[[], None]:
        """Count a connection in; gives the function that counts it out."""
        self.connections.add(connection)

        def disconnect() -> None:
            self.connections.discard(connection)
            if self.draining and not self.connections:
                self._all_gone.set()

        return disconnect

    def reconnect_delay(self) -> float:
        """How long one client should stay away from a server that goes away; in seconds."""
        return self.timing.retry + random.random() * self.timing.reconnect_spread  # noqa: S311

    # Running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run topics and wake readers until cancelled; after `begin_drain`, drain and go on waking.

        Cancelled, every pipeline is cancelled with its cleanup.
        """
        self.started = trio.current_time()
        beginning = {name: topic.cursor for name, topic in self.topics.items()}
        unwatch = [
            topic.log.watch(partial(self._waker.due, topic.readers))
            for topic in self.topics.values()
        ]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._waker.run)
                nursery.start_soon(self._wake_when_due)
                nursery.start_soon(self._drain_when_asked)
                for supervisor in self.supervisors.values():
                    nursery.start_soon(supervisor.supervise, beginning)
                self.running = True
                task_status.started()
        finally:
            self.running = False
            for stop in unwatch:
                stop()

    async def _wake_when_due(self) -> None:
        """Wake the connections whose sign of life is due: one timer for all of them."""
        while True:
            await trio.sleep(min(self.timing.keepalive, self.timing.heartbeat) / 10)
            for connection in list(self.connections):
                if connection.is_due:
                    connection.wake.set()

    # The end

    def begin_drain(self) -> None:
        """Start the shutdown: not ready any more, producers end, then every client is told.

        Returns at once. Calling it again changes nothing.
        """
        self._drain_asked.set()

    async def producers_ended(self) -> None:
        """Wait until the drain has ended the producers, which takes at most half the grace."""
        await self._producers_ended.wait()

    async def drained(self) -> None:
        """Wait until the producers have ended and the clients have been told and are gone.

        Takes at most the grace.
        """
        await self._drained.wait()

    async def _drain_when_asked(self) -> None:
        await self._drain_asked.wait()
        self.draining = True
        grace = self.timing.grace
        logger.info("draining: %d connections, at most %.0f s", len(self.connections), grace)
        deadline = trio.current_time() + grace
        async with trio.open_nursery() as nursery:
            for supervisor in self.supervisors.values():
                nursery.start_soon(supervisor.stop, grace / 2)
        self.farewell = True
        self._producers_ended.set()
        for connection in list(self.connections):
            connection.wake.set()
        with trio.move_on_at(deadline):
            if self.connections:
                await self._all_gone.wait()
        self._drained.set()

    # Seeing

    @property
    def status(self) -> str:
        """``starting``, ``ready`` or ``draining``."""
        return "ready" if self.ready else "draining" if self.draining else "starting"

    @property
    def ready(self) -> bool:
        """Whether it serves: started, and not on its way out."""
        return self.running and not self.draining

    def run_stats(self, name: str) -> ps.RunStats | None:
        """The statistics of a topic's pipeline; None where it has none, or it never ran."""
        run = self.supervisors[name].run
        return None if run is None else run.stats()
