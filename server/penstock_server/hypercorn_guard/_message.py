"""One incoming WebSocket message, in parts, within its limit."""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the type of its buffer open.

from typing import Any

from hypercorn.protocol.ws_stream import FrameTooLargeError, WebsocketBuffer
from wsproto.events import Message, TextMessage

MAX_EMPTY_PARTS = 1_000
"""Parts of a message that add nothing to it. They cost the sender six bytes each, and without a
limit to them a message need never end."""


class MessageBuffer(WebsocketBuffer):
    """The parts of one incoming message, measured in bytes before they are kept."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length)
        self._size = 0
        self._empty_parts = 0

    def extend(self, event: Message[Any]) -> None:
        """Add a part. Raises FrameTooLargeError when the message is over its limit."""
        size = _size_in_bytes(event)
        self._size += size
        self._empty_parts += not size
        if self._size > self.max_length or self._empty_parts > MAX_EMPTY_PARTS:
            self.clear()
            raise FrameTooLargeError
        super().extend(event)

    def clear(self) -> None:
        """Forget the message."""
        super().clear()
        self._size = 0
        self._empty_parts = 0


def _size_in_bytes(part: Message[Any]) -> int:
    if isinstance(part, TextMessage) and not part.data.isascii():
        return len(part.data.encode())
    return len(part.data)
