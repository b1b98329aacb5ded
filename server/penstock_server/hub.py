"""What a running server consists of: its topics, their supervisors, and its connections.

The hub owns no transport. Transports register each connection, are told of the drain through its
`Wake`, and look at `Hub.farewell`.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from math import inf
from typing import Any

import trio

import penstock as ps

from .auth import Auth
from .catalogue import Catalogue
from .connections import Connection, Connections, Ending
from .counters import Counters
from .grants import Grant
from .idempotency import IdempotencyKeys
from .jobs import Jobs
from .lifecycle import Lifecycle
from .log import Start, resolve
from .loop_delay import LoopDelay
from .rate import Buckets
from .settings import Limits, Timing
from .topics import Topic

logger = logging.getLogger("penstock.server")


class Hub:
    """The topics and connections of one server. `run` must be running for readers to be woken.

    Args:
        auth: who may do what; None for a server that asks nobody.
        clock: seconds since 1970, for when rights expire.

    Attributes:
        title: what it is called, for people.
        counters: what was delivered, refused and cut off; the transports count here.
        loop_delay: how late the event loop is.
        jobs: the jobs, and their runs.
        rates: how fast each client may publish.
        idempotency: the keys of publications that were stored.
        direct: whether events may be written straight to sockets.
        websocket_compression: whether permessage-deflate is agreed on.
        all_started: set once the ASGI server was told that everything has started.
        draining: the shutdown has begun: not ready, no publications, producers end.
        farewell: the producers have ended: who has read everything is told to reconnect.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        limits: Limits,
        timing: Timing,
        auth: Auth | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.catalogue = catalogue
        self.topics = catalogue.topics
        self.title = "penstock"
        self.lifecycle = Lifecycle(catalogue)
        self.lifecycle.dropped = self._remember
        self.supervisors = self.lifecycle.supervisors
        self.jobs = Jobs(catalogue.jobs, limits)
        self.limits = limits
        self.timing = timing
        self.auth = auth
        self.direct = True
        self.websocket_compression = False
        self.draining = False
        self.farewell = False
        self.running = False
        self.published = 0
        self.counters = Counters()
        self.connections = Connections(self.counters, timing, clock)
        self.loop_delay = LoopDelay()
        self.rates = Buckets(limits.publish_rate, limits.publish_burst)
        self.idempotency = IdempotencyKeys(timing.idempotency_window, limits.idempotency_keys)
        self.started = 0.0
        self.all_started = trio.Event()
        self._drain_asked = trio.Event()
        self._producers_ended = trio.Event()
        self._drained = trio.Event()
        self._until_drain: set[trio.CancelScope] = set()

    def find(self, name: str) -> Topic[Any] | None:
        """The topic of this name, made where a template stands for it; None where there is none.

        Raises `TooManyTopics` where the template has all the topics that it may have.
        """
        return self.catalogue.find(name)

    # Reading

    def start_of(self, topic: Topic[Any], asked: Any) -> Start:
        """Where a reader starts that asked for a `Cursor`, ``earliest`` or ``latest``."""
        return resolve(asked, topic.name, topic.log.epoch, topic.log.bounds())

    def connect(self, connection: Connection) -> Callable[[], None]:
        """Count a connection in; gives the function that takes it out of everything."""
        disconnect = self.connections.open(connection)
        if self.auth is not None and self.auth.revocations.refuses(connection.grant):
            self.connections.end(connection, "revoked")  # between its admission and now
        return disconnect

    def end_connections(self, concerned: Callable[[Grant], bool], why: Ending) -> int:
        """End the connections with such a grant; gives how many. Their transports do the rest."""
        return self.connections.end_those(concerned, why)

    def revoke(self, subject: str, token_id: str, until: float | None) -> None:
        """Revoke a token, or a subject's, and end what they have open: see `Server.revoke`."""
        if self.auth is None:
            raise ps.PenstockError("revoke: this server has no auth=, so there are no tokens")
        if until is None and token_id:
            grants = [connection.grant for connection in self.connections]
            until = max((each.expires for each in grants if each.token_id == token_id), default=inf)
        until = inf if until is None else until
        self.auth.revocations.revoke(subject=subject, token_id=token_id, until=until)

    def reconnect_delay(self) -> float:
        """How long one client should stay away from a server that goes away; in seconds."""
        return self.timing.retry + random.random() * self.timing.reconnect_spread  # noqa: S311

    # Running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run topics and wake readers until cancelled; after `begin_drain`, drain and go on waking.

        Cancelled, every pipeline is cancelled with its cleanup.
        """
        self.started = trio.current_time()
        unwatch: list[Callable[[], None]] = []
        if self.auth is not None:
            unwatch.append(self.auth.revocations.watch(self._end_revoked))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.connections.run)
                nursery.start_soon(self.loop_delay.run)
                nursery.start_soon(self._drain_when_asked)
                await nursery.start(self.lifecycle.run)
                await nursery.start(self.jobs.run)
                self.running = True
                task_status.started()
        finally:
            self.running = False
            for stop in unwatch:
                stop()

    def _remember(self, topic: Topic[Any]) -> None:
        """Keep what a dropped instance has counted: the sum of its template must not fall."""
        if topic.template is not None:
            last = topic.log.bounds().last
            self.counters.retire(topic.template, events=last, restarts=topic.restarts)

    def _end_revoked(self) -> None:
        assert self.auth is not None
        self.end_connections(self.auth.revocations.refuses, "revoked")

    # The end

    def begin_drain(self) -> None:
        """Start the shutdown: not ready any more, producers end, then every client is told.

        Returns at once. Calling it again changes nothing.
        """
        self._drain_asked.set()

    @contextmanager
    def until_drain(self) -> Generator[None]:
        """Cancel the block, and go on after it, when the drain begins; what has ended stays so."""
        with trio.CancelScope() as scope:
            self._until_drain.add(scope)
            try:
                yield
            finally:
                self._until_drain.discard(scope)

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
        for scope in self._until_drain:
            scope.cancel("the server goes away")
        grace = self.timing.grace
        logger.info("draining: %d connections, at most %.0f s", len(self.connections), grace)
        deadline = trio.current_time() + grace
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.lifecycle.stop, grace / 2)
            nursery.start_soon(self.jobs.stop, grace / 2)
        self.farewell = True
        self._producers_ended.set()
        self.connections.wake_all()
        with trio.move_on_at(deadline):
            await self.connections.none_left()
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
