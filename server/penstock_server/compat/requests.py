"""What a client of OpenAI's API asks for, read from its body. Pure.

The rule, for any bytes: they are a request that can be served, or `BadChatRequest` says which field
is at fault. Fields that nobody here knows go to the model as they are.

Source: OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, cast

import msgspec

from penstock.wire import JSON, ChatMessage, Undecodable

from ..encoding import Invalid, validate
from .errors import BadChatRequest

_MAX_MODEL_SHOWN = 64


class ChatRequest(msgspec.Struct, frozen=True):
    """What a chat model answers: a conversation, and fields such as ``temperature``.

    It is also the body of the job that the model is.
    """

    messages: Annotated[Sequence[ChatMessage], msgspec.Meta(min_length=1)]
    parameters: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class OpenAIRequest:
    """A request of OpenAI's API.

    Attributes:
        model: which model is to answer.
        chat: what it is asked.
        stream: whether the answer is wanted in pieces.
        include_usage: whether the number of tokens is wanted at the end of a stream.
    """

    model: str
    chat: ChatRequest = field(repr=False)
    stream: bool = False
    include_usage: bool = False


_Penalty: TypeAlias = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class _Function(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]


class _Tool(msgspec.Struct):
    type: str
    function: _Function | None = None


# What is known of the fields that go to the model, so that a wrong one is not its trouble.
_PARAMETERS: Mapping[str, Any] = {
    "frequency_penalty": _Penalty,
    "logit_bias": dict[str, float],
    "logprobs": bool,
    "max_completion_tokens": _Count,
    "max_tokens": _Count,
    "metadata": dict[str, str],
    "parallel_tool_calls": bool,
    "presence_penalty": _Penalty,
    "reasoning_effort": str,
    "response_format": dict[str, Any],
    "seed": int,
    "stop": str | list[str],
    "temperature": Annotated[float, msgspec.Meta(ge=0, le=2)],
    "tool_choice": str | dict[str, Any],
    "tools": list[_Tool],
    "top_logprobs": Annotated[int, msgspec.Meta(ge=0, le=20)],
    "top_p": Annotated[float, msgspec.Meta(ge=0, le=1)],
    "user": str,
}
KNOWN_PARAMETERS = frozenset(_PARAMETERS)

_OURS = frozenset({"model", "messages", "stream", "stream_options", "n"})


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


def parse_openai_request(body: bytes) -> OpenAIRequest:
    """The request that a body says. Raises `BadChatRequest`."""
    members = decode_object(body)
    model = require(members, "model", str)
    if not model:
        raise BadChatRequest("model must be the name of a model, got nothing.", "model")
    stream = bool(optional(members, "stream", bool))
    options = optional(members, "stream_options", _StreamOptions)
    if options is not None and not stream:
        problem = "stream_options is for answers in a stream; set stream to true, or leave it out."
        raise BadChatRequest(problem, "stream_options")
    if optional(members, "n", int) not in (None, 1):
        problem = "n must be 1: one request has one answer here."
        raise BadChatRequest(problem, "n", "unsupported_value")
    messages = [_message(value, index) for index, value in enumerate(given_messages(members))]
    others = {name: value for name, value in members.items() if name not in _OURS}
    return OpenAIRequest(
        model,
        ChatRequest(messages, checked_parameters(others)),
        stream,
        bool(options and options.include_usage),
    )


def model_not_found(model: str) -> BadChatRequest:
    """That there is no such model."""
    shown = model if len(model) <= _MAX_MODEL_SHOWN else f"{model[:_MAX_MODEL_SHOWN]}…"
    problem = f"There is no model {shown!r} here; GET /v1/models lists them."
    return BadChatRequest(problem, "model", "model_not_found", 404)


# What the parsers share


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises `BadChatRequest`."""
    try:
        value = JSON.decode_value(body)
    except Undecodable as fault:
        raise BadChatRequest(f"The body can't be read as JSON: {fault}.") from fault
    if not isinstance(value, dict):
        raise BadChatRequest("The body must be a JSON object.")
    return cast("dict[str, Any]", value)


def optional(members: Mapping[str, Any], name: str, type_: Any) -> Any:
    """A field of that type; None where it isn't there, or null. Raises `BadChatRequest`."""
    value = members.get(name)
    return None if value is None else converted(value, type_, name)


def require(members: Mapping[str, Any], name: str, type_: Any) -> Any:
    """A field of that type. Raises `BadChatRequest`."""
    if members.get(name) is None:
        raise BadChatRequest(f"{name} is missing.", name, "missing_required_parameter")
    return converted(members[name], type_, name)


def converted(value: object, type_: Any, name: str) -> Any:
    """A value of that type. Raises `BadChatRequest` with the path, which begins with `name`."""
    try:
        return validate(value, type_, "json")
    except Invalid as fault:
        param = name + fault.path.removeprefix("$")
        raise BadChatRequest(f"{param}: {fault.problem}.", param, "invalid_value") from fault


def given_messages(members: Mapping[str, Any]) -> list[Any]:
    """The messages, not looked at yet; at least one. Raises `BadChatRequest`."""
    messages = require(members, "messages", list)
    if not messages:
        problem = "messages must have at least one message, got none."
        raise BadChatRequest(problem, "messages", "empty_array")
    return cast("list[Any]", messages)


def checked_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that go to the model, without those that are null. Raises `BadChatRequest`."""
    parameters = {name: value for name, value in given.items() if value is not None}
    for name in KNOWN_PARAMETERS.intersection(parameters):
        converted(parameters[name], _PARAMETERS[name], name)
    return parameters


def _message(value: object, index: int) -> ChatMessage:
    at = f"messages[{index}]"
    message = cast("ChatMessage", converted(value, ChatMessage, at))
    if message.content is None and message.role != "assistant":
        problem = f"{at}.content is missing; only an assistant's message may be without."
        raise BadChatRequest(problem, f"{at}.content")
    if message.content is not None and not isinstance(message.content, str):
        for number, part in enumerate(message.content):
            check_part(part, f"{at}.content[{number}]")
    return message


def check_part(part: Mapping[str, Any], at: str) -> None:
    """Raise `BadChatRequest` for a part of a message without a type, or one of text without any."""
    if not isinstance(part.get("type"), str):
        raise BadChatRequest(f"{at}.type must be text, such as 'text'.", f"{at}.type")
    if part["type"] == "text" and not isinstance(part.get("text"), str):
        raise BadChatRequest(f"{at}.text must be text.", f"{at}.text")
