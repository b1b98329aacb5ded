"""Frames to messages: known ones in one go, strange ones one by one, hostile ones refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.net import Event, Gap
from penstock.net.over_websocket.frames import CODECS, ErrorSaid, messages_in
from penstock.wire import JSON, MSGPACK, Hello, MessageCodec, Reconnect, Undecodable, encode_msgpack

EVENT = {"type": "event", "topic": "cpu", "id": "e-1", "data": {"load": 0.5}}
SAMPLES: list[tuple[dict[str, Any], object]] = [
    (EVENT, Event("cpu", "e-1", {"load": 0.5})),
    ({**EVENT, "event": "spike", "data": None}, Event("cpu", "e-1", None, "spike")),
    (
        {"type": "gap", "topic": "t", "requested": "a", "resumed": "b", "missed": None}
        | {"reason": "slow"},
        Gap("t", "a", "b", None, "slow"),
    ),
    ({"type": "error", "code": "new", "message": "m", "ref": 3}, ErrorSaid("new", "m", 3)),
    ({"type": "reconnect", "after": 2, "why": "unknown fields pass"}, Reconnect(2)),
]

both = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())


def frame(codec: MessageCodec, value: object) -> bytes | str:
    return encode_msgpack(value) if codec.binary else json.dumps(value)


@both
def test_arrays_of_known_messages(codec: MessageCodec) -> None:
    says = messages_in(frame(codec, [said for said, _ in SAMPLES]), codec)
    assert says == [meant for _, meant in SAMPLES]


@both
def test_a_lone_map_is_an_array_of_one(codec: MessageCodec) -> None:
    assert messages_in(frame(codec, EVENT), codec) == [SAMPLES[0][1]]


@both
def test_unknown_types_are_left_out(codec: MessageCodec) -> None:
    says = messages_in(frame(codec, [EVENT, {"type": "news", "x": 1}, EVENT]), codec)
    assert says == [SAMPLES[0][1]] * 2
    assert messages_in(frame(codec, []), codec) == []


@both
@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "text",
        [5],
        [[EVENT]],
        [{}],
        [{"type": 5}],
        [{"type": "event"}],
        [{**EVENT, "topic": 5}],
        [{**EVENT, "id": None}],
        [{"type": "hello", "session": "s", "heartbeat": "x", "limits": {}}],
        [{"type": "gap", "topic": "t"}],
        [{"type": "reconnect", "after": "soon"}],
    ],
)
def test_what_is_no_message_is_undecodable(codec: MessageCodec, value: object) -> None:
    with pytest.raises(Undecodable):
        messages_in(frame(codec, value), codec)


@both
def test_the_wrong_kind_of_frame(codec: MessageCodec) -> None:
    other = json.dumps([EVENT]) if codec.binary else encode_msgpack([EVENT])
    with pytest.raises(Undecodable, match=r"frames, not"):
        messages_in(other, codec)


def _nested(depth: int) -> bytes:
    return msgspec.msgpack.encode([EVENT])[:-1] + b"\x91" * depth + b"\xc0"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # four billion items, none of them there
        b"\x91" * 1_000_000,
        b"\xdd\x00\xff\xff\xff" * 1_000,
        msgspec.msgpack.encode([EVENT]) + b"\x00",
        msgspec.msgpack.encode([EVENT])[:-3],
        msgspec.msgpack.encode([{**EVENT, "data": msgspec.msgpack.Ext(5, b"x")}]),
        msgspec.msgpack.encode([{**EVENT, "data": {1: 2}}]),
        msgspec.msgpack.encode([{**EVENT, "data": float("nan")}]),
        b"\x91\x84\xa4type\xa5event\xa5topic\xa1\xff\xa2id\xa1e\xa4data\xc0",
        _nested(70),
        _nested(100_000),
    ],
)
def test_hostile_messagepack(payload: bytes) -> None:
    with pytest.raises(Undecodable):
        messages_in(payload, MSGPACK)


@pytest.mark.parametrize(
    "payload",
    ["", "[", "[NaN]", "[" * 1_000_000, json.dumps([EVENT])[:-4], "[{}]\x00", '["\ud800"]'],
)
def test_hostile_json(payload: str) -> None:
    with pytest.raises(Undecodable):
        messages_in(payload, JSON)


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_undecodable(payload: bytes) -> None:
    try:
        messages = messages_in(payload, MSGPACK)
    except Undecodable:
        return
    assert isinstance(messages, list)


@given(st.data())
def test_any_mutation_is_messages_or_undecodable(data: st.DataObject) -> None:
    whole = msgspec.msgpack.encode([said for said, _ in SAMPLES])
    at = data.draw(st.integers(0, len(whole) - 1))
    mutated = whole[:at] + data.draw(st.binary(min_size=1, max_size=5)) + whole[at + 1 :]
    try:
        messages = messages_in(mutated, MSGPACK)
    except Undecodable:
        return
    assert all(not isinstance(each, Hello) for each in messages)
