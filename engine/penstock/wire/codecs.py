"""Codecs: messages and values as JSON and as MessagePack.

The rule of all decoding here, for any payload: it is plain values (see `plain`), or `Undecodable`
is raised, and never anything else; what it costs in memory is what the values that are really
there take as Python objects, whatever lengths the payload declares. Of a map's equal keys the last
one counts, in both codecs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec

from penstock.wire.messages import Publish
from penstock.wire.msgpack_format import (
    MalformedMessagePack,
    array_header,
    string,
    unpack_all,
    unpack_one,
)
from penstock.wire.plain import MAX_DEPTH, Unencodable, require_plain

_JSON = msgspec.json.Encoder()
_MSGPACK = msgspec.msgpack.Encoder()

_MESSAGE_DEPTH = MAX_DEPTH + 1  # a message is a map around a value
_PAGE_DEPTH = MAX_DEPTH + 4  # so is what the server puts around messages


class Undecodable(ValueError):
    """A payload says no plain values; `index` is the place among several of the one at fault."""

    def __init__(self, reason: str, index: int | None = None) -> None:
        super().__init__(reason if index is None else f"{reason} (value {index})")
        self.index = index


class MessageCodec(Protocol):
    """How messages and values become bytes, and come back."""

    @property
    def name(self) -> str:
        """``json`` or ``msgpack``."""
        ...

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol that speaks it."""
        ...

    @property
    def binary(self) -> bool:
        """Whether its WebSocket frames are binary ones."""
        ...

    def encode(self, obj: object) -> bytes:
        """A message Struct, or a plain value, as bytes. Raises `Unencodable`."""
        ...

    def event(self, topic: str, id: bytes | str, data: bytes, event: str | None) -> bytes:  # noqa: A002
        """The `event` message around `data` that this codec encoded; `id` is a cursor's text."""
        ...

    def array(self, messages: Sequence[bytes]) -> bytes:
        """A WebSocket frame of messages that this codec encoded."""
        ...

    def stream(self, messages: Sequence[bytes]) -> bytes:
        """A piece of an HTTP stream of messages that this codec encoded."""
        ...

    def decode_frame(self, payload: bytes | str) -> list[object]:
        """The messages of a WebSocket frame: an array of them, or one map. Raises `Undecodable`."""
        ...

    def decode_value(self, payload: bytes | str) -> object:
        """The one value of a body. Raises `Undecodable`."""
        ...

    def decode_values(self, payload: bytes | str) -> list[object]:
        """The values of a streamed body, in order. Raises `Undecodable` with the `index`."""
        ...


@dataclass(frozen=True, slots=True)
class JsonCodec:
    """JSON (RFC 8259): text frames, and NDJSON, one value a line."""

    name: str = "json"
    subprotocol: str = "penstock.v1.json"
    binary: bool = False

    def encode(self, obj: object) -> bytes:
        """A message Struct, or a plain value, as JSON on one line. Raises `Unencodable`."""
        return _encode(_JSON, obj, _PAGE_DEPTH)

    def event(self, topic: str, id: bytes | str, data: bytes, event: str | None) -> bytes:  # noqa: A002
        """The `event` message around `data`, JSON already; `id` is a cursor's text."""
        cursor = id if isinstance(id, bytes) else id.encode("ascii")
        if event is None:
            return b'{"type":"event","topic":%b,"id":"%b","data":%b}' % (
                _JSON.encode(topic),
                cursor,
                data,
            )
        return b'{"type":"event","topic":%b,"id":"%b","event":%b,"data":%b}' % (
            _JSON.encode(topic),
            cursor,
            _JSON.encode(event),
            data,
        )

    def array(self, messages: Sequence[bytes]) -> bytes:
        """A text frame of encoded messages."""
        return b"[%b]" % b",".join(messages)

    def stream(self, messages: Sequence[bytes]) -> bytes:
        """Encoded messages as NDJSON, each ended by a line feed."""
        return b"\n".join((*messages, b""))

    def decode_frame(self, payload: bytes | str) -> list[object]:
        """The messages of a frame: an array of them, or one map. Raises `Undecodable`."""
        return _messages_of(_parse_json(payload))

    def decode_value(self, payload: bytes | str) -> object:
        """The one value of a body. Raises `Undecodable`."""
        return _plain(_parse_json(payload), MAX_DEPTH)

    def decode_values(self, payload: bytes | str) -> list[object]:
        """One value a line; blank lines are skipped. Raises `Undecodable` with the `index`."""
        lines = payload.split("\n") if isinstance(payload, str) else payload.split(b"\n")
        values: list[object] = []
        for line in lines:
            if line and not line.isspace():
                index = len(values)
                values.append(_plain(_parse_json(line, index), MAX_DEPTH, index))
        return values


