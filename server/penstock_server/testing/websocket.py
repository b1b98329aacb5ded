"""The client's end of a WebSocket."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from penstock.wire import JSON, MSGPACK

from .exchange import Exchange, Message

Subprotocol: TypeAlias = Literal["penstock.v1.json", "penstock.v1.msgpack"]


class WebSocket:
    """The client's end of a WebSocket in memory.

    Attributes:
        subprotocol: what the server chose.
        close_code: why the server closed it; None while it is open.
    """

    def __init__(self, exchange: Exchange, subprotocol: str | None) -> None:
        self.subprotocol = subprotocol
        self.close_code: int | None = None
        self._exchange = exchange
        self._codec: Any = MSGPACK if subprotocol == MSGPACK.subprotocol else JSON
        self._messages: deque[Message] = deque()

    async def send(self, *messages: Mapping[str, object]) -> None:
        """Send messages in one frame; waits until the server takes it."""
        payload = self._codec.array([self._codec.encode(dict(message)) for message in messages])
        frame = {"bytes": payload} if self._codec.binary else {"text": payload.decode()}
        await self._exchange.say({"type": "websocket.receive", **frame})

    async def receive(self) -> Message | None:
        """The next message of the server; None once it has closed."""
        while not self._messages:
            heard = await self._exchange.hear()
            if heard is None:
                return None
            if heard["type"] == "websocket.close":
                self.close_code = heard["code"]
                return None
            payload = heard["bytes"] if self._codec.binary else heard["text"]
            self._messages.extend(self._codec.decode_frame(payload))
        return self._messages.popleft()

    async def receive_until(self, type_: str) -> Message:
        """The next message of this type; those before it are dropped.

        Raises `AssertionError` where the server closes first.
        """
        while (message := await self.receive()) is not None:
            if message["type"] == type_:
                return message
        raise AssertionError(f"no {type_!r} came; the server closed with {self.close_code}")
