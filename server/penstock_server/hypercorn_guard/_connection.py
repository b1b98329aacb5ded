"""One transport: its writes are bounded, it doesn't linger, and its errors stay its own."""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the functions it passes around without types.

import os
from typing import TYPE_CHECKING

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer

from penstock_server.hypercorn_guard._context import GuardedContext
from penstock_server.hypercorn_guard._events import PipelinedInput, TransportAborted

WRITE_SIZE = 2**16
"""Bytes for which a peer has one ``stall_timeout``: a big write may take longer in all."""

WRITES_A_TURN = 16
"""Writes that needn't wait before the event loop gets its turn all the same."""


class GuardedTCPServer(TCPServer):
    """Hypercorn's handler of one connection, corrected.

    Plain Hypercorn shields ``send_all`` without a limit, so one peer that stops reading holds up
    its application and the shutdown for ever. It lets an exception of one connection, which a
    malformed request is enough to cause, end all of them. And after the peer has gone it keeps the
    socket until the keep-alive time-out.
    """

    if TYPE_CHECKING:  # _install replaces both names or none
        context: GuardedContext

    _reading = True
    _writes_this_turn = 0

    async def run(self) -> None:
        """Serve the connection; an error is logged and ends this connection only."""
        try:
            await super().run()
        except* Exception:  # noqa: BLE001 - any error of a peer's making; the log has it
            await self.config.log.exception("Error in a connection")

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol asks of the transport."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, PipelinedInput):
            self._task_group.spawn(self.protocol.handle, event)
        elif isinstance(event, TransportAborted):
            await self._drop()
        elif isinstance(event, Updated) and event.idle and not self._reading:
            pass  # nobody is left to keep the connection alive for
        else:
            await super().protocol_send(event)

    async def _write(self, data: bytes) -> None:
        """Write all of it, in the order of the calls.

        Most writes fit into the socket's buffer, and then cost one system call: no scope, no
        deadline, and no checkpoint but now and then.
        """
        try:
            self.send_lock.acquire_nowait()
        except trio.WouldBlock:
            await self.send_lock.acquire()
        try:
            rest = memoryview(data)[self._write_at_once(data) :]
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
                while rest:
                    scope.deadline = self.context.write_deadline(grace)
                    await self.stream.send_all(rest[:WRITE_SIZE])
                    rest = rest[WRITE_SIZE:]
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
        await super()._read_data()
        self._reading = False
        # Its task would hold this connection for the rest of the keep-alive time-out.
        await self.idle_task.stop()

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
