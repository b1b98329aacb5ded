"""The three streaming formats, from bytes to what the server says. Pure.

The rule of each decoder: any bytes, cut anywhere, are signals, up to a `ConnectionLost` (what a
proxy or a cut has mangled is read again) or a `Refused` (the server says so itself); what is held
between two pieces is bounded by a few times `MAX_MESSAGE_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, cast

import msgpack  # type: ignore[import-untyped]  # it ships no annotations
import msgspec
from msgpack import exceptions  # pyright: ignore[reportMissingTypeStubs]

from penstock.wire import (
    BadCursor,
    Cursor,
    End,
    Gap,
    Keepalive,
    ProtocolError,
    Reconnect,
    ServerSentEvent,
    SSEDecoder,
    Subscribed,
)

from ..failures import TEMPORARY_CODES, with_code
from ..losses import ConnectionLost, Refused
from ..received import Event
from .position import Moved, Retry, Signal

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

Format: TypeAlias = Literal["sse", "ndjson", "msgpack"]
DataFormat: TypeAlias = Literal["json", "text"]

MEDIA_TYPES: Mapping[str, Format] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/msgpack": "msgpack",
}


class Decoder(Protocol):
    """One answer's decoder."""

    def feed(self, data: bytes) -> list[Signal]:
        """What these bytes complete. Nothing counts that comes behind an error."""
        ...


def decoder_for(format_: Format, topic: str, data: DataFormat) -> Decoder:
    """For one answer; `topic` and `data` are for event streams, which say neither."""
    if format_ == "sse":
        return SSESignals(topic, data)
    return NDJSONSignals() if format_ == "ndjson" else MsgpackSignals()


# --- text/event-stream ---


class SSESignals:
    """An event stream, of penstock or of any other server.

    Penstock's begins with a block that holds a cursor and no data; on such a stream ids are
    cursors, and ``gap`` and ``end`` are what they say. On any other they are plain events.
    """

    def __init__(self, topic: str, data: DataFormat) -> None:
        self._topic = topic
        self._value: Callable[[str], Any] = _json_or_text if data == "json" else str
        self._decoder = SSEDecoder(max_block_bytes=MAX_MESSAGE_BYTES)
        self._retry: int | None = None
        self._began = False
        self._is_penstock = False

    def feed(self, data: bytes) -> list[Signal]:
        """See `Decoder.feed`."""
        decoder = self._decoder
        try:
            received = decoder.feed(data)
        except ProtocolError as fault:
            return [ConnectionLost(f"the server sent too much: {fault}")]
        signals: list[Signal] = []
        if not self._began:
            self._begin(bool(received), signals)
        elif not received:
            signals.append(_ALIVE)
        if decoder.retry != self._retry:
            self._retry = decoder.retry
            signals.append(Retry((decoder.retry or 0) / 1000))
        topic, value = self._topic, self._value
        for each in received:
            if each.event == "message":
                signals.append(Event(topic, each.id, value(each.data)))
            else:
                signals.append(self._named(each))
        if not self._is_penstock and decoder.last_event_id != (received[-1].id if received else ""):
            signals.append(Moved(decoder.last_event_id))
        return signals

    def _begin(self, has_events: bool, signals: list[Signal]) -> None:
        primer = self._decoder.primer
        self._began = has_events or primer is not None
        if primer is not None and _is_cursor(primer):
            self._is_penstock = True
            signals.append(Subscribed(self._topic, primer))

    def _named(self, event: ServerSentEvent) -> Signal:
        value = self._value
        if self._is_penstock:
            if event.event in _SAID_BY_PENSTOCK:
                return _said_by_penstock(event)
            if event.event == "error":  # a map, whatever the job yields
                value = _json_or_text
        return Event(self._topic, event.id, value(event.data), event.event)


_ALIVE = Keepalive()
_SAID_BY_PENSTOCK: Mapping[str, msgspec.json.Decoder[Gap] | msgspec.json.Decoder[End]] = {
    "gap": msgspec.json.Decoder(Gap),
    "end": msgspec.json.Decoder(End),
}
_decode_json = msgspec.json.Decoder().decode


def _said_by_penstock(event: ServerSentEvent) -> Gap | End | ConnectionLost:
    try:
        return _SAID_BY_PENSTOCK[event.event].decode(event.data)
    except (msgspec.DecodeError, RecursionError) as fault:
        return ConnectionLost(f"the server sent a bad {event.event!r} event: {fault}")


