"""The vocabulary of the wire: what client and server say to each other, the same in every codec.

Each message is a map whose ``type`` says which. The server's `event` message is not here: it is put
together from bytes that are encoded already (`MessageCodec.event`).

The rule of `parse_client_message`: any decoded value is a message, or raises `BadMessage`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, TypeAlias, cast

import msgspec

Ref: TypeAlias = str | int
"""A client's own name for a request, given back in the answer."""

SlowPolicy: TypeAlias = Literal["skip", "conflate", "block", "disconnect"]
"""What becomes of a reader that falls behind."""

GapReason: TypeAlias = Literal["expired", "epoch", "slow"]
"""Why events are missing: trimmed away, of another epoch, or the reader was too slow."""


class ErrorCode(StrEnum):
    """Why a client's message was refused."""

    BAD_MESSAGE = "bad_message"
    UNKNOWN_TOPIC = "unknown_topic"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    NOT_PUBLISHABLE = "not_publishable"
    LIMIT = "limit"
    BAD_CURSOR = "bad_cursor"
    ALREADY_SUBSCRIBED = "already_subscribed"
    UNAVAILABLE = "unavailable"


# What has its default is left out of an encoded message.

# --- Client to server ---


class Subscribe(msgspec.Struct, frozen=True, omit_defaults=True, tag="subscribe"):
    """Read `topic` after a cursor, ``earliest`` or ``latest``; `slow` None is the topic's own."""

    topic: str
    after: str = "latest"
    slow: SlowPolicy | None = None
    ref: Ref | None = None


class Unsubscribe(msgspec.Struct, frozen=True, omit_defaults=True, tag="unsubscribe"):
    """Stop reading `topic`."""

    topic: str
    ref: Ref | None = None


class Publish(msgspec.Struct, frozen=True, omit_defaults=True, tag="publish"):
    """Store `data`, any plain value, null too; `key` makes a repetition harmless."""

    topic: str
    data: Any
    event: str | None = None
    key: str | None = None
    ref: Ref | None = None


class Ping(msgspec.Struct, frozen=True, omit_defaults=True, tag="ping"):
    """Answered by `Pong`."""

    ref: Ref | None = None


ClientMessage: TypeAlias = Subscribe | Unsubscribe | Publish | Ping


# --- Server to client ---


class ConnectionLimits(msgspec.Struct, frozen=True):
    """What one connection may do."""

    max_message_bytes: int
    max_subscriptions: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first message of a connection; `heartbeat` in seconds."""

    session: str
    heartbeat: float
    limits: ConnectionLimits


class Subscribed(msgspec.Struct, frozen=True, omit_defaults=True, tag="subscribed"):
    """Reading starts after the cursor `id`."""

    topic: str
    id: str
    ref: Ref | None = None


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """Events after `requested` are missing, `missed` of them (None: unknown); `resumed` is next."""

    topic: str
    requested: str
    resumed: str
    missed: int | None
    reason: GapReason


class End(msgspec.Struct, frozen=True, tag="end"):
    """The log is finished at the cursor `id`: nothing will follow."""

    topic: str
    id: str


class Unsubscribed(msgspec.Struct, frozen=True, omit_defaults=True, tag="unsubscribed"):
    """Nothing more of `topic` will come."""

    topic: str
    ref: Ref | None = None


class Published(msgspec.Struct, frozen=True, omit_defaults=True, tag="published"):
    """`count` events are stored, the last at the cursor `id`."""

    topic: str
    id: str
    count: int
    ref: Ref | None = None


class ErrorMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag="error"):
    """A message of the client's was refused; the connection lives on."""

    code: ErrorCode
    message: str
    ref: Ref | None = None
    topic: str | None = None


class Keepalive(msgspec.Struct, frozen=True, tag="keepalive"):
    """Nothing happened, and the connection lives."""


class Reconnect(msgspec.Struct, frozen=True, tag="reconnect"):
    """The server is going away: connect again after so many seconds."""

    after: float


class Pong(msgspec.Struct, frozen=True, omit_defaults=True, tag="pong"):
    """The answer to `Ping`."""

    ref: Ref | None = None


ServerMessage: TypeAlias = (
    Hello
    | Subscribed
    | Gap
    | End
    | Unsubscribed
    | Published
    | ErrorMessage
    | Keepalive
    | Reconnect
    | Pong
)


# --- Parsing ---

_CLIENT_MESSAGES: Mapping[str, type[ClientMessage]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "publish": Publish,
    "ping": Ping,
}


class BadMessage(ValueError):
    """A client's message is not of the vocabulary.

    `message` says what is wrong, in words for the client; `ref` is the client's, where it had one.
    """

    def __init__(self, message: str, ref: Ref | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.ref = ref


def parse_client_message(value: object) -> ClientMessage:
    """The message that a decoded plain value says; fields that nobody knows are ignored.

    Raises `BadMessage` for anything but a map, an unknown type, a missing field or a wrong type.
    """
    if not isinstance(value, dict):
        raise BadMessage("a message is a map")
    fields = cast("dict[object, object]", value)
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise BadMessage("a message has a type, which is a string", _ref_of(fields))
    message_type = _CLIENT_MESSAGES.get(kind)
    if message_type is None:
        raise BadMessage(f"unknown type {_cut(kind, 64)!r}", _ref_of(fields))
    try:
        return msgspec.convert(fields, message_type)
    except msgspec.ValidationError as fault:
        # The fault may quote what the client sent, which may be long.
        raise BadMessage(f"{kind}: {_cut(str(fault), 200)}", _ref_of(fields)) from fault


def _ref_of(fields: Mapping[object, object]) -> Ref | None:
    ref = fields.get("ref")
    # bool is an int in Python and nowhere else.
    return ref if isinstance(ref, str | int) and not isinstance(ref, bool) else None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
