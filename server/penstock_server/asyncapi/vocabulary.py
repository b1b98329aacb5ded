"""The messages that are the same on every server: what client and server say besides the events."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from penstock.wire import (
    End,
    ErrorMessage,
    Gap,
    Hello,
    Keepalive,
    Ping,
    Pong,
    Published,
    Reconnect,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)

from .schemas import Schema, Schemas, reference

#: What an HTTP stream may hold besides events.
OF_STREAMS: Final = ("subscribed", "gap", "end", "keepalive", "reconnect")
#: What the server says on a WebSocket besides events.
OF_SERVER: Final = (
    "hello",
    *OF_STREAMS,
    "unsubscribed",
    "published",
    "error",
    "pong",
)
#: What a client says on a WebSocket besides publications.
OF_CLIENT: Final = ("subscribe", "unsubscribe", "ping")

_TYPES: Final[dict[str, Any]] = {
    "hello": Hello,
    "subscribed": Subscribed,
    "gap": Gap,
    "end": End,
    "keepalive": Keepalive,
    "reconnect": Reconnect,
    "unsubscribed": Unsubscribed,
    "published": Published,
    "error": ErrorMessage,
    "pong": Pong,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ping": Ping,
}


def common_messages(schemas: Schemas) -> dict[str, Schema]:
    """Every message but the topics' own, by its ``type``; the types go to `schemas`."""
    messages: dict[str, Schema] = {}
    for name, type_ in _TYPES.items():
        payload = schemas.add(msgspec.json.schema(type_), "penstock")
        summary = (type_.__doc__ or "").replace("`", "")
        messages[name] = {"name": name, "summary": summary, "payload": payload}
    return messages


def event_payload(topic: Schema, data: str) -> Schema:
    """An event as NDJSON, MessagePack and WebSocket carry it; `data` is the schema's name."""
    return {
        "type": "object",
        "required": ["type", "topic", "id", "data"],
        "properties": {
            "type": {"const": "event"},
            "topic": topic,
            "id": {"type": "string", "description": "the cursor after this event"},
            "event": {"type": "string", "description": "the event's name, where it has one"},
            "data": reference("schemas", data),
        },
    }


def publish_payload(topic: Schema, data: str) -> Schema:
    """A publication over a WebSocket; `data` is the schema's name."""
    return {
        "type": "object",
        "required": ["type", "topic", "data"],
        "properties": {
            "type": {"const": "publish"},
            "topic": topic,
            "data": reference("schemas", data),
            "event": {"type": "string", "description": "the event's name"},
            "key": {"type": "string", "description": "makes a repetition harmless"},
            "ref": {"type": ["string", "integer"], "description": "given back in the answer"},
        },
    }
