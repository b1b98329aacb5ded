"""OpenAI's Chat Completions as the client sees them: bodies to send, chunks to read. No I/O.

Source: OpenAI API reference, "Create chat completion", "The chat completion chunk object", "List
models"; and what other servers that call themselves compatible are known to send instead.

The invariant of the readers, for any bytes: they give a value, or raise `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec

from penstock.wire.chat import ChatDelta, ChatMessage, FinishReason, ToolCallDelta, Usage
from penstock.wire.sse import ProtocolError, SSEDecoder

MAX_CHUNK_BYTES = 1024 * 1024

_DONE = "[DONE]"
_MAX_MESSAGE = 300
_MAX_CODE = 64
_MAX_TOOL_CALLS = 1024
_MAX_WRAPPERS = 4

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
}

# What reads the answer decides these, whoever asks.
_OURS = ("model", "messages", "stream", "stream_options", "n")


class Unreadable(ValueError):
    """Bytes that are not what the API says; the message says what they are instead."""


class Fault(msgspec.Struct, frozen=True):
    """What an upstream says of a failure: its message, on one line and cut short, and its code."""

    message: str = ""
    code: str | None = None


class Failed(Exception):
    """The event of a stream that says that generating failed."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault)


def request_body(
    model: str,
    messages: Sequence[ChatMessage],
    parameters: Mapping[str, Any],
    *,
    include_usage: bool = True,
) -> bytes:
    """The body of ``POST /chat/completions`` for one streamed answer.

    `parameters` are the other fields as they are; those that are None are left out, and those that
    decide about the stream (``stream``, ``stream_options``, ``n``) are not taken from there.
    Raises `TypeError` or `ValueError` for what JSON can't say.
    """
    body = {name: value for name, value in parameters.items() if value is not None}
    for name in _OURS:
        body.pop(name, None)
    body |= {"model": model, "messages": list(messages), "stream": True}
    if include_usage:
        body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)


# An answer's chunks


class AnswerReader:
    """The event stream of an answer, from pieces of bytes.

    Attributes:
        complete: whether the model has said why it stopped, or the stream that it is over; bytes
            that end before are a broken answer.
        over: whether the stream has said that it is over: nothing is to be read any more.
    """

    def __init__(self, max_chunk_bytes: int = MAX_CHUNK_BYTES) -> None:
        self.complete = False
        self.over = False
        self._events = SSEDecoder(max_block_bytes=max_chunk_bytes)

    def feed(self, data: bytes) -> Iterator[ChatDelta]:
        """The deltas that these bytes complete, each read when it is asked for.

        Raises `Unreadable` for a chunk that is none or too long, and `Failed` where the upstream
        says that it failed; each in its turn, behind the deltas before it.
        """
        try:
            events = self._events.feed(data)
        except ProtocolError as error:
            raise Unreadable(str(error)) from error
        for event in events:
            said = event.data.strip()
            if said == _DONE:
                self.complete = self.over = True
                return
            if event.event == "error":
                raise Failed(read_fault(event.data.encode()))
            delta = read_chunk(said) if said else None
            if delta is not None:
                self.complete = self.complete or delta.finish_reason is not None
                yield delta


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0, lt=_MAX_TOOL_CALLS)] | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    index: int | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Usage(msgspec.Struct):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)


def read_chunk(data: str) -> ChatDelta | None:
    """The delta that an event's data says; None where it says nothing that matters.

    Only the first choice counts. Raises `Unreadable`, and `Failed` where it says an error.
    """
    try:
        chunk = _chunks.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(_why(error)) from error
    if chunk.error:
        raise Failed(_fault_of(chunk.error))
    choice = _first(chunk.choices or [])
    if choice.finish_reason == "error":
        raise Failed(Fault("the model failed"))
    delta = choice.delta or _Delta()
    read = ChatDelta(
        text=delta.content or delta.refusal or "",
        reasoning=_text(delta.reasoning_content) or _text(delta.reasoning),
        tool_calls=_tool_calls(delta.tool_calls or []),
        finish_reason=_reason(choice.finish_reason),
        usage=_usage(chunk.usage),
    )
    return None if read == ChatDelta() else read


def _first(choices: list[_Choice]) -> _Choice:
    return next((choice for choice in choices if not choice.index), _Choice())


def _reason(given: str | None) -> FinishReason | None:
    return _REASONS.get(given.lower(), "stop") if given else None


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None or (usage.prompt_tokens is None and usage.completion_tokens is None):
        return None
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)


def _tool_calls(calls: list[_ToolCall]) -> tuple[ToolCallDelta, ...]:
    return tuple(
        ToolCallDelta(
            # Some servers send whole calls and no indexes.
            index=position if call.index is None else call.index,
            id=call.id or None,
            name=(call.function.name if call.function else None) or None,
            arguments=(call.function.arguments if call.function else None) or "",
        )
        for position, call in enumerate(calls)
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# Models and faults


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def read_models(body: bytes) -> list[str]:
    """The names of the models that ``GET /models`` tells. Raises `Unreadable`."""
    try:
        return [model.id for model in msgspec.json.decode(body, type=_Models).data]
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(_why(error)) from error


def read_fault(body: bytes) -> Fault:
    """What the body of a failed answer says: OpenAI's shape, those near to it, or plain text."""
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        text = body.decode("utf-8", "replace")
        return Fault("" if text.lstrip().startswith("<") else short(text))
    return _fault_of(value)


def _fault_of(value: object) -> Fault:
    """The fault in ``{"error": {"message", "code"}}``, a problem map, or what is like them."""
    for _ in range(_MAX_WRAPPERS):
        inner = _inside(value)
        if inner is None:
            break
        value = inner
    if not isinstance(value, dict):
        return Fault(short(value) if isinstance(value, str) else "")
    members = cast("dict[str, object]", value)
    said = (members.get(name) for name in ("message", "detail", "title"))
    codes = (members.get(name) for name in ("code", "type"))
    return Fault(
        short(next((text for text in said if isinstance(text, str)), "")),
        next((short(str(code), _MAX_CODE) for code in codes if isinstance(code, str | int)), None),
    )


def _inside(value: object) -> object:
    """What a list or an ``error`` member is wrapped around; None where there is no wrapper."""
    if isinstance(value, list):
        return next(iter(cast("list[object]", value)), None)
    if not isinstance(value, dict):
        return None
    members = cast("dict[str, object]", value)
    inner = members.get("error")
    if isinstance(inner, str):
        return None if "message" in members else inner
    return cast("object", inner) if isinstance(inner, dict) else None


def short(text: str, length: int = _MAX_MESSAGE) -> str:
    """Text of a stranger's for a line of an error: no control characters, and cut short."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 4 * length])
    line = " ".join(printable.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _why(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)
