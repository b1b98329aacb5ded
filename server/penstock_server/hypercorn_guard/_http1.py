"""HTTP/1.1: bytes after a request don't hide a disconnect, and a target is a path."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.typing import AppWrapper, ConnectionState, TaskGroup, WorkerContext

from penstock_server.hypercorn_guard._context import GuardedContext, logger
from penstock_server.hypercorn_guard._events import (
    GoingAway,
    HeadTimedOut,
    PipelinedInput,
    StreamAborted,
    TransportAborted,
)
from penstock_server.hypercorn_guard._targets import path_of

MAX_PIPELINED_BYTES = 2**16
"""What may be read ahead of the request that is being answered, up to one more read."""


class PatientConnection(h11.Connection):
    """An h11 connection that, paused, asks for data instead.

    Hypercorn stops reading at PAUSED, and with it stops seeing the peer leave.
    """

    _paused = False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event; NEED_DATA in place of PAUSED."""
        event = super().next_event()
        self._paused = event is h11.PAUSED
        return h11.NEED_DATA if event is h11.PAUSED else event

    def start_next_cycle(self) -> None:
        """Begin the next request."""
        super().start_next_cycle()
        self._paused = False

    @property
    def pipelined_bytes(self) -> int:
        """How many bytes wait for the end of the current request."""
        return len(self.trailing_data[0]) if self._paused else 0


class GuardedH11Protocol(H11Protocol):
    """Hypercorn's HTTP/1.1, which goes on reading while a request is answered.

    What a client pipelines is kept, to a limit, and parsed when its turn comes. Past the limit
    nothing more is read, so that there a disconnect is only seen by writing.

    A request for an upgrade to HTTP/2 is answered in HTTP/1.1 (RFC 9113 no longer knows it): where
    a proxy passes it on, what follows would go past the proxy's rules.
    """

    if TYPE_CHECKING:  # _install replaces both names or none
        context: GuardedContext

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        connection_state: ConnectionState,
        ssl: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        super().__init__(
            app, config, context, task_group, connection_state, ssl, client, server, send
        )
        self.connection = PatientConnection(
            h11.SERVER, max_incomplete_event_size=config.h11_max_incomplete_size
        )
        self._parsing = trio.Lock()
        self._peer_gone = False

    async def handle(self, event: Event) -> None:
        """Take what the transport has read, or has to say."""
        if isinstance(event, Closed):
            self._peer_gone = True
            await self.can_read.set()
            await super().handle(event)
        elif isinstance(event, PipelinedInput):
            async with self._parsing:
                await self._handle_events()
        elif isinstance(event, HeadTimedOut):
            await self._say_too_late()
        elif isinstance(event, GoingAway):
            pass  # HTTP/1.1 has no word for it
        else:
            async with self._parsing:
                await super().handle(event)
            if isinstance(event, RawData) and self._pipelined_bytes() > MAX_PIPELINED_BYTES:
                await self._wait_for_turn()

    async def stream_send(self, event: StreamEvent) -> None:
        """Do what the stream asks of the connection."""
        if isinstance(event, StreamAborted):
            await self.send(TransportAborted())
        else:
            await super().stream_send(event)

    async def _say_too_late(self) -> None:
        begun = isinstance(self.connection, h11.Connection) and self.connection.trailing_data[0]
        if begun and self.connection.our_state is h11.IDLE:
            await self._send_error_response(408)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Go over to HTTP/2 where a connection begins with its preface."""
        preface = (event.method, event.target, event.http_version) == (b"PRI", b"*", b"2.0")
        if preface and self.keep_alive_requests == 0:
            rest = self.connection.trailing_data[0]
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + rest)

    async def _create_stream(self, request: h11.Request) -> None:
        found = path_of(request.method, request.target)
        known = request.http_version.startswith(b"1.")
        if found is None or not known:
            self.context.admission.faulty += 1
            logger.debug("HTTP/1.1 from %s: neither a path nor HTTP/1.1", self.client)
            await self._send_error_response(400 if known else 505)
            await self.send(Closed())
            return
        path, authority = found
        if path != request.target:
            # The authority of the target counts, whatever Host says (RFC 9112, section 3.2.2).
            headers = [each for each in request.headers if each[0] != b"host"]
            request = h11.Request(
                method=request.method,
                target=path,
                headers=[(b"host", authority or b""), *headers],
                http_version=request.http_version,
            )
        await super()._create_stream(request)

    def _pipelined_bytes(self) -> int:
        if isinstance(self.connection, PatientConnection):
            return self.connection.pipelined_bytes
        return 0  # a WebSocket reads all that comes

    async def _wait_for_turn(self) -> None:
        if not self._peer_gone:
            await self.can_read.clear()
            await self.can_read.wait()

    async def _maybe_recycle(self) -> None:
        # An application that is told of the end may be cancelled for it, in the midst of this:
        # the connection would then have neither its next request nor its time-out.
        with trio.CancelScope(shield=True):
            await self._recycle()

    async def _recycle(self) -> None:
        await super()._maybe_recycle()
        waiting = isinstance(self.connection, PatientConnection) and (
            self.connection.trailing_data[0] != b""
        )
        if waiting and not self._peer_gone:
            # By way of the transport, which knows what to do when it turns out to be HTTP/2.
            await self.send(PipelinedInput())
