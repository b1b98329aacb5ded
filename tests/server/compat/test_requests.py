"""Requests of OpenAI's API and of the UI message stream, from any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import ChatMessage
from penstock_server.compat import (
    BadChatRequest,
    OpenAIRequest,
    UIRequest,
    parse_openai_request,
    parse_ui_request,
)

USER = {"role": "user", "content": "?"}


def parse(**members: Any) -> OpenAIRequest:
    said = {"model": "m", "messages": [USER], **members}
    return parse_openai_request(json.dumps(said).encode())


def refused(**members: Any) -> BadChatRequest:
    with pytest.raises(BadChatRequest) as caught:
        parse(**members)
    assert caught.value.status == 400
    return caught.value


def test_a_request() -> None:
    asked = parse(
        stream=True,
        stream_options={"include_usage": True},
        n=1,
        temperature=0.5,
        stop=None,
        unknown={"goes": "along"},
    )
    assert asked.model == "m"
    assert asked.stream
    assert asked.include_usage
    assert asked.chat.messages == [ChatMessage("user", "?")]
    assert asked.chat.parameters == {"temperature": 0.5, "unknown": {"goes": "along"}}
    assert "?" not in repr(asked)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["?"]}, "messages[0]"),
        ({"messages": [USER, {"role": "nobody"}]}, "messages[1].role"),
        ({"messages": [{"content": "?"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"n": 2}, "n"),
        ({"n": "1"}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": [1]}, "stop[0]"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": 7}, "tool_choice"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    fault = refused(**members)
    assert fault.param == param
    assert param in fault.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 10_000,
        b'{"model":"\\ud800","messages":[]}',
        b'{"model":"m","messages":' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"model":"m","messages":[{"role":"user","content":"?"}],"seed":1e999}',
        b'{"model":"m","messages":[{"role":"user","content":"?"}],"seed":' + b"9" * 400 + b"}",
    ],
)
def test_hostile_bodies(body: bytes) -> None:
    for parser in (parse_openai_request, parse_ui_request):
        with pytest.raises(BadChatRequest) as caught:
            parser(body)
        assert len(caught.value.message) < 500


def test_a_name_of_a_model_is_not_echoed_at_length() -> None:
    assert len(refused(messages=[{"role": "x" * 100_000, "content": "?"}]).message) < 500


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\0\ud800")
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
NAMES = [
    "model", "messages", "stream", "stream_options", "n", "temperature", "stop", "tools", "seed",
    "id", "parts", "role", "content", "type", "text", "tool_calls", "state", "toolCallId", "input",
    "logit_bias", "metadata", "url", "mediaType", "trigger",
]  # fmt: skip
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "user\0"])
TYPES = st.sampled_from(["text", "file", "tool-look", "dynamic-tool", "step-start", "reasoning"])
parts = st.fixed_dictionaries(
    {"type": TYPES},
    optional={
        "text": scalars,
        "state": st.sampled_from(["output-available", "output-error", "input-available"]),
        "toolCallId": scalars,
        "toolName": scalars,
        "input": values,
        "output": values,
        "url": st.text(),
        "mediaType": st.sampled_from(["image/png", "text/plain"]),
    },
)
messages = st.fixed_dictionaries(
    {"role": ROLES},
    optional={
        "content": values | st.text() | st.lists(parts, max_size=3),
        "parts": values | st.lists(parts, max_size=3),
        "id": scalars,
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just("m") | values,
        "messages": st.lists(messages | values, max_size=3) | values,
    },
) | st.dictionaries(st.sampled_from(NAMES), values | st.lists(messages, max_size=2), max_size=6)


@given(bodies | values)
def test_any_json_is_a_request_or_refused(said: Any) -> None:
    body = json.dumps(said).encode("utf-8", "surrogatepass")
    for parser, kind in ((parse_openai_request, OpenAIRequest), (parse_ui_request, UIRequest)):
        asked: object = None
        try:
            asked = parser(body)
        except BadChatRequest as caught:
            asked = caught
        if isinstance(asked, BadChatRequest):
            assert asked.status == 400
            assert len(asked.message) < 2000
        else:
            assert isinstance(asked, kind)


@given(st.binary())
def test_any_bytes_are_refused(body: bytes) -> None:
    for parser in (parse_openai_request, parse_ui_request):
        with pytest.raises(BadChatRequest):
            parser(body)


# UI messages


def said(*messages: dict[str, Any], **members: Any) -> UIRequest:
    return parse_ui_request(json.dumps({"messages": messages, **members}).encode())


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": parts}


TEXT = {"type": "text", "text": "?"}


def test_a_message_without_parts_is_its_content() -> None:
    request = said({"role": "user", "content": "hello"}).request
    assert [(each.role, each.text) for each in request.messages] == [("user", "hello")]
    for content in (None, ["hello"], 7):
        with pytest.raises(BadChatRequest, match="parts"):
            said({"role": "user", "content": content})


def test_a_ui_request() -> None:
    asked = said(
        {"role": "system", "parts": [{"type": "text", "text": "Be brief."}]},
        user(TEXT, {"type": "data-page", "data": {"not": "for the model"}}),
        id="chat-1",
        trigger="submit-message",
        model="m",
        temperature=1,
        page=7,
    )
    assert (asked.chat, asked.model, asked.message) == ("chat-1", "m", None)
    assert asked.request.messages == [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "?"),
    ]
    assert asked.request.parameters == {"temperature": 1}


def test_files_are_parts_of_the_content() -> None:
    image = {"type": "file", "url": "data:image/png;base64,AA==", "mediaType": "image/png"}
    other = {"type": "file", "url": "data:x", "mediaType": "text/plain", "filename": "a.txt"}
    (message,) = said(user(TEXT, image, other)).request.messages
    assert message.content == [
        {"type": "text", "text": "?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "file", "file": {"file_data": "data:x", "filename": "a.txt"}},
    ]


def test_the_steps_of_an_assistant_become_messages() -> None:
    def call(number: int, state: str, **more: Any) -> dict[str, Any]:
        return {"type": "tool-look", "toolCallId": f"c{number}", "state": state, **more}

    asked = said(
        user(TEXT),
        {
            "role": "assistant",
            "id": "a1",
            "parts": [
                {"type": "step-start"},
                {"type": "reasoning", "text": "hm"},
                {"type": "text", "text": "I look."},
                call(1, "output-available", input={"a": 1}, output="seen"),
                call(2, "output-error", input={}, errorText="dark"),
                call(3, "output-denied", input={}),
                call(4, "input-available", input={}),
                {"type": "step-start"},
                {"type": "text", "text": "It is"},
            ],
        },
    )
    assert asked.message == "a1"
    _, calling, *results, saying = asked.request.messages
    assert calling.content == "I look."
    assert calling.tool_calls is not None
    assert [each["id"] for each in calling.tool_calls] == ["c1", "c2", "c3"]
    assert calling.tool_calls[0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert [(each.role, each.tool_call_id) for each in results] == [
        ("tool", "c1"),
        ("tool", "c2"),
        ("tool", "c3"),
    ]
    assert [each.text for each in results[:2]] == ["seen", "dark"]
    assert saying == ChatMessage("assistant", "It is")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "parts": []}, "messages[0].role"),
        ({"role": "user"}, "messages[0].parts"),
        (user({"text": "?"}), "messages[0].parts[0].type"),
        (user({"type": "text"}), "messages[0].parts[0].text"),
        (user({"type": "file", "url": "x"}), "messages[0].parts[0].mediaType"),
        (user({"type": "dynamic-tool", "toolCallId": "c"}), "messages[0].parts[0].toolName"),
        (user(), "messages"),
    ],
)
def test_what_is_wrong_in_a_ui_message_is_named(message: dict[str, Any], param: str) -> None:
    with pytest.raises(BadChatRequest) as caught:
        said(message)
    assert caught.value.param == param


def test_the_name_of_a_chat_is_bounded() -> None:
    for name in ("", "x" * 257):
        with pytest.raises(BadChatRequest):
            said(user(TEXT), id=name)
