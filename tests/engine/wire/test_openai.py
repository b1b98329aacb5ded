"""Reading what servers of OpenAI's kind send: any bytes give a value or `Unreadable`."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import ChatDelta, ToolCallDelta, Usage
from penstock.wire.openai import (
    AnswerReader,
    Failed,
    Fault,
    Unreadable,
    read_chunk,
    read_fault,
    read_models,
)

NAMES = (
    "choices delta content index finish_reason usage error tool_calls function name arguments"
    " message code data id prompt_tokens reasoning"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON | st.binary(max_size=60))
def test_anything_is_read_or_refused(value: Any) -> None:
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    assert isinstance(read_fault(body), Fault)
    for read in (read_models, lambda data: read_chunk(data.decode("utf-8", "replace"))):
        with suppress(Unreadable, Failed):
            read(body)


@given(st.lists(JSON, max_size=4), st.lists(st.integers(0, 200), max_size=5))
def test_an_answer_is_the_same_however_its_bytes_are_cut(
    values: list[Any], cuts: list[int]
) -> None:
    data = b"".join(b"data: %b\r\n\r\n" % msgspec.json.encode(value) for value in values)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert everything(pieces) == everything([data])


def everything(pieces: list[bytes]) -> tuple[list[ChatDelta], str, bool]:
    reader, deltas = AnswerReader(), list[ChatDelta]()
    try:
        for piece in pieces:
            for delta in reader.feed(piece):
                deltas.append(delta)
    except (Unreadable, Failed) as failure:
        return deltas, repr(failure), reader.complete
    return deltas, "", reader.complete


@pytest.mark.parametrize(
    ("choice", "delta"),
    [
        ({"delta": {"content": "a"}}, ChatDelta("a")),
        ({"delta": {"content": None, "refusal": "no"}}, ChatDelta("no")),
        ({"delta": {"role": "assistant", "content": ""}}, None),
        ({"delta": {"reasoning": {"not": "text"}}}, None),
        ({"index": 1, "delta": {"content": "another choice"}}, None),
        ({"delta": {}, "finish_reason": "eos"}, ChatDelta(finish_reason="stop")),
        ({"finish_reason": "MAX_TOKENS"}, ChatDelta(finish_reason="length")),
        (
            {"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}] * 2}},
            ChatDelta(
                tool_calls=(
                    ToolCallDelta(0, name="f", arguments="{}"),
                    ToolCallDelta(1, name="f", arguments="{}"),
                )
            ),
        ),
    ],
)
def test_chunks_of_all_kinds(choice: dict[str, Any], delta: ChatDelta | None) -> None:
    assert read_chunk(msgspec.json.encode({"choices": [choice]}).decode()) == delta


def test_usage_may_come_with_and_without_choices() -> None:
    assert read_chunk('{"usage": {"prompt_tokens": 1}}') == ChatDelta(usage=Usage(1, 0))
    assert read_chunk('{"choices": [], "usage": {}}') is None
    assert read_chunk("{}") is None