def _json_or_text(data: str) -> Any:
    try:
        return _decode_json(data)
    except (ValueError, RecursionError):
        return data


def _is_cursor(text: str) -> bool:
    try:
        Cursor.parse(text)
    except BadCursor:
        return False
    return True


# --- Messages ---


class _Error(msgspec.Struct, frozen=True, tag="error"):
    code: str = ""
    message: str = ""


_Message: TypeAlias = Event | Gap | End | Subscribed | Keepalive | Reconnect | _Error
_KNOWN = ("event", "gap", "end", "subscribed", "keepalive", "reconnect", "error")


class _MessageDecoder(Protocol):
    def decode(self, buf: bytes, /) -> _Message: ...


def _no_ext(code: int, data: memoryview) -> object:
    raise ValueError(f"an extension type, {code}, is not a plain value")


_FROM_JSON = cast("_MessageDecoder", msgspec.json.Decoder(_Message))
_FROM_MSGPACK = cast("_MessageDecoder", msgspec.msgpack.Decoder(_Message, ext_hook=_no_ext))


class NDJSONSignals:
    """``application/x-ndjson``: a message a line. A last line without its end is none yet."""

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_message_bytes = max_message_bytes
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[Signal]:
        """See `Decoder.feed`."""
        signals: list[Signal] = []
        head, line_end, rest = data.partition(b"\n")
        self._hold(head, signals)
        if not line_end or signals:
            return signals
        *lines, last = [b"".join(self._pieces), *rest.split(b"\n")]
        self._pieces, self._held = [], 0
        for line in lines:
            if line and not line.isspace():
                _decode(_FROM_JSON, line, signals)
        self._hold(last, signals)
        return signals

    def _hold(self, piece: bytes, signals: list[Signal]) -> None:
        self._held += len(piece)
        if self._held > self._max_message_bytes:
            signals.append(_too_long(self._max_message_bytes))
        else:
            self._pieces.append(piece)


class MsgpackSignals:
    """``application/msgpack``: one message after another."""

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_message_bytes = max_message_bytes
        self._held = bytearray()
        self._offset = 0  # of what is held, in the whole stream
        # Walks over the messages, and so proves that lengths are backed by bytes, and nothing else.
        self._walker: Any = msgpack.Unpacker(max_buffer_size=0)  # pyright: ignore[reportUnknownMemberType]

    def feed(self, data: bytes) -> list[Signal]:
        """See `Decoder.feed`."""
        signals: list[Signal] = []
        self._held += data
        self._walker.feed(data)
        start = 0
        try:
            while start < len(self._held):
                self._walker.skip()
                end = self._walker.tell() - self._offset
                _decode(_FROM_MSGPACK, bytes(self._held[start:end]), signals)
                start = end
        except exceptions.OutOfData:
            pass
        except (exceptions.UnpackException, ValueError) as fault:
            signals.append(ConnectionLost(f"the server sent what is no MessagePack: {fault}"))
        del self._held[:start]
        self._offset += start
        if len(self._held) > self._max_message_bytes:
            signals.append(_too_long(self._max_message_bytes))
        return signals


def _decode(decoder: _MessageDecoder, encoded: bytes, signals: list[Signal]) -> None:
    """Add the message, or why it is none; those of types that only later versions know are none."""
    try:
        message = decoder.decode(encoded)
    except (ValueError, RecursionError) as fault:
        if not isinstance(fault, msgspec.ValidationError) or _is_known(decoder, encoded):
            problem = ConnectionLost(f"the server sent what is no message: {fault}")
            problem.__cause__ = fault
            signals.append(problem)
        return
    signals.append(_said(message) if type(message) is _Error else cast("Signal", message))


def _is_known(decoder: _MessageDecoder, encoded: bytes) -> bool:
    """Whether what isn't a valid message should have been one."""
    decode = msgspec.json.decode if decoder is _FROM_JSON else msgspec.msgpack.decode
    try:
        value: object = decode(encoded)
    except (ValueError, RecursionError):  # valid up to where it is of no type: 0\x00
        return True
    kind = cast("dict[str, object]", value).get("type") if isinstance(value, dict) else None
    return not isinstance(kind, str) or kind in _KNOWN


def _said(error: _Error) -> ConnectionLost | Refused:
    said = f"the server says: {with_code(error.message, error.code)}"
    return ConnectionLost(said) if error.code in TEMPORARY_CODES else Refused(said)


def _too_long(most: int) -> ConnectionLost:
    return ConnectionLost(f"the server sent a message of over {most:,} bytes")
