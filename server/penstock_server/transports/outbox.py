"""The answers to one WebSocket client that wait to be written."""

from __future__ import annotations

from collections import deque

import trio

MOST_MESSAGES = 256
MOST_BYTES = 1 << 20


class Outbox:
    """Encoded answers that wait to be written; bounded in number and bytes.

    One task puts and waits for room, another takes.
    """

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._room = trio.Event()

    def put(self, message: bytes) -> None:
        """Add an answer; the bound is for `wait_for_room` to keep."""
        self._messages.append(message)
        self._bytes += len(message)

    def take(self) -> list[bytes]:
        """Give all that wait, oldest first, and make room."""
        messages = list(self._messages)
        self._messages.clear()
        self._bytes = 0
        self._room.set()
        return messages

    async def wait_for_room(self) -> None:
        """Wait until it is below its bounds. Cancelled, nothing has changed."""
        while len(self._messages) >= MOST_MESSAGES or self._bytes >= MOST_BYTES:
            self._room = trio.Event()
            await self._room.wait()
