"""The AsyncAPI 3.0 document: a channel for each topic or template, and one for the WebSocket.

The document describes the server, so ``send`` is what the server sends and ``receive`` what it
takes. Source: the AsyncAPI specification 3.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..templates import VALUE
from .schemas import Schema, Schemas, component_name, reference
from .vocabulary import (
    OF_CLIENT,
    OF_SERVER,
    OF_STREAMS,
    common_messages,
    event_payload,
    publish_payload,
)

_PARAMETER = re.compile(r"\{(\w+)\}")
_SOCKET: Final = "websocket"
_HOST = re.compile(r"[\w.:\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class Topic:
    """What there is to say of a topic, or of all topics of a template (``room.{room}``).

    Attributes:
        name: the topic's, or the template.
        schema: JSON Schema of its data, with what it refers to under ``$defs``; None for any.
        publishable: whether clients may publish there.
        text: whether its data is text that SSE gives as it is.
    """

    name: str
    schema: Mapping[str, Any] | None = None
    publishable: bool = False
    text: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, as the client that asks sees it."""

    host: str
    secure: bool = False


def asyncapi_document(
    title: str,
    version: str,
    address: Address,
    topics: Iterable[Topic],
    security: Mapping[str, Schema] | None = None,
) -> Schema:
    """The document, as plain values.

    Args:
        title: of the server.
        version: of its interface.
        address: where it is.
        topics: all of them.
        security: AsyncAPI's security schemes by name; any one of them lets a client in.
    """
    return _Document(topics, dict(security or {})).render(title, version, address)


