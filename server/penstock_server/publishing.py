"""Taking publications: validated, encoded, and stored all or not at all. The same for HTTP and
WebSocket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.wire import Unencodable, encode_json, encode_msgpack

from .encoding import Invalid, check_event_name, validate
from .hub import Hub
from .log import EncodedEvent
from .topics import Topic


class Refused(ValueError):
    """A publication that is not stored; `index` is the value at fault, `path` the field in it."""

    def __init__(self, problem: str, index: int = 0, path: str = "$") -> None:
        super().__init__(problem)
        self.problem = problem
        self.index = index
        self.path = path


def store(hub: Hub, topic: Topic[Any], values: Sequence[object], event: str | None) -> int:
    """Store client values as they are, once every one of them is of the topic's type.

    Gives the offset of the last. Raises `Refused`, and then nothing is stored.
    """
    return append(hub, topic, prepare(topic, values, event))


def prepare(topic: Topic[Any], values: Sequence[object], event: str | None) -> list[EncodedEvent]:
    """Client values as events of the topic; raises `Refused` for the first that can't be one."""
    if event is not None:
        try:
            check_event_name(event)
        except Unencodable as fault:
            raise Refused(str(fault)) from fault
    encoded: list[EncodedEvent] = []
    for index, value in enumerate(values):
        try:
            validate(value, topic.accepts, topic.encoding)
            encoded.append(EncodedEvent(encode_json(value), encode_msgpack(value), event))
        except Invalid as fault:
            raise Refused(fault.problem, index, fault.path) from fault
        except Unencodable as fault:
            raise Refused(str(fault), index) from fault
    return encoded


def append(hub: Hub, topic: Topic[Any], encoded: Sequence[EncodedEvent]) -> int:
    """Store prepared events and count them; gives the offset of the last."""
    offset = topic.log.append(encoded)
    hub.published += len(encoded)
    return offset
