"""One transport: bounded in number, time and writes; its errors stay its own."""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the functions it passes around without types.

import os
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import AppWrapper, LifespanState

from penstock_server.hypercorn_guard._admission import Refusal
from penstock_server.hypercorn_guard._context import GuardedContext, logger
from penstock_server.hypercorn_guard._events import (
    GoingAway,
    HeadExpected,
    HeadTimedOut,
    PipelinedInput,
    TransportAborted,
)
from penstock_server.hypercorn_guard._refusal import Stream, refuse

WRITE_SIZE = 2**16
"""Bytes for which a peer has one ``stall_timeout``: a big write may take longer in all."""

WRITES_A_TURN = 16
"""Writes that needn't wait before the event loop gets its turn all the same."""

READ_SIZE = 2**16
"""Bytes that are read at a time."""


class Direct(Protocol):
    """Who writes to the socket beside the transport."""

    def blocked(self) -> None:
        """The transport waits with a write: nobody else may write until it is through."""
        ...

    def progressed(self) -> None:
        """The peer has taken a part of that write, `WRITE_SIZE` bytes or the rest."""
        ...


class GuardedTCPServer(TCPServer):
    """Hypercorn's handler of one connection, corrected.

    Attributes:
        direct: who writes to the socket beside it; None where nobody does.
        owed: what they have left over, which the next write begins with.

    Plain Hypercorn shields ``send_all`` without a limit, so one peer that stops reading holds up
    its application and the shutdown for ever. It lets an exception of one connection, which a
    malformed request is enough to cause, end all of them. After the peer has gone it keeps the
    socket until the keep-alive time-out. It has no limit to the number of connections; and one that
    has begun HTTP/2, and then says nothing, stays for ever.
    """

    if TYPE_CHECKING:  # _install replaces both names or none
        context: GuardedContext

    direct: "Direct | None" = None
    owed = b""
    _reading = True
    _writes_this_turn = 0

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: GuardedContext,
        state: LifespanState,
        stream: "trio.SSLStream[trio.SocketStream]",
    ) -> None:
        super().__init__(app, config, context, state, stream)
        context.prepare(config)
        self._awaits_head = True
        self._idle: trio.CancelScope | None = None
        self._head_begun = False

    async def run(self) -> None:
        """Serve the connection; an error is logged and ends this connection only."""
        admission, address = self.context.admission, _address_of(self.stream)
        try:
            with admission.of(address) as refusal:
                if refusal is None:
                    if await self._shake_hands():
                        await super().run()
                    return
            with admission.refusing() as has_time:
                self._log_refusal(refusal, address)
                if has_time:
                    await refuse(self.stream, refusal)
        except* Exception:  # noqa: BLE001 - whatever it is, it is this connection's alone
            await self.config.log.exception("Error in a connection")

    def _log_refusal(self, why: Refusal, address: str | None) -> None:
        if self.context.is_time_to_log(why.name):
            logger.warning(
                "a connection from %s was refused with %d: the limit is %s; %d so far",
                address,
                why.status,
                why.setting,
                self.context.admission.refused(why),
            )

    async def _shake_hands(self) -> bool:
        """Whether the connection is ready for HTTP; over TLS, after the peer's handshake."""
        stream: Stream = self.stream
        if isinstance(stream, trio.SocketStream):
            return True
        with trio.move_on_after(self.context.header_timeout) as scope:
            try:
                await stream.do_handshake()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.context.admission.faulty += 1
                return False
        if scope.cancelled_caught:
            self.context.admission.timed_out += 1
        return not scope.cancelled_caught

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol asks of the transport."""
        if isinstance(event, RawData):
            await self.write(event.data)
        elif isinstance(event, PipelinedInput):
            self._task_group.spawn(self.protocol.handle, event)
        elif isinstance(event, TransportAborted):
            await self._drop()
        elif isinstance(event, Updated | HeadExpected):
            self._awaits_head = isinstance(event, HeadExpected)
            if isinstance(event, HeadExpected) or event.idle:
                if self._reading:  # else nobody is left to keep the connection alive for
                    await self.idle_task.restart(self._task_group, self._idle_timeout)
            else:
                await self.idle_task.stop()
        else:
            await super().protocol_send(event)

    async def write(self, data: bytes) -> None:
        """Write all of it, in the order of the calls, after what is owed.

        Most writes fit into the socket's buffer, and then cost one system call: no scope, no
        deadline, and no checkpoint but now and then.
        """
        try:
            self.send_lock.acquire_nowait()
        except trio.WouldBlock:
            await self.send_lock.acquire()
        try:
            if self.owed:
                data, self.owed = self.owed + data, b""
            rest = memoryview(data)[self._write_at_once(data) :]
            if rest and self.direct is not None:
                self.direct.blocked()
            written = not rest or await self._write_in_time(rest)
        finally:
            self.send_lock.release()
        if not written:
            await self._drop()
        self._writes_this_turn += 1
        # To write to nobody costs nothing either, so there too a turn has an end.
        if not written or self._writes_this_turn >= WRITES_A_TURN:
            self._writes_this_turn = 0
            await trio.lowlevel.checkpoint()

    def _write_at_once(self, data: bytes) -> int:
        """How many bytes the socket took without waiting; an error is left to the next write."""
        if os.name != "posix" or not isinstance(self.stream, trio.SocketStream):
            return 0
        try:
            return os.write(self.stream.socket.fileno(), data)
        except OSError:
            return 0

    async def _write_in_time(self, rest: memoryview) -> bool:
        """Write all, shielded: a frame that was begun is finished, or the connection is over."""
        grace = self.config.graceful_timeout
        try:
            with self.context.bounded(grace, shield=True) as scope:
                while True:
                    await self.stream.send_all(rest[:WRITE_SIZE])
                    rest = rest[WRITE_SIZE:]
                    if not rest:
                        break
                    scope.deadline = self.context.write_deadline(grace)
                    if self.direct is not None:
                        self.direct.progressed()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return False
        return not scope.cancelled_caught

    async def _drop(self) -> None:
        """Drop the transport without farewell and tell the protocol."""
        # Shielded, or a cancelled application would leave the protocol uninformed.
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)
            await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        while (data := await self._read()) is not None:
            self._note_input()
            await self.protocol.handle(RawData(data))
            if not data:
                break
        await self.protocol.handle(Closed())
        self._reading = False
        # Its task would hold this connection for the rest of the keep-alive time-out.
        await self.idle_task.stop()

    async def _read(self) -> bytes | None:
        """What has come, empty at the end; None where nothing can come any more."""
        try:
            with trio.fail_after(self.config.read_timeout or inf):
                return bytes(await self.stream.receive_some(READ_SIZE))
        except (trio.ClosedResourceError, trio.BrokenResourceError, trio.TooSlowError):
            return None

    def _note_input(self) -> None:
        """What comes to an idle HTTP/1.1 connection begins a request head."""
        if (
            self._idle is not None
            and not self._head_begun
            and not isinstance(self.protocol.protocol, H2Protocol)
        ):
            self._head_begun = True
            whole_by = trio.current_time() + self.context.header_timeout
            self._idle.deadline = min(self._idle.deadline, whole_by)

    async def _idle_timeout(self) -> None:
        """Close the connection unless a request comes in time, or when the server ends."""
        keep_alive, self._head_begun = self.config.keep_alive_timeout, False
        seconds = self.context.header_timeout if self._awaits_head else keep_alive
        with trio.move_on_after(seconds) as scope:
            self._idle = scope
            try:
                await self.context.terminated.wait()
            finally:
                if self._idle is scope:
                    self._idle = None
        with trio.CancelScope(shield=True):
            late = scope.cancelled_caught and (self._awaits_head or self._head_begun)
            self.context.admission.timed_out += late
            await self.protocol.handle(HeadTimedOut() if late else GoingAway())
            await self._initiate_server_close()

    async def _close(self) -> None:
        # Over TLS a farewell is written, which a peer that has stopped reading never takes.
        # Shielded, or the socket of a cancelled application would stay open.
        with self.context.bounded(self.config.graceful_timeout, shield=True) as scope:
            await super()._close()
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self.stream)

    async def _initiate_server_close(self) -> None:
        with self.context.bounded(self.config.graceful_timeout, shield=False) as scope:
            await super()._initiate_server_close()
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self.stream)


def _address_of(stream: Stream) -> str | None:
    """The peer's IP address; None where it has none, or has gone already."""
    transport = stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
    try:
        peer: Any = transport.socket.getpeername()
    except OSError:
        return None
    return None if isinstance(peer, str) else str(peer[0])  # a Unix socket's is its path
