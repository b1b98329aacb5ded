"""What an HTTP/2 stream has yet to send."""

import trio
from hypercorn.protocol.h2 import (
    BUFFER_HIGH_WATER,
    BUFFER_LOW_WATER,
    BufferCompleteError,
    StreamBuffer,
)
from hypercorn.typing import Event as IOEvent


class GuardedStreamBuffer(StreamBuffer):
    """What one stream has yet to send; the sender waits while it is over the high-water mark.

    Hypercorn measures what it took out in place of what is left, so a closed window, where it takes
    out nothing, lets the sender run on without bound.
    """

    def __init__(self, event_class: type[IOEvent]) -> None:
        super().__init__(event_class)
        self.send_lock = trio.Lock()

    @property
    def ended(self) -> bool:
        """Whether the application has said that nothing more follows."""
        return self._complete

    async def push(self, data: bytes) -> None:
        """Add data, then wait until little enough is left.

        Raises BufferCompleteError when the stream is over. Cancelled, it has added the data.
        """
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        while len(self.buffer) >= BUFFER_HIGH_WATER and not self._complete:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        """Take out at most ``max_length`` bytes."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


def is_cut(buffer: StreamBuffer | None) -> bool:
    """Whether a stream that ends now would end in the midst of its answer."""
    return isinstance(buffer, GuardedStreamBuffer) and not buffer.ended
