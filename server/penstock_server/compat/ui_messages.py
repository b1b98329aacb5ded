"""What a client of the UI message stream asks for, read from its body. Pure.

A UI message has parts that a page shows: text, files, tool calls with their results; or, from a
client that knows no parts, its text as ``content``. The model gets
the same conversation as `ChatMessage`: an assistant's message with tool calls that have results
becomes a message for the calls and one for each result. What a model can't use (reasoning, sources,
a page's own data, calls without a result) is left out.

Source: AI SDK, "Stream protocols" and "UIMessage".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec

from penstock.wire import ChatMessage

from .errors import BadChatRequest
from .requests import (
    KNOWN_PARAMETERS,
    ChatRequest,
    checked_parameters,
    converted,
    decode_object,
    given_messages,
    optional,
)

_LONGEST_ID = 256

_ANSWERED = ("output-available", "output-error", "output-denied")


@dataclass(frozen=True, slots=True)
class UIRequest:
    """A request of the UI message stream.

    Attributes:
        chat: the client's name of the chat; None where it gives none, and the answer can't be
            resumed by it.
        model: which model is to answer; None for the first that there is.
        request: what it is asked.
        message: the id of the message that the answer goes on with; None for a new one.
    """

    chat: str | None
    model: str | None
    request: ChatRequest = field(repr=False)
    message: str | None = None


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    # A file
    url: str | None = None
    mediaType: str | None = None  # noqa: N815 - its name in the protocol
    filename: str | None = None
    # A tool call
    toolCallId: str | None = None  # noqa: N815 - its name in the protocol
    toolName: str | None = None  # noqa: N815 - its name in the protocol
    state: str | None = None
    input: Any = None
    output: Any = None
    errorText: str | None = None  # noqa: N815 - its name in the protocol


class _UIMessage(msgspec.Struct):
    role: Literal["system", "user", "assistant"]
    parts: list[_Part]
    id: str | None = None


def parse_ui_request(body: bytes) -> UIRequest:
    """The request that a body says. Raises `BadChatRequest`."""
    members = decode_object(body)
    chat = optional(members, "id", str)
    if chat is not None and not 0 < len(chat) <= _LONGEST_ID:
        raise BadChatRequest(f"id must have 1 to {_LONGEST_ID} characters.", "id")
    model = optional(members, "model", str)
    messages: list[_UIMessage] = [
        converted(_with_parts(value), _UIMessage, f"messages[{index}]")
        for index, value in enumerate(given_messages(members))
    ]
    said = [each for at, message in enumerate(messages) for each in _said(message, at)]
    if not said:
        raise BadChatRequest("messages say nothing that a model could answer.", "messages")
    # A page's body has fields of its own, which an upstream would refuse.
    known = {name: members[name] for name in members if name in KNOWN_PARAMETERS}
    last = messages[-1]
    return UIRequest(
        chat,
        model,
        ChatRequest(said, checked_parameters(known)),
        last.id if last.role == "assistant" else None,
    )


def _with_parts(message: object) -> object:
    """A message whose text is in ``content`` alone, as one with parts; any other as it is."""
    if not isinstance(message, dict) or "parts" in message:
        return message  # pyright: ignore[reportUnknownVariableType]  # whatever it is
    fields = cast("dict[str, object]", message)
    content = fields.get("content")
    parts = [{"type": "text", "text": content}]
    return {**fields, "parts": parts} if isinstance(content, str) else fields


def _said(message: _UIMessage, index: int) -> list[ChatMessage]:
    for number, part in enumerate(message.parts):
        _check(part, f"messages[{index}].parts[{number}]")
    if message.role == "assistant":
        return _said_by_assistant(message.parts)
    content = _content(message.parts)
    return [ChatMessage(message.role, content)] if content else []


def _check(part: _Part, at: str) -> None:
    """Raise `BadChatRequest` where a part lacks what its type says that it has."""
    needed: Sequence[str] = ()
    if part.type == "text":
        needed = ("text",)
    elif part.type == "file":
        needed = ("url", "mediaType")
    elif part.type == "dynamic-tool":
        needed = ("toolCallId", "toolName")
    elif part.type.startswith("tool-"):
        needed = ("toolCallId",)
    for name in needed:
        if getattr(part, name) is None:
            raise BadChatRequest(f"{at}.{name} is missing.", f"{at}.{name}")


def _content(parts: Sequence[_Part]) -> str | list[Mapping[str, Any]]:
    """Text, or a list of parts where there are files among them."""
    if not any(part.type == "file" for part in parts):
        return "".join(part.text or "" for part in parts if part.type == "text")
    return [
        {"type": "text", "text": part.text} if part.type == "text" else _file(part)
        for part in parts
        if part.type in ("text", "file")
    ]


def _file(part: _Part) -> Mapping[str, Any]:
    if (part.mediaType or "").startswith("image/"):
        return {"type": "image_url", "image_url": {"url": part.url}}
    file = {"file_data": part.url, "filename": part.filename or "file"}
    return {"type": "file", "file": file}


def _said_by_assistant(parts: Sequence[_Part]) -> list[ChatMessage]:
    """The messages of each step: what it says and calls, then what the calls gave."""
    said: list[ChatMessage] = []
    step: list[_Part] = []
    for part in (*parts, _Part("step-start")):
        if part.type != "step-start":
            step.append(part)
            continue
        text = "".join(each.text or "" for each in step if each.type == "text")
        calls = [each for each in step if _is_answered(each)]
        if text or calls:
            told = [_call(each) for each in calls] or None
            said.append(ChatMessage("assistant", text or None, tool_calls=told))
        said += [ChatMessage("tool", _result(each), tool_call_id=each.toolCallId) for each in calls]
        step = []
    return said


def _is_answered(part: _Part) -> bool:
    tool = part.type == "dynamic-tool" or part.type.startswith("tool-")
    return tool and part.state in _ANSWERED


def _call(part: _Part) -> Mapping[str, Any]:
    name = part.toolName if part.type == "dynamic-tool" else part.type.removeprefix("tool-")
    arguments = msgspec.json.encode({} if part.input is None else part.input).decode()
    function = {"name": name, "arguments": arguments}
    return {"id": part.toolCallId, "type": "function", "function": function}


def _result(part: _Part) -> str:
    if part.state == "output-error":
        return part.errorText or "The tool failed."
    if part.state == "output-denied":
        return part.errorText or "The user did not allow this call."
    if isinstance(part.output, str):
        return part.output
    return msgspec.json.encode(cast("object", part.output)).decode()
