"""HTTP/2: flow control holds back the application, and never the reader (RFC 9113, section 5.2)."""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the functions it passes around without types.

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import h2.events
import h2.exceptions
import trio
from h2.errors import ErrorCodes
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.protocol.events import Body, Data, EndBody, EndData, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, H2Protocol
from hypercorn.typing import AppWrapper, ConnectionState, TaskGroup, WorkerContext

from penstock_server.hypercorn_guard._context import GuardedContext
from penstock_server.hypercorn_guard._events import StreamAborted
from penstock_server.hypercorn_guard._http2_buffer import GuardedStreamBuffer, is_cut

MAX_UNDELIVERED_FRAMES = 1024
"""DATA frames of one stream that may wait for its application. Their bytes are bounded by the
window, since they are acknowledged when delivered; empty frames are not."""


class FlowControlledH2(H2Protocol):
    """Hypercorn's HTTP/2, where an end of the stream or the connection lets go of a waiting sender.

    Its reader hands data to the applications through tasks: waiting for one of them itself, it
    would not read the WINDOW_UPDATE that this application waits for. A response that was cut short
    ends with RST_STREAM, so that the client doesn't wait on; and so does one whose client grants no
    window for ``stall_timeout``.
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
        self._undelivered: dict[int, deque[h2.events.DataReceived | h2.events.StreamEnded]] = {}

    async def handle(self, event: Event) -> None:
        """Take what the transport has read, or has to say."""
        if isinstance(event, Closed):
            for buffer in self.stream_buffers.values():
                await buffer.close()
        await super().handle(event)

    async def stream_send(self, event: StreamEvent) -> None:
        """Do what the stream asks of the connection."""
        if isinstance(event, Body | Data):
            await self._send_in_slices(event)
        elif isinstance(event, EndBody | EndData):
            await self._send_in_time(event)
        elif isinstance(event, StreamAborted):
            await self.reset(event.stream_id, ErrorCodes.CANCEL)
        elif isinstance(event, StreamClosed):
            if is_cut(self.stream_buffers.get(event.stream_id)):
                await self.reset(event.stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._close_stream(event.stream_id)
            await self.settle()
        else:
            await super().stream_send(event)

    async def settle(self) -> None:
        """Called when a stream has ended: do what is to be done after the last."""

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers:
            await self.settle()

    async def _send_in_slices(self, event: Body | Data) -> None:
        """Send data of any size, never buffering more than twice the high-water mark."""
        buffer = self.stream_buffers.get(event.stream_id)
        if not isinstance(buffer, GuardedStreamBuffer):
            # The stream is over. An application that only sends must not hold the loop.
            await trio.lowlevel.checkpoint()
            return
        # Locked, or the frames of two senders would be mixed. This always is a checkpoint, too.
        async with buffer.send_lock:
            for start in range(0, len(event.data), BUFFER_HIGH_WATER):
                data = event.data[start : start + BUFFER_HIGH_WATER]
                await self._send_in_time(replace(event, data=data))

    async def _send_in_time(self, event: Body | Data | EndBody | EndData) -> None:
        """Send what is at most a slice; a client that doesn't take it in time loses the stream."""
        with self.context.bounded(self.config.graceful_timeout, shield=False) as scope:
            await super().stream_send(event)
        if scope.cancelled_caught:
            self.context.admission.stalled += 1
            await self.reset(event.stream_id, ErrorCodes.CANCEL)

    async def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End a stream at once (RFC 9113, section 5.4.2)."""
        with suppress(h2.exceptions.ProtocolError):  # it, or the connection, has ended meanwhile
            self.connection.reset_stream(stream_id, code)
        await self._release_sender(stream_id)
        await self._close_stream(stream_id)
        await self._flush()

    async def _release_sender(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None:
            await buffer.close()
            await self._window_updated(stream_id)  # the sending task removes what is closed

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if self.closed:
                return
            if isinstance(event, h2.events.DataReceived | h2.events.StreamEnded):
                await self._deliver_later(event)
                continue
            if isinstance(event, h2.events.StreamReset):
                await self._release_sender(event.stream_id)
            await super()._handle_events([event])
        await self._flush()

    async def _deliver_later(self, event: h2.events.DataReceived | h2.events.StreamEnded) -> None:
        stream_id = event.stream_id
        waiting = self._undelivered.get(stream_id)
        if waiting is None:
            self._undelivered[stream_id] = deque([event])
            self.task_group.spawn(self._deliver, stream_id)
        elif len(waiting) < MAX_UNDELIVERED_FRAMES:
            waiting.append(event)
        else:
            await self.reset(stream_id, ErrorCodes.ENHANCE_YOUR_CALM)

    async def _deliver(self, stream_id: int) -> None:
        """Hand a stream what has come for it, acknowledging what was taken."""
        waiting = self._undelivered[stream_id]
        while waiting:
            event = waiting.popleft()
            stream = self.streams.get(stream_id)
            if isinstance(event, h2.events.StreamEnded):
                if stream is not None:
                    await stream.handle(EndBody(stream_id=stream_id))
                continue
            if stream is not None:  # else answered before the request had come in full
                await stream.handle(Body(stream_id=stream_id, data=event.data))
            await self._acknowledge(stream_id, event.flow_controlled_length)
        del self._undelivered[stream_id]

    async def _acknowledge(self, stream_id: int, size: int) -> None:
        try:
            self.connection.acknowledge_received_data(size, stream_id)
        except h2.exceptions.ProtocolError:
            return  # the connection has ended meanwhile
        await self._flush()
