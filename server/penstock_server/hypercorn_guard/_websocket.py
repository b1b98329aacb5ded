"""WebSocket: close codes, message limits and heartbeats (RFC 6455)."""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the functions it passes around without types.

from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import (
    Body,
    Data,
    EndBody,
    EndData,
    Event,
    Request,
    StreamClosed,
)
from hypercorn.protocol.ws_stream import (
    ASGIWebsocketState,
    FrameTooLargeError,
    WSStream,
)
from hypercorn.typing import (
    AppWrapper,
    ASGISendEvent,
    TaskGroup,
    WebsocketAcceptEvent,
    WorkerContext,
)
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.events import Event as WSProtoEvent
from wsproto.frame_protocol import CloseReason

from penstock_server.hypercorn_guard._budget import Budget
from penstock_server.hypercorn_guard._context import GuardedContext, logger
from penstock_server.hypercorn_guard._events import StreamAborted
from penstock_server.hypercorn_guard._handshake import GuardedHandshake
from penstock_server.hypercorn_guard._message import MessageBuffer

CLOSING_TIMEOUT = 2.0
"""Seconds for a peer to answer our close frame. Closed at once, with its data unread, TCP would
reset the connection and the peer might never see the close code."""

EVENTS_A_TURN = 64
"""Frames that are taken before the event loop gets its turn."""


class Direct(Protocol):
    """Who writes frames beside the WebSocket."""

    def end(self) -> None:
        """The last frame has been sent, or is about to be: no other may follow."""
        ...