class _Document:
    """What the parts of a document have in common while it is put together."""

    def __init__(self, topics: Iterable[Topic], security: dict[str, Schema]) -> None:
        self._security = security
        self._schemas = Schemas()
        self._messages = common_messages(self._schemas)
        self._channels: dict[str, Schema] = {}
        self._operations: dict[str, Schema] = {}
        self._sent: list[str] = list(OF_SERVER)
        self._taken: list[str] = list(OF_CLIENT)
        for topic in topics:
            self._add(topic)
        self._add_socket()

    def render(self, title: str, version: str, address: Address) -> Schema:
        components: Schema = {"schemas": self._schemas.components, "messages": self._messages}
        if self._security:
            components["securitySchemes"] = self._security
        return {
            "asyncapi": "3.0.0",
            "info": {"title": title, "version": version},
            "defaultContentType": "application/json",
            "servers": self._servers(address),
            "channels": self._channels,
            "operations": self._operations,
            "components": components,
        }

    def _servers(self, address: Address) -> Schema:
        # What a client says of itself can't be trusted to be a host, and braces have a meaning.
        host = address.host if _HOST.fullmatch(address.host) else "localhost"
        common: Schema = {"host": host}
        if self._security:
            common["security"] = [reference("securitySchemes", name) for name in self._security]
        s = "s" if address.secure else ""
        return {
            "http": {**common, "protocol": f"http{s}"},
            "ws": {**common, "protocol": f"ws{s}"},
        }

    # Topics

    def _add(self, topic: Topic) -> None:
        key = self._free(component_name(topic.name), self._channels)
        messages = self._topic_messages(topic, key)
        channel: Schema = {
            "address": f"/topics/{topic.name}",
            "title": topic.name,
            "servers": [{"$ref": "#/servers/http"}],
            "messages": {name: reference("messages", name) for name in messages["all"]},
        }
        parameters = _PARAMETER.findall(topic.name)
        if parameters:
            described = {"description": f"Any value of {VALUE.pattern}; each has a log of its own."}
            channel["parameters"] = dict.fromkeys(parameters, described)
        self._channels[key] = channel
        self._add_operation(f"{key}.read", "send", key, messages["sent"])
        self._operations[f"{key}.read"] |= {
            "summary": f"Read {topic.name}",
            "description": _reading(topic),
            "bindings": {"http": {"method": "GET", "query": _READ_QUERY}},
        }
        if topic.publishable:
            self._add_operation(f"{key}.publish", "receive", key, messages["taken"])
            self._operations[f"{key}.publish"] |= {
                "summary": f"Publish to {topic.name}",
                "description": _PUBLISHING,
                "bindings": {"http": {"method": "POST"}},
            }

    def _add_operation(self, name: str, action: str, channel: str, messages: list[str]) -> None:
        at = f"#/channels/{channel}"
        self._operations[name] = {
            "action": action,
            "channel": {"$ref": at},
            "messages": [{"$ref": f"{at}/messages/{message}"} for message in messages],
        }

    def _topic_messages(self, topic: Topic, key: str) -> dict[str, list[str]]:
        """Make the topic's own messages; gives the names of what its channel carries."""
        schema = {} if topic.schema is None else dict(topic.schema)
        if topic.text and not schema:
            schema = {"type": "string"}
        data = self._schemas.put(f"{key}.data", self._schemas.add(schema, key))
        name = _name_schema(topic.name)
        event = self._message(f"{key}.event", "An event", event_payload(name, data))
        self._sent.append(event)
        sent, taken = [event, *OF_STREAMS], list[str]()
        if topic.publishable:
            body = reference("schemas", data)
            taken.append(self._message(f"{key}.publication", "A value to store", body))
            payload = publish_payload(name, data)
            self._taken.append(self._message(f"{key}.publish", "A publication", payload))
        return {"sent": sent, "taken": taken, "all": [*sent, *taken]}

    def _message(self, name: str, summary: str, payload: Schema) -> str:
        name = self._free(name, self._messages)
        self._messages[name] = {"name": name, "summary": summary, "payload": payload}
        return name

    @staticmethod
    def _free(name: str, taken: Mapping[str, object]) -> str:
        while name in taken or name == _SOCKET:
            name += "_"
        return name

    # The WebSocket

    def _add_socket(self) -> None:
        names = [*self._sent, *self._taken]
        self._channels[_SOCKET] = {
            "address": "/ws",
            "title": "All topics on one connection",
            "description": _FRAMES,
            "servers": [{"$ref": "#/servers/ws"}],
            "messages": {name: reference("messages", name) for name in names},
            "bindings": {"ws": {"method": "GET"}},
        }
        self._add_operation(f"{_SOCKET}.send", "send", _SOCKET, self._sent)
        self._add_operation(f"{_SOCKET}.receive", "receive", _SOCKET, self._taken)


def _name_schema(name: str) -> Schema:
    """The schema of a topic's name, or of the names that a template makes."""
    if not _PARAMETER.search(name):
        return {"const": name}
    literals = [re.escape(each) for each in _PARAMETER.split(name)[::2]]
    return {"type": "string", "pattern": f"^{VALUE.pattern.join(literals)}$"}


def _reading(topic: Topic) -> str:
    data = "the text itself" if topic.text else "the JSON of `data`"
    return (
        "By `Accept`: `application/x-ndjson` and `application/msgpack` give these messages one"
        " after another. `text/event-stream` gives the same as server-sent events: `id` is the"
        f" cursor, `event` the name where there is one, `data` is {data}; `gap` and `end` are"
        " events of that name. `application/json` gives one page."
    )


_PUBLISHING: Final = (
    "One value as `application/json`, or several as `application/x-ndjson` or"
    " `application/msgpack`. All are stored or none is."
)
_FRAMES: Final = (
    "Each frame holds an array of messages. The subprotocol `penstock.v1.json` has text frames,"
    " `penstock.v1.msgpack` binary ones."
)
_READ_QUERY: Final[Schema] = {
    "type": "object",
    "properties": {
        "after": {
            "type": "string",
            "description": "a cursor, `earliest`, or `latest`, which is the default",
        },
        "format": {"type": "string", "enum": ["sse", "ndjson", "msgpack", "json"]},
    },
}
