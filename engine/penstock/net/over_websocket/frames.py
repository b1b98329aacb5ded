"""What a server says in the frames of a WebSocket, decoded straight to what a reader gets. Pure.

The frequent frame, an array of messages that are all known, is decoded in one call. Any other one
(a lone map, a type of message that a later version adds) goes through the codec message by message.
The rule: a frame is messages, or raises `Undecodable`, and never anything else.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, cast

import msgspec

from penstock.wire import (
    JSON,
    MSGPACK,
    End,
    Gap,
    Hello,
    Keepalive,
    MessageCodec,
    NotPlain,
    Pong,
    Published,
    Reconnect,
    Ref,
    Subscribed,
    Undecodable,
    Unsubscribed,
    require_plain,
)
from penstock.wire.msgpack_format import MalformedMessagePack, require_one
from penstock.wire.plain import MAX_DEPTH

from ..received import Event


class ErrorSaid(msgspec.Struct, frozen=True, tag="error"):
    """The server's `error` message; its code may be one that this version doesn't know."""

    code: str
    message: str
    ref: Ref | None = None
    topic: str | None = None


ServerSays: TypeAlias = (
    Event
    | Gap
    | Subscribed
    | End
    | ErrorSaid
    | Reconnect
    | Hello
    | Unsubscribed
    | Published
    | Pong
    | Keepalive
)

_TYPES: dict[str, Any] = {
    "event": Event,
    "gap": Gap,
    "subscribed": Subscribed,
    "end": End,
    "error": ErrorSaid,
    "reconnect": Reconnect,
    "hello": Hello,
    "unsubscribed": Unsubscribed,
    "published": Published,
    "pong": Pong,
    "keepalive": Keepalive,
}


class _Decoder(Protocol):
    def decode(self, buf: bytes | str, /) -> list[ServerSays]: ...


_DECODERS: dict[str, _Decoder] = {
    "json": cast("_Decoder", msgspec.json.Decoder(list[ServerSays])),
    "msgpack": cast("_Decoder", msgspec.msgpack.Decoder(list[ServerSays])),
}

CODECS: dict[str, MessageCodec] = {codec.name: codec for codec in (JSON, MSGPACK)}
"""The codecs that a reader may ask for, by name."""


def messages_in(frame: bytes | str, codec: MessageCodec) -> list[ServerSays]:
    """The messages of a frame, in order; those of an unknown type are left out.

    Raises `Undecodable` for a frame of the wrong kind, bytes that are not the codec's, a message
    that lacks a field or has a wrong type in one, and data that is no plain value.
    """
    if isinstance(frame, bytes) != codec.binary:
        wanted, given = ("binary", "text") if codec.binary else ("text", "binary")
        raise Undecodable(f"{codec.name} is in {wanted} frames, not {given} ones")
    try:
        if isinstance(frame, bytes):
            require_one(frame)  # msgspec would make room for whatever is declared
        messages = _DECODERS[codec.name].decode(frame)
        require_plain([each.data for each in messages if type(each) is Event], MAX_DEPTH + 1)
    except msgspec.ValidationError:
        return _one_by_one(frame, codec)
    except NotPlain as fault:
        raise Undecodable(fault.reason) from fault
    except (MalformedMessagePack, msgspec.DecodeError, RecursionError) as fault:
        raise Undecodable(str(fault) or "malformed") from fault
    except ValueError as fault:  # text that UTF-8 can't say
        raise Undecodable(str(fault)) from fault
    return messages


def _one_by_one(frame: bytes | str, codec: MessageCodec) -> list[ServerSays]:
    messages: list[ServerSays] = []
    for index, value in enumerate(codec.decode_frame(frame)):
        kind = cast("dict[str, object]", value).get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            raise Undecodable("a message is a map with a type, which is text", index)
        if kind in _TYPES:
            try:
                messages.append(cast("ServerSays", msgspec.convert(value, _TYPES[kind])))
            except msgspec.ValidationError as fault:
                raise Undecodable(f"{kind}: {str(fault)[:200]}", index) from fault
    return messages
