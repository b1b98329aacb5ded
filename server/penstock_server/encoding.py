"""From what a pipeline yields, or a client publishes, to the bytes that a log stores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from penstock.wire import Unencodable, encode_json, encode_msgpack, normalise

from .log import EncodedEvent

_FAULT = re.compile(r"(.*?)(?: - at (?:`key` in )?`(\$[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")
_MAX_PROBLEM = 200

Encoding: TypeAlias = Literal["json", "text"]


@dataclass(frozen=True, slots=True)
class Event:
    """Data with a name. A pipeline may yield one where it would yield plain data.

    Attributes:
        data: what the client gets.
        event: the event's name: ``event:`` in SSE, ``event`` in messages.
    """

    data: Any
    event: str | None = None


class Invalid(ValueError):
    """A publication that fails the topic's type. `path` leads to the field (``$.age``)."""

    def __init__(self, problem: str, path: str = "$") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path

    def __str__(self) -> str:
        return self.problem if self.path == "$" else f"{self.problem} (at {self.path})"


def encode(item: object, encoding: Encoding) -> EncodedEvent:
    """Encode what a pipeline or the application's own code gives.

    Raises `Unencodable` where the data has no JSON, the name holds a line end or NUL, or a text
    topic is given something else than text.
    """
    data, name = (item.data, item.event) if isinstance(item, Event) else (item, None)
    if encoding == "text" and not isinstance(data, str):
        raise Unencodable(f'the topic has encoding="text": str, not {type(data).__name__}')
    if name is not None:
        check_event_name(name)
    plain = normalise(data)
    return EncodedEvent(encode_json(plain), encode_msgpack(plain), name)


def check_event_name(name: str) -> None:
    """Raise `Unencodable` for a name that would break a line-based format."""
    given: object = name
    if not isinstance(given, str) or not given:
        raise Unencodable(f"an event's name is text, not {given!r}")
    if any(forbidden in name for forbidden in "\r\n\0"):
        raise Unencodable("an event's name can't hold a line end or NUL")
    try:
        name.encode()
    except UnicodeEncodeError as fault:
        raise Unencodable(f"an event's name is text that UTF-8 can say: {fault.reason}") from fault


def validate(value: object, accepts: Any, encoding: Encoding) -> Any:
    """A client's value as an instance of the topic's type, or as it is where that is None.

    Raises `Invalid` with the field's path where it is not of the type.
    """
    if encoding == "text" and not isinstance(value, str):
        raise Invalid("this topic takes text")
    if accepts is None:
        return value
    try:
        return msgspec.convert(value, accepts)
    except msgspec.ValidationError as fault:
        raise _invalid(str(fault)) from fault


def _invalid(fault: str) -> Invalid:
    """The problem and its path, from msgspec's sentence that holds both."""
    match = _FAULT.fullmatch(fault)
    assert match is not None, "the pattern matches any text"
    problem, path = match[1], match[2] or "$"
    missing = _MISSING.fullmatch(problem)
    if missing:
        path += f".{missing[1]}"
    if len(problem) > _MAX_PROBLEM:  # it may quote what the client sent
        problem = f"{problem[:_MAX_PROBLEM]}…"
    return Invalid(problem, path)


def decode(event_data: bytes, accepts: Any) -> Any:
    """A stored event's MessagePack data as an instance of the topic's type, or as plain values."""
    if accepts is None:
        return msgspec.msgpack.decode(event_data)
    return msgspec.msgpack.decode(event_data, type=accepts)
