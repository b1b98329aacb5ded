"""A log's pieces in the words of the two protocols, each by itself."""

from __future__ import annotations

from typing import Any

from penstock.wire import End, Gap, Keepalive, Reconnect, Subscribed, ToolCallDelta, Usage
from penstock_server.compat import (
    AnswerDelta,
    ChunkFraming,
    ToolCall,
    UIFraming,
    completion_of,
)
from penstock_server.encoding import Event, encode
from penstock_server.log import StoredEvent

from .bench import data_of

CHUNKS = ChunkFraming("chatcmpl-1", 7, "m")
WITH_USAGE = ChunkFraming("chatcmpl-1", 7, "m", include_usage=True)
UI = UIFraming("msg-1")
PROBLEM = {"type": "about:blank", "title": "Failed", "status": 502, "detail": "It failed."}


def stored(item: object, offset: int = 1) -> StoredEvent:
    event = encode(item, "json")
    return StoredEvent(offset, event.json, event.packed, event.name)


def framed(framing: ChunkFraming | UIFraming, item: object) -> list[Any]:
    return data_of(framing.event("m.1", "abc-1", stored(item)))


def test_a_chunk() -> None:
    (chunk,) = framed(CHUNKS, AnswerDelta(text="a", part=1, begins=True))
    assert chunk == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}],
    }
    (chunk,) = framed(WITH_USAGE, AnswerDelta(reasoning="hm", part=1))
    assert chunk["usage"] is None
    assert chunk["choices"][0]["delta"] == {"reasoning_content": "hm"}


def test_the_last_piece_is_a_chunk_or_two() -> None:
    last = AnswerDelta(finish_reason="stop", usage=Usage(1, 2), part=2, closes="text")
    (chunk,) = framed(CHUNKS, last)
    assert chunk["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert "usage" not in chunk
    chunk, usage = framed(WITH_USAGE, last)
    assert chunk["usage"] is None
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert len(framed(WITH_USAGE, AnswerDelta(finish_reason="stop", part=2))) == 1


def test_a_call_says_its_name_once() -> None:
    first = AnswerDelta(tool_calls=[ToolCallDelta(0, "c", "look", "{")], part=1, begins=True)
    then = AnswerDelta(tool_calls=[ToolCallDelta(0, "c", None, "}")], part=1)
    calls = [
        framed(CHUNKS, each)[0]["choices"][0]["delta"]["tool_calls"][0] for each in (first, then)
    ]
    function = {"name": "look", "arguments": "{"}
    assert calls[0] == {"index": 0, "id": "c", "type": "function", "function": function}
    assert calls[1] == {"index": 0, "function": {"arguments": "}"}}


def test_errors_are_told_in_both() -> None:
    (error,) = framed(CHUNKS, Event(PROBLEM, "error"))
    assert error["error"]["message"] == "It failed."
    (error,) = framed(UI, Event(PROBLEM, "error"))
    assert error == {"type": "error", "errorText": "It failed."}


def test_messages() -> None:
    gap = Gap("m.1", "a-1", "a-2", 1, "expired")
    for framing in (CHUNKS, UI):
        assert framing.message(Keepalive()) == b": keepalive\n\n"
        assert framing.message(End("m.1", "abc-9")) == b"data: [DONE]\n\n"
        for cut in (Reconnect(1), gap):
            assert "error" in str(data_of(framing.message(cut)))
    (opening,) = data_of(CHUNKS.message(Subscribed("m.1", "abc-0")))
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    start = data_of(UI.message(Subscribed("m.1", "abc-0")))
    assert start == [{"type": "start", "messageId": "msg-1"}]


def test_an_answer_that_continues_a_message_is_a_step_of_it() -> None:
    going_on = UIFraming("msg-1", continues=True)
    start = data_of(going_on.message(Subscribed("m.1", "abc-0")))
    assert start == [{"type": "start", "messageId": "msg-1"}, {"type": "start-step"}]
    end = framed(going_on, AnswerDelta(finish_reason="stop", part=1))
    assert [part["type"] for part in end] == ["finish-step", "finish"]
    assert going_on != UI


def test_all_readers_of_a_run_share_a_framing() -> None:
    def gone() -> bool:
        return True

    again = ChunkFraming("chatcmpl-1", 7, "m", cancelled=gone)
    assert again == CHUNKS
    assert hash(again) == hash(CHUNKS)
    assert WITH_USAGE != CHUNKS
    assert UIFraming("msg-1", cancelled=gone) == UI
    assert "cancelled" in str(again.message(End("m.1", "a-1")))
    assert "abort" in str(UIFraming("msg-1", cancelled=gone).message(End("m.1", "a-1")))


def test_parts_of_a_ui_message_begin_and_end() -> None:
    pieces = (
        AnswerDelta(reasoning="hm", part=1, begins=True),
        AnswerDelta(text="a", part=2, begins=True, closes="reasoning"),
        AnswerDelta(text="b", part=2),
        AnswerDelta(
            tool_calls=[ToolCallDelta(0, "c", "look", "")], part=3, begins=True, closes="text"
        ),
        AnswerDelta(tool_calls=[ToolCallDelta(0, "c", None, "{}")], part=3),
        AnswerDelta(
            finish_reason="content_filter",
            part=4,
            calls=[ToolCall("c", "look", "{}"), ToolCall("d", "look", "{no")],
        ),
    )
    parts = [part for piece in pieces for part in framed(UI, piece)]
    assert [(part["type"], part.get("id")) for part in parts[:7]] == [
        ("reasoning-start", "reasoning-1"),
        ("reasoning-delta", "reasoning-1"),
        ("reasoning-end", "reasoning-1"),
        ("text-start", "text-2"),
        ("text-delta", "text-2"),
        ("text-delta", "text-2"),
        ("text-end", "text-2"),
    ]
    assert [part["type"] for part in parts[7:]] == [
        "tool-input-start",
        "tool-input-delta",
        "tool-input-available",
        "tool-input-error",
        "finish",
    ]
    assert parts[9]["input"] == {}
    assert parts[10]["input"] == "{no"
    assert parts[-1]["finishReason"] == "content-filter"


def test_a_completion_of_nothing_is_empty_text() -> None:
    completion = completion_of("x", 7, "m", [stored(AnswerDelta(finish_reason="stop"))])
    assert completion["choices"][0]["message"]["content"] == ""
