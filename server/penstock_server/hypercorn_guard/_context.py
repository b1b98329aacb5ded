"""What the connections of one worker share: limits, and the news of a shutdown."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import inf
from types import TracebackType
from typing import Protocol, runtime_checkable

import trio
from hypercorn.trio.worker_context import EventWrapper, WorkerContext
from hypercorn.typing import Event

from penstock_server.hypercorn_guard._admission import Admission, ConnectionCounts

logger = logging.getLogger("penstock.server.connections")
"""Faults of peers are DEBUG, limits that were met WARNING; Hypercorn's own log has our faults."""

STALL_TIMEOUT = 30.0
"""Seconds that a peer may accept nothing, unless the application sets another time."""

HEADER_TIMEOUT = 10.0
"""Seconds for a TLS handshake and for a request head, unless the application sets others."""

LOG_INTERVAL = 60.0
"""Seconds between two lines of the log on the same limit."""


@runtime_checkable
class Preparing(Protocol):
    """A configuration of Hypercorn's that has something to set before the first connection."""

    def prepare_context(self, context: "GuardedContext") -> None:
        """Set what the application wants other than by default."""
        ...


class TerminationEvent(EventWrapper):
    """Hypercorn's event of the shutdown, which also makes a call when it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.announce: Callable[[], None] | None = None

    async def set(self) -> None:
        """Set the event and, the first time, make the call."""
        await super().set()
        announce, self.announce = self.announce, None
        if announce is not None:
            announce()


class _Bounded(AbstractContextManager[trio.CancelScope]):
    """A scope whose deadline a shutdown moves. A class, because each write over TLS needs one, and
    a generator takes four times as long.
    """

    __slots__ = ("_grace", "_pending", "_scope")

    def __init__(
        self, pending: dict[trio.CancelScope, float], scope: trio.CancelScope, grace: float
    ) -> None:
        self._pending = pending
        self._scope = scope
        self._grace = grace

    def __enter__(self) -> trio.CancelScope:
        self._pending[self._scope] = self._grace
        return self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        del self._pending[self._scope]
        return self._scope.__exit__(kind, error, traceback)


class GuardedContext(WorkerContext):
    """Hypercorn's worker context with limits and an early notice of the shutdown.

    All limits can be set at any time, and hold for what starts afterwards. A configuration that is
    :class:`Preparing` sets them before the first connection.

    Attributes:
        stall_timeout: Seconds after which a connection whose peer accepts nothing is dropped.
        header_timeout: Seconds for a TLS handshake, and for a request head to come in.
        accepts_deflate: Whether a WebSocket may be compressed (permessage-deflate, RFC 7692).
        admission: How many connections there are and may be.
    """

    def __init__(self, max_requests: int | None) -> None:
        super().__init__(max_requests)
        self.stall_timeout = STALL_TIMEOUT
        self.header_timeout = HEADER_TIMEOUT
        self.accepts_deflate = False
        self.admission = Admission()
        self._prepared = False
        self._logged: dict[str, float] = {}
        terminated = TerminationEvent()
        terminated.announce = self._announce
        self.terminated: Event = terminated
        self._terminated_at = inf
        # A dictionary and not a set, to keep the order in which they came.
        self._callbacks: dict[Callable[[], None], None] = {}
        self._pending: dict[trio.CancelScope, float] = {}

    @property
    def max_connections(self) -> int:
        """Connections at a time, of all clients together; one more is answered with 503."""
        return self.admission.max_connections

    @max_connections.setter
    def max_connections(self, most: int) -> None:
        self.admission.max_connections = most

    @property
    def max_connections_per_address(self) -> int:
        """Connections at a time of one address; one more is answered with 429."""
        return self.admission.max_connections_per_address

    @max_connections_per_address.setter
    def max_connections_per_address(self, most: int) -> None:
        self.admission.max_connections_per_address = most

    def connection_counts(self) -> ConnectionCounts:
        """What has become of the connections so far."""
        return self.admission.counts()

    def prepare(self, config: object) -> None:
        """Let the configuration set what it wants, once."""
        if not self._prepared:
            self._prepared = True
            if isinstance(config, Preparing):
                config.prepare_context(self)

    def is_time_to_log(self, what: str) -> bool:
        """Whether a line on this was not written lately; says so once a minute for each."""
        now = trio.current_time()
        if now - self._logged.get(what, -inf) < LOG_INTERVAL:
            return False
        self._logged[what] = now
        return True

    @property
    def is_terminated(self) -> bool:
        """Whether the server has begun to shut down."""
        return self.terminated.is_set()

    def on_terminated(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the server begins to shut down; at once if it has begun.

        Plain Hypercorn tells an application only when its grace is over. The calls come in the
        order of registration; a callback that is registered twice is called once. One that raises
        doesn't keep the others from being called, but then ends the server with an
        ``ExceptionGroup``.
        """
        if self.is_terminated:
            callback()
        else:
            self._callbacks[callback] = None

    def write_deadline(self, grace: float) -> float:
        """When a write that makes no progress from now on must end, on Trio's clock.

        ``grace`` is the seconds that a write may go on after the start of the shutdown.
        """
        return min(trio.current_time() + self.stall_timeout, self._terminated_at + grace)

    def bounded(self, grace: float, *, shield: bool) -> AbstractContextManager[trio.CancelScope]:
        """A scope that ends after ``stall_timeout``, or ``grace`` seconds into the shutdown."""
        scope = trio.CancelScope(deadline=self.write_deadline(grace), shield=shield)
        return _Bounded(self._pending, scope, grace)

    def _announce(self) -> None:
        """Cut the writes under way, then tell those who asked."""
        self._terminated_at = trio.current_time()
        for scope, grace in self._pending.items():
            scope.deadline = min(scope.deadline, self._terminated_at + grace)
        callbacks, self._callbacks = self._callbacks, {}
        errors: list[Exception] = []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - raised below, when all have been called
                errors.append(error)
        if errors:
            raise ExceptionGroup("callbacks of the shutdown failed", errors)


def context_of(send: object) -> GuardedContext | None:
    """The context behind an ASGI ``send`` callable, for HTTP or WebSocket.

    None where ``send`` isn't that of a guarded Hypercorn: another server, or wrapped on its way.
    """
    context = getattr(getattr(send, "__self__", None), "context", None)
    return context if isinstance(context, GuardedContext) else None