class GuardedWebSocket(WSStream):
    """Hypercorn's WebSocket, which ends what it refuses and tells who is alive.

    Attributes:
        last_pong: When the peer's last pong came, on Trio's clock; at first, when the connection
            was accepted. Pongs are read in the order of the input: an application that doesn't
            receive its messages delays them.
        direct: Who writes frames to the socket beside it; None where nobody does.
    """

    direct: "Direct | None" = None

    if TYPE_CHECKING:  # _install replaces both names or none
        context: GuardedContext

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        ssl: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        stream_id: int,
    ) -> None:
        super().__init__(app, config, context, task_group, ssl, client, server, send, stream_id)
        self.buffer = MessageBuffer(config.websocket_max_message_size)
        self.last_pong = -inf
        self._pong: Pong | None = None
        self._peer_gone = trio.Event()
        self._budget = Budget()
        self._events_this_turn = 0

    @property
    def max_message_bytes(self) -> int:
        """Bytes of an incoming message, text in UTF-8; one that is longer gets close code 1009."""
        return self.buffer.max_length

    @max_message_bytes.setter
    def max_message_bytes(self, limit: int) -> None:
        self.buffer.max_length = limit

    @property
    def has_extensions(self) -> bool:
        """Whether a frame is more than its head and its payload."""
        return bool(self.connection._proto.extensions)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] # wsproto has no other way

    async def ping(self) -> None:
        """Send a ping, between whole messages; nothing but a checkpoint before or after the open.

        Like every write it is shielded and takes at most ``stall_timeout``.
        """
        if self.closed or self.state is not ASGIWebsocketState.CONNECTED:
            await trio.lowlevel.checkpoint()
        else:
            await self._send_wsproto_event(Ping())

    async def abort(self) -> None:
        """Drop the connection at once, without a close frame; over HTTP/2, this stream of it.

        A send that is under way ends, and the application is told of the disconnect.
        """
        await self.send(StreamAborted(stream_id=self.stream_id))

    async def handle(self, event: Event) -> None:
        """Take what the protocol has read, or has to say."""
        if isinstance(event, StreamClosed | EndBody):
            self._peer_gone.set()
        if isinstance(event, Request):
            await super().handle(event)
            if self.closed:  # refused; nothing else would end the stream
                await self.send(StreamClosed(stream_id=self.stream_id))
        elif self.closed or not isinstance(event, Body | Data | EndBody):
            await super().handle(event)
        elif not self.handshake.accepted:
            await self._refuse_early_input()
        elif isinstance(event, EndBody):
            # The end of the peer's half of an HTTP/2 stream is its FIN (RFC 8441, section 5).
            self.closed = True
            await self._tell_application(CloseReason.ABNORMAL_CLOSURE)
            self.task_group.spawn(self._hang_up, None)
        else:
            await super().handle(event)

    async def _refuse_early_input(self) -> None:
        self.closed = True
        await self._send_error_response(400)
        await self._tell_application(CloseReason.ABNORMAL_CLOSURE)
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Do what the application asks; never without a checkpoint, however dead the peer."""
        if message is not None:
            if self.closed:
                await trio.lowlevel.checkpoint()
            await super().app_send(message)
        elif self.closed or self.state not in _OPENED:
            await super().app_send(message)
        else:
            # Over without a close of its own, the application has failed.
            crashed = self.state is ASGIWebsocketState.CONNECTED
            await self._tell_application(CloseReason.NORMAL_CLOSURE)
            await self._hang_up(CloseConnection(CloseReason.INTERNAL_ERROR) if crashed else None)

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        self.last_pong = trio.current_time()
        if isinstance(self.handshake, GuardedHandshake) and self.context.accepts_deflate:
            self.handshake.allow_deflate(lambda: self.max_message_bytes)
        await super()._accept(message)

    async def _send_wsproto_event(self, event: WSProtoEvent) -> None:
        if self.connection.state is not ConnectionState.OPEN:
            await trio.lowlevel.checkpoint()  # it may be dropped, and must not be for free
        await super()._send_wsproto_event(event)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, BytesMessage | TextMessage):
                await self._receive(event)
            elif isinstance(event, CloseConnection):
                await self._receive_close(event)
            elif not self._budget.spend():
                await self._end_flood()
            elif isinstance(event, Ping):
                self._answer(event)
            elif isinstance(event, Pong):
                self.last_pong = trio.current_time()
            if self.closed:
                return
            self._events_this_turn += 1
            if self._events_this_turn >= EVENTS_A_TURN:
                self._events_this_turn = 0
                await trio.lowlevel.checkpoint()

    async def _end_flood(self) -> None:
        self.context.admission.floods += 1
        logger.debug("WebSocket of %s: a flood of control frames", self.client)
        await self._fail(CloseReason.POLICY_VIOLATION)

    async def _receive(self, part: Message[Any]) -> None:
        try:
            self.buffer.extend(part)
        except FrameTooLargeError:
            await self._fail(CloseReason.MESSAGE_TOO_BIG)
            return
        if part.message_finished and self.app_put is not None:
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _receive_close(self, event: CloseConnection) -> None:
        """There are three cases: the peer closes, answers our close, or sent what can't be read."""
        if self.connection.state is ConnectionState.REMOTE_CLOSING:
            self._peer_gone.set()  # nothing follows; the server is the first to close (7.1.1)
            await self._end(event.code, event.response())
        elif self.connection.state is ConnectionState.OPEN:
            self.context.admission.faulty += 1
            logger.debug("WebSocket of %s: %s", self.client, event.reason)
            await self._fail(event.code)
        else:
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def _fail(self, code: int) -> None:
        """Refuse what came (RFC 6455, section 7.1.7); whatever else comes is read and dropped."""
        await self._end(code, CloseConnection(code))

    async def _end(self, code: int, farewell: CloseConnection) -> None:
        self.closed = True
        if self.direct is not None:
            self.direct.end()
        await self._tell_application(code)
        # By a task: over HTTP/2 a write may wait for a WINDOW_UPDATE, which this task has to read.
        self.task_group.spawn(self._hang_up, farewell)

    async def _tell_application(self, code: int) -> None:
        if self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": int(code)})

    async def _hang_up(self, farewell: CloseConnection | None) -> None:
        """Send the close frame, give the peer time to answer, then end the stream."""
        if farewell is not None:
            await self._send_wsproto_event(farewell)
        with trio.move_on_after(CLOSING_TIMEOUT):
            await self.send(EndData(stream_id=self.stream_id))
            await self._peer_gone.wait()
        await self.send(StreamClosed(stream_id=self.stream_id))

    def _answer(self, ping: Ping) -> None:
        """Answer by a task, for the reason in ``_end``; of many pings, the last (5.5.3)."""
        idle = self._pong is None
        self._pong = ping.response()
        if idle:
            self.task_group.spawn(self._send_pongs)

    async def _send_pongs(self) -> None:
        while (pong := self._pong) is not None:
            await self._send_wsproto_event(pong)
            if self._pong is pong:
                self._pong = None


_OPENED = frozenset({ASGIWebsocketState.CONNECTED, ASGIWebsocketState.CLOSED})


def websocket_of(send: object) -> GuardedWebSocket | None:
    """The WebSocket behind an ASGI ``send`` callable.

    None where ``send`` isn't that of a guarded Hypercorn's WebSocket: another server, or wrapped on
    its way.
    """
    owner = getattr(send, "__self__", None)
    return owner if isinstance(owner, GuardedWebSocket) else None