@dataclass(frozen=True, slots=True)
class MsgpackCodec:
    """MessagePack: binary frames, and streams of one object after another.

    Extension types, the timestamp too, are refused: they have no counterpart in JSON.
    """

    name: str = "msgpack"
    subprotocol: str = "penstock.v1.msgpack"
    binary: bool = True

    def encode(self, obj: object) -> bytes:
        """A message Struct, or a plain value, as MessagePack. Raises `Unencodable`."""
        return _encode(_MSGPACK, obj, _PAGE_DEPTH)

    def event(self, topic: str, id: bytes | str, data: bytes, event: str | None) -> bytes:  # noqa: A002
        """The `event` message around `data`, MessagePack already; `id` is a cursor's text."""
        cursor = string(id if isinstance(id, bytes) else id.encode("ascii"))
        # A fixmap, and its keys as fixstrs: 0x80 and 0xa0, with the number of pairs and bytes.
        if event is None:
            return b"\x84\xa4type\xa5event\xa5topic%b\xa2id%b\xa4data%b" % (
                string(topic.encode()),
                cursor,
                data,
            )
        return b"\x85\xa4type\xa5event\xa5topic%b\xa2id%b\xa5event%b\xa4data%b" % (
            string(topic.encode()),
            cursor,
            string(event.encode()),
            data,
        )

    def array(self, messages: Sequence[bytes]) -> bytes:
        """A binary frame of encoded messages."""
        return array_header(len(messages)) + b"".join(messages)

    def stream(self, messages: Sequence[bytes]) -> bytes:
        """Encoded messages, one after another."""
        return b"".join(messages)

    def decode_frame(self, payload: bytes | str) -> list[object]:
        """The messages of a frame: an array of them, or one map. Raises `Undecodable`."""
        return _messages_of(_parse_msgpack(payload))

    def decode_value(self, payload: bytes | str) -> object:
        """The one value of a body. Raises `Undecodable`."""
        return _plain(_parse_msgpack(payload), MAX_DEPTH)

    def decode_values(self, payload: bytes | str) -> list[object]:
        """One value after another, to the end. Raises `Undecodable` with the `index`."""
        values: list[object] = []
        try:
            for value in unpack_all(_binary(payload)):
                values.append(_plain(value, MAX_DEPTH, len(values)))
        except MalformedMessagePack as fault:
            raise Undecodable(str(fault), len(values)) from fault
        return values


JSON = JsonCodec()
MSGPACK = MsgpackCodec()


def encode_json(plain: object) -> bytes:
    """A plain value as JSON on one line, bytes as base64 text. Raises `Unencodable`."""
    return _encode(_JSON, plain, MAX_DEPTH)


def encode_msgpack(plain: object) -> bytes:
    """A plain value as MessagePack. Raises `Unencodable`, for just what `encode_json` refuses."""
    return _encode(_MSGPACK, plain, MAX_DEPTH)


def _encode(
    encoder: msgspec.json.Encoder | msgspec.msgpack.Encoder, obj: object, max_depth: int
) -> bytes:
    try:
        # The encoders would write NaN as null, and keys and integers that the other refuses.
        if isinstance(obj, Publish):
            require_plain(obj.data)
        elif not isinstance(obj, msgspec.Struct):  # the other messages hold nothing of a user's
            require_plain(obj, max_depth)
        return encoder.encode(obj)
    except (TypeError, ValueError, OverflowError, RecursionError, BufferError) as fault:
        raise Unencodable(str(fault)) from fault


def _parse_json(payload: bytes | str, index: int | None = None) -> object:
    try:
        return cast("object", msgspec.json.decode(payload))
    except RecursionError as fault:
        raise Undecodable("nested too deeply", index) from fault
    except ValueError as fault:
        raise Undecodable(str(fault), index) from fault


def _parse_msgpack(payload: bytes | str) -> object:
    try:
        return unpack_one(_binary(payload))
    except MalformedMessagePack as fault:
        raise Undecodable(str(fault)) from fault


def _binary(payload: bytes | str) -> bytes:
    if isinstance(payload, str):
        raise Undecodable("MessagePack is binary, not text")
    return payload


def _messages_of(frame: object) -> list[object]:
    if isinstance(frame, dict):
        return [_plain(cast("object", frame), _MESSAGE_DEPTH)]
    if not isinstance(frame, list):
        raise Undecodable("a frame is an array of messages, or one message")
    messages = cast("list[object]", frame)
    for index, message in enumerate(messages):
        _plain(message, _MESSAGE_DEPTH, index)
    return messages


def _plain(value: object, max_depth: int, index: int | None = None) -> object:
    try:
        require_plain(value, max_depth)
    except ValueError as fault:
        raise Undecodable(str(fault), index) from fault
    return value
