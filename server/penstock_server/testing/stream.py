"""The events of a stream, whatever its format."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from penstock.wire import JSON, MSGPACK, SSEDecoder

from .answer import next_piece
from .exchange import Exchange, Message

Format: TypeAlias = Literal["sse", "ndjson", "msgpack"]


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event of a stream, the same in every format.

    Attributes:
        id: the cursor after it; None for a ``gap``.
        data: its data, decoded; what the gap says.
        event: its name where it has one; ``gap`` for a gap.
    """

    id: str | None
    data: Any
    event: str | None = None


class Events:
    """The events of one stream, as they come; ends with the log, or when the server goes away."""

    def __init__(self, exchange: Exchange, format_: Format) -> None:
        self._exchange = exchange
        self._format = format_
        self._decoder = SSEDecoder()
        self._ready: deque[ReceivedEvent] = deque()
        self._ended = False

    async def opened(self) -> None:
        """Wait for what opens the stream: from then on every event will come."""
        await self._take_piece()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> ReceivedEvent:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            await self._take_piece()
        return self._ready.popleft()

    async def take(self, count: int) -> list[ReceivedEvent]:
        """That many events; fewer where the stream ends."""
        events: list[ReceivedEvent] = []
        async for event in self:
            events.append(event)
            if len(events) >= count:
                break
        return events

    async def _take_piece(self) -> None:
        piece = await next_piece(self._exchange)
        if piece is None:
            self._ended = True
        elif self._format == "sse":
            for each in self._decoder.feed(piece):
                # SSE has no types besides names: a gap and the end are named so.
                kind = each.event if each.event in ("gap", "end") else "event"
                name = None if each.event == "message" else each.event
                self._take(kind, each.id, _data_of(each.data), name)
        else:
            codec = JSON if self._format == "ndjson" else MSGPACK
            for message in cast("list[Message]", codec.decode_values(piece)):
                data = message if message["type"] == "gap" else message.get("data")
                self._take(message["type"], message.get("id"), data, message.get("event"))

    def _take(self, kind: str, cursor: str | None, data: Any, name: str | None) -> None:
        if kind == "event":
            self._ready.append(ReceivedEvent(cursor, data, name))
        elif kind == "gap":
            self._ready.append(ReceivedEvent(None, data, "gap"))


def _data_of(text: str) -> Any:
    """The data of an SSE event: JSON, or the text itself for a topic of text."""
    try:
        return JSON.decode_value(text)
    except ValueError:
        return text
