"""What a model yields, as the pieces of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import ChatDelta, ToolCallDelta, Usage
from penstock_server.compat import AnswerDelta, ToolCall
from penstock_server.compat.deltas import Answer, AnswerFull


def pieces_of(*items: object) -> list[AnswerDelta]:
    answer = Answer(1000, 100_000)
    return [*(piece for item in items for piece in answer.take(item)), answer.last()]


def test_text_is_one_part_and_its_end_is_told() -> None:
    assert pieces_of("Hello", "", " you") == [
        AnswerDelta(text="Hello", part=1, begins=True),
        AnswerDelta(text=" you", part=1),
        AnswerDelta(finish_reason="stop", part=2, closes="text"),
    ]


def test_one_delta_of_everything_is_taken_apart() -> None:
    everything = ChatDelta(
        text="I look.",
        reasoning="hm",
        tool_calls=[ToolCallDelta(0, "a", "look", "{}")],
        usage=Usage(1, 2),
    )
    reasoning, text, call, last = pieces_of(everything)
    assert reasoning == AnswerDelta(reasoning="hm", part=1, begins=True)
    assert text == AnswerDelta(text="I look.", part=2, begins=True, closes="reasoning")
    assert call.part == 3
    assert call.closes == "text"
    assert last.finish_reason == "tool_calls"
    assert last.usage == Usage(1, 2)
    assert last.calls == (ToolCall("a", "look", "{}"),)


def test_each_piece_of_a_call_has_its_id_and_the_first_its_name() -> None:
    first, second, third, last = pieces_of(
        ChatDelta(tool_calls=[ToolCallDelta(0, name="look", arguments="")]),
        ChatDelta(tool_calls=[ToolCallDelta(0, arguments='{"a":')]),
        ChatDelta(tool_calls=[ToolCallDelta(0, id="late", name="look", arguments="1}")]),
    )
    told = [piece.tool_calls[0] for piece in (first, second, third)]
    (id_,) = {call.id for call in told}
    assert id_ is not None
    assert id_.startswith("call_")
    assert [call.name for call in told] == ["look", None, None]
    assert [piece.begins for piece in (first, second, third)] == [True, False, False]
    assert last.calls == (ToolCall(id_, "look", '{"a":1}'),)


def test_another_id_at_the_same_place_is_another_call() -> None:
    *_, last = pieces_of(
        ChatDelta(tool_calls=[ToolCallDelta(0, "a", "look", "{}")]),
        ChatDelta(tool_calls=[ToolCallDelta(0, "b", "see", "{}")]),
    )
    assert [call.id for call in last.calls] == ["a", "b"]


def test_calls_may_be_told_in_turns() -> None:
    *pieces, last = pieces_of(
        ChatDelta(tool_calls=[ToolCallDelta(0, "a", "look", "1")]),
        ChatDelta(tool_calls=[ToolCallDelta(1, "b", "see", "2")]),
        ChatDelta(tool_calls=[ToolCallDelta(0, arguments="3"), ToolCallDelta(1, arguments="4")]),
    )
    assert [piece.part for piece in pieces] == [1, 2, 1, 2]
    assert [piece.tool_calls[0].index for piece in pieces] == [0, 1, 0, 1]
    assert [call.arguments for call in last.calls] == ["13", "24"]


def test_the_model_s_own_reason_counts_wherever_it_says_it() -> None:
    *_, last = pieces_of("a", ChatDelta(finish_reason="length"), ChatDelta(usage=Usage(3, 4)))
    assert last.finish_reason == "length"
    assert last.usage == Usage(3, 4)


wrong: Any = ChatDelta


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        b"bytes",
        {"text": "a map"},
        wrong(text=7),
        wrong(finish_reason="bored"),
        wrong(usage=Usage(-1, 2)),
        wrong(usage=Usage(1 << 70, 0)),
        wrong(tool_calls=[ToolCallDelta(0, arguments="{}")]),
    ],
)
def test_what_no_model_may_yield(item: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Answer(10, 100).take(item)


def test_an_answer_has_no_more_pieces_and_bytes_than_it_may() -> None:
    few = Answer(2, 1000)
    assert len([*few.take("a"), *few.take("b")]) == 2
    with pytest.raises(AnswerFull):
        few.take("c")
    short = Answer(10, 4)
    assert short.take("ää")
    with pytest.raises(AnswerFull):
        short.take("a")
    assert short.last("length").finish_reason == "length"


deltas = st.builds(
    ChatDelta,
    text=st.text(max_size=3),
    reasoning=st.text(max_size=3),
    tool_calls=st.lists(
        st.builds(
            ToolCallDelta,
            index=st.integers(0, 2),
            id=st.none() | st.sampled_from("ab"),
            name=st.just("look"),
            arguments=st.text(max_size=3),
        ),
        max_size=2,
    ),
)


@given(st.lists(st.text(max_size=3) | deltas, max_size=20))
def test_nothing_is_lost_and_every_part_begins_and_ends_once(items: list[str | ChatDelta]) -> None:
    *pieces, last = pieces_of(*items)
    given_text = "".join(item if isinstance(item, str) else item.text for item in items)
    assert "".join(piece.text for piece in pieces) == given_text
    kinds: dict[int, str] = {}
    closed: list[int] = []
    calls: dict[str | None, str] = {}
    for piece in (*pieces, last):
        if piece.closes is not None:
            closed.append(piece.part - 1)
            assert kinds[piece.part - 1] == piece.closes
        if piece is last:
            continue
        kind = "text" if piece.text else "reasoning" if piece.reasoning else "call"
        assert piece.begins == (piece.part not in kinds)
        assert kinds.setdefault(piece.part, kind) == kind
        assert piece.part not in closed
        for call in piece.tool_calls:
            calls[call.id] = calls.get(call.id, "") + call.arguments
    assert closed == [part for part, kind in kinds.items() if kind != "call"]
    assert sorted(calls.values()) == sorted(call.arguments for call in last.calls)
