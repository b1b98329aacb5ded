"""The framings of the streaming transports: each says the same messages in its own way. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from penstock.wire import (
    JSON,
    MSGPACK,
    End,
    Gap,
    JsonCodec,
    Keepalive,
    MsgpackCodec,
    Reconnect,
    ServerMessage,
    Subscribed,
    encode_comment,
    encode_event,
    event_block,
)

from ..fanout import Form
from ..log import StoredEvent


@dataclass(frozen=True, slots=True)
class SSEFraming:
    """``text/event-stream`` (WHATWG HTML, section 9.2).

    `text` is for topics of text, whose events are the text itself. `retry` is in seconds.
    """

    text: bool
    retry: float
    transport: str = "sse"

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002
        """An event block with its id."""
        if self.text:
            data = msgspec.json.decode(event.json)
            # The error of a job is a map, whatever the job yields.
            text = data if isinstance(data, str) else event.json.decode()
            return encode_event(id=id, event=event.name, data=text)
        name = None if event.name is None else event.name.encode()
        return event_block(id.encode(), event.json, name)

    def message(self, message: ServerMessage) -> bytes:
        """The priming block, a named block for gap and end, a comment for a keepalive."""
        match message:
            case Subscribed():
                return encode_event(data=None, id=message.id, retry=_milliseconds(self.retry))
            case Gap():
                return encode_event(data=_json(message), event="gap", id=message.resumed)
            case End():
                return encode_event(data=_json(message), event="end", id=message.id)
            case Keepalive():
                return encode_comment("keepalive")
            case Reconnect():
                return encode_event(data=None, retry=_milliseconds(message.after))
            case _:
                raise AssertionError(f"{type(message).__name__} is not said in SSE")

    def join(self, framed: Sequence[bytes]) -> bytes:
        """Blocks stand one after another."""
        return b"".join(framed)


@dataclass(frozen=True, slots=True)
class MessageFraming:
    """The messages of the wire's vocabulary, as an HTTP stream or as WebSocket frames."""

    codec: JsonCodec | MsgpackCodec
    transport: str
    frames: bool = False

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002
        """An ``event`` message around the bytes that the log stores."""
        data = event.packed if self.codec.binary else event.json
        return self.codec.event(topic, id, data, event.name)

    def message(self, message: ServerMessage) -> bytes:
        """Any other message."""
        return self.codec.encode(message)

    def join(self, framed: Sequence[bytes]) -> bytes:
        """A frame is an array; in a stream they stand one after another."""
        return self.codec.array(framed) if self.frames else self.codec.stream(framed)


NDJSON = MessageFraming(JSON, "ndjson")
MSGPACK_STREAM = MessageFraming(MSGPACK, "msgpack")
JSON_FRAMES = MessageFraming(JSON, "websocket", frames=True)
MSGPACK_FRAMES = MessageFraming(MSGPACK, "websocket", frames=True)

_TEXT, _BINARY = 0x81, 0x82  # a whole message in one frame (RFC 6455 section 5.2)


def frame(opcode: int, payload: bytes) -> bytes:
    """A frame of a server: whole, not masked (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (opcode, size, payload)
    if size < 1 << 16:
        return b"%c\x7e%b%b" % (opcode, size.to_bytes(2), payload)
    return b"%c\x7f%b%b" % (opcode, size.to_bytes(8), payload)


TEXT_FRAME = Form("text frame", lambda piece: frame(_TEXT, piece.joined), framed=True)
BINARY_FRAME = Form("binary frame", lambda piece: frame(_BINARY, piece.joined), framed=True)


def _json(message: ServerMessage) -> str:
    return msgspec.json.encode(message).decode()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
