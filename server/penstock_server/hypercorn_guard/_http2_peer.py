"""HTTP/2: what a peer may do to the connection, and how the connection ends (RFC 9113).

Three ends. A peer that breaks the protocol, or floods, is told by GOAWAY and cut. One that has had
``keep_alive_max_requests``, or whose server shuts down, is told by GOAWAY with NO_ERROR: what runs
goes on, what it asks from then on is refused (section 6.8), and after the last stream the
connection is closed. An idle connection is told the same, then closed.
"""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the functions it passes around without types.

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import h2.events
import h2.exceptions
import h2.settings
import trio
from h2.errors import ErrorCodes
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import AppWrapper, ConnectionState, TaskGroup, WorkerContext
from hyperframe.frame import GoAwayFrame

from penstock_server.hypercorn_guard._budget import Budget
from penstock_server.hypercorn_guard._context import logger
from penstock_server.hypercorn_guard._events import GoingAway, HeadExpected, HeadTimedOut
from penstock_server.hypercorn_guard._http2 import FlowControlledH2
from penstock_server.hypercorn_guard._targets import objection_to

SLICE: Final = 2**11
"""Bytes that are parsed before others get their turn: some hundred of the smallest frames."""

MAX_HEADER_BLOCK: Final = 2**15
"""Bytes of a compressed header block. The h2 library takes a megabyte, which may hold the loop for
two seconds."""

REQUESTS_A_TURN: Final = 8
"""Requests that are begun before the applications of those before them get their turn."""

MAX_RESETS: Final = 500
RESETS_PER_SECOND: Final = 50.0
"""Requests that a client may take back at once, and in the long run: each has been begun."""

HARD_STREAMS_FACTOR: Final = 4
"""How many times the advertised streams may be open before the connection is given up. Up to there
each one too many is refused, for a client can't know the limit before it has our settings."""

_COSTLY: Final = (
    h2.events.PingReceived,
    h2.events.PingAckReceived,
    h2.events.RemoteSettingsChanged,
    h2.events.UnknownFrameReceived,
)


class GuardedH2Protocol(FlowControlledH2):
    """Hypercorn's HTTP/2, which outlives no flood and ends no stream that is well.

    Plain Hypercorn's GOAWAY after ``keep_alive_max_requests`` silently ends all streams; a request
    it can't make sense of ends the process; pings, settings and resets are taken without bound
    (CVE-2019-9512, CVE-2019-9515, CVE-2023-44487).
    """

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
        self._budget = Budget()
        self._resets = Budget(MAX_RESETS, RESETS_PER_SECOND)
        self._requests_this_turn = 0
        self._greeted = False
        self._going_away = False

    async def initiate(
        self, headers: list[tuple[bytes, bytes]] | None = None, settings: bytes | None = None
    ) -> None:
        """Greet the peer, and expect its greeting in time."""
        await super().initiate(headers, settings)
        self.connection.local_settings = self._enforced_settings()
        await self.send(HeadExpected())

    def _enforced_settings(self) -> h2.settings.Settings:
        """What h2 ends the connection for; the peer has been told of less."""
        most = self.config.h2_max_concurrent_streams * HARD_STREAMS_FACTOR
        return h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: most,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: self.config.h2_max_header_list_size,
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )

    async def handle(self, event: Event) -> None:
        """Take what the transport has read, or has to say."""
        if isinstance(event, RawData):
            await self._receive(event.data)
        elif isinstance(event, GoingAway | HeadTimedOut):
            await self._go_away()
        else:
            await super().handle(event)

    async def settle(self) -> None:
        """Close what is going away, after its last stream; else note that it is idle."""
        if self.stream_buffers or not self.idle:
            return
        if self.context.terminated.is_set():
            await self._go_away()
        if self._going_away:
            await self.send(Closed())
        else:
            await self.send(Updated(idle=True))

    # What comes

    async def _receive(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            if start:
                await trio.lowlevel.checkpoint()
            if self.closed:
                return
            try:
                events = self.connection.receive_data(data[start : start + SLICE])
            except h2.exceptions.ProtocolError as fault:
                self.context.admission.faulty += 1
                logger.debug("HTTP/2 from %s: %s", self.client, fault)
                await self._flush()
                await self.send(Closed())
                return
            if self._header_block_size() > MAX_HEADER_BLOCK:
                await self._end_flood("a header block without end")
                return
            await self._handle_events(events)

    def _header_block_size(self) -> int:
        """Bytes of the header block that is coming in."""
        frames = self.connection.incoming_buffer._headers_buffer  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return sum(len(frame.data) for frame in frames)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if self.closed:
                return
            if not self._is_affordable(event):
                await self._end_flood(type(event).__name__)
                return
            if isinstance(event, h2.events.RequestReceived):
                await self._begin(event)
                continue
            await super()._handle_events([event])
            if isinstance(event, h2.events.RemoteSettingsChanged) and not self._greeted:
                self._greeted = True
                await self.settle()
        await self._flush()

    def _is_affordable(self, event: h2.events.Event) -> bool:
        if isinstance(event, h2.events.StreamReset):
            return self._resets.spend()
        return not isinstance(event, _COSTLY) or self._budget.spend()

    async def _end_flood(self, of: str) -> None:
        self.context.admission.floods += 1
        logger.debug("HTTP/2 from %s: a flood of %s", self.client, of)
        with suppress(h2.exceptions.ProtocolError):
            self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        await self._flush()
        await self.send(Closed())

    async def _priority_updated(self, event: h2.events.PriorityUpdated) -> None:
        """Leave it: priorities are deprecated (section 5.3.2), and each would be remembered."""

    # Requests

    async def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id
        objection = objection_to(event.headers, self.config.h11_max_incomplete_size)
        if self.context.terminated.is_set():
            await self._go_away()
        full = len(self.streams) >= self.config.h2_max_concurrent_streams
        if full or self._going_away:
            if self._budget.spend():
                await self.reset(stream_id, ErrorCodes.REFUSED_STREAM)
            else:
                await self._end_flood("requests")
        elif objection is not None:
            self.context.admission.faulty += 1
            logger.debug("HTTP/2 from %s: a request was refused with %d", self.client, objection)
            await self._refuse(stream_id, objection)
        else:
            await self._create_stream(event)
            await self.send(Updated(idle=False))
            if self.keep_alive_requests >= self.config.keep_alive_max_requests:
                await self._go_away()
        await self._flush()
        self._requests_this_turn += 1
        if self._requests_this_turn >= REQUESTS_A_TURN:
            self._requests_this_turn = 0
            await trio.lowlevel.checkpoint()

    async def _refuse(self, stream_id: int, status: int) -> None:
        """Answer a request that no application sees; what it goes on to send is not wanted."""
        headers = [(b":status", b"%d" % status), (b"content-length", b"0")]
        with suppress(h2.exceptions.ProtocolError):
            self.connection.send_headers(
                stream_id, headers + self.config.response_headers("h2"), end_stream=True
            )
            self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)

    async def _go_away(self) -> None:
        """Announce, once, that nothing new is taken, and leave what runs alone.

        Not by h2, for which the connection would be over.
        """
        if self._going_away or self.closed:
            return
        self._going_away = True
        await self._flush()
        last = self.connection.highest_inbound_stream_id
        await self.send(RawData(GoAwayFrame(0, last_stream_id=last).serialize()))
