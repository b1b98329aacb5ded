"""Bytes to what the server says, in each of the three formats, wherever the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.net.losses import ConnectionLost, Refused
from penstock.net.over_http.formats import (
    Format,
    MsgpackSignals,
    NDJSONSignals,
    SSESignals,
    decoder_for,
)
from penstock.net.over_http.position import Moved, Retry, Signal
from penstock.net.received import Event
from penstock.wire import (
    MSGPACK,
    End,
    Gap,
    Keepalive,
    Reconnect,
    Subscribed,
    encode_comment,
    encode_event,
)

FORMATS: tuple[Format, ...] = ("sse", "ndjson", "msgpack")

SUBSCRIBED = Subscribed("cpu", "e-0")
NAMED = Event("cpu", "e-2", [1, {"a": None}], "tick")
GAP = Gap("cpu", "e-2", "e-5", 3, "expired")
END = End("cpu", "e-6")
SAID: tuple[Any, ...] = (
    SUBSCRIBED,
    Event("cpu", "e-1", {"load": 1.5, "host": "größe"}),
    NAMED,
    GAP,
    Event("cpu", "e-6", None),
    END,
)


def encoded(format_: Format, *said: Any) -> bytes:
    return b"".join(_encoded(format_, each) for each in said)


def _encoded(format_: Format, said: Any) -> bytes:
    if format_ == "ndjson":
        return msgspec.json.encode(said) + b"\n"
    if format_ == "msgpack":
        return msgspec.msgpack.encode(said)
    match said:
        case Subscribed():
            return encode_event(data=None, id=said.id, retry=250)
        case Event():
            data = msgspec.json.encode(said.data).decode()
            return encode_event(data=data, id=said.id, event=said.event)
        case Gap():
            data = msgspec.json.encode(said).decode()
            return encode_event(data=data, id=said.resumed, event="gap")
        case End():
            data = msgspec.json.encode(said).decode()
            return encode_event(data=data, id=said.id, event="end")
        case _:
            return encode_comment("keepalive")


def read(format_: Format, stream: bytes, size: int = 10**9, data: Any = "json") -> list[Signal]:
    decoder = decoder_for(format_, "cpu", data)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    signals = [signal for piece in pieces for signal in decoder.feed(piece)]
    return [signal for signal in signals if not isinstance(signal, Keepalive)]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_what_is_said_is_read_however_it_is_cut(format_: Format, size: int) -> None:
    signals = read(format_, encoded(format_, *SAID), size)
    retry = [signal for signal in signals if isinstance(signal, Retry)]
    assert [signal for signal in signals if not isinstance(signal, Retry)] == list(SAID)
    assert retry == ([Retry(0.25)] if format_ == "sse" else [])


@pytest.mark.parametrize("format_", FORMATS)
def test_an_unfinished_message_is_none_yet(format_: Format) -> None:
    stream = encoded(format_, SUBSCRIBED, NAMED)
    assert NAMED not in read(format_, stream[:-1])


@pytest.mark.parametrize("format_", FORMATS)
@given(data=st.binary(max_size=300), size=st.integers(1, 300))
@example(data=b"0\x00\n", size=1)
def test_any_bytes_are_signals(format_: Format, data: bytes, size: int) -> None:
    """Or an error among them, but never an exception."""
    start = encoded(format_, SUBSCRIBED)
    assert read(format_, start + data, size)[0] == SUBSCRIBED or format_ == "sse"


# --- text/event-stream ---


def test_each_sign_of_life_counts() -> None:
    decoder = SSESignals("cpu", "json")
    assert decoder.feed(b"retry: 2000\n") == [Retry(2)]
    assert decoder.feed(b"id: e-0\n\n") == [Subscribed("cpu", "e-0")]
    assert decoder.feed(b": keepalive\n\n") == [Keepalive()]
    assert decoder.feed(b"retry: 2500\n\n") == [Keepalive(), Retry(2.5)]
    assert decoder.feed(b"id: e-1\ndata: 1\n\n") == [Event("cpu", "e-1", 1)]


def test_data_is_json_or_else_text() -> None:
    stream = b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: a\ndata: b\n\ndata: NaN\n\n'
    deep = b"data: " + b"[" * 10_000 + b"\n\n"
    values = [signal.data for signal in read("sse", stream + deep) if isinstance(signal, Event)]
    assert values == [{"a": 1}, "[DONE]", "a\nb", "NaN", "[" * 10_000]


def test_data_may_be_all_text() -> None:
    stream = b"retry: 1\nid: e-0\n\n" + b"id: e-1\ndata: 7\n\n" + b'event: error\ndata: {"a":1}\n\n'
    values = [
        signal.data
        for signal in read("sse", stream + encoded("sse", GAP), data="text")
        if isinstance(signal, Event)
    ]
    assert values == ["7", {"a": 1}]  # an error is a map, whatever else there is


def test_a_gap_and_an_end_of_another_server_are_events() -> None:
    stream = b"id: 7\nevent: gap\ndata: 1\n\n" + b"event: end\ndata: bye\n\n"
    assert read("sse", stream) == [Event("cpu", "7", 1, "gap"), Event("cpu", "7", "bye", "end")]


def test_a_stream_is_penstocks_if_it_begins_with_a_cursor_and_no_data() -> None:
    assert read("sse", b": hi\n\nid: e-0\n\n")[0] == SUBSCRIBED
    assert read("sse", b"id: not a cursor\n\n") == [Moved("not a cursor")]
    assert read("sse", b"id: e-1\ndata: 1\n\nid: e-0\n\n") == [Event("cpu", "e-1", 1), Moved("e-0")]


@pytest.mark.parametrize("data", ["", "7", "{}", '{"type":"gap"}', "[" * 10_000])
def test_a_bad_gap_is_a_lost_connection(data: str) -> None:
    stream = encoded("sse", SUBSCRIBED) + f"event: gap\ndata: {data}\n\n".encode()
    assert isinstance(read("sse", stream)[-1], ConnectionLost)


def test_a_stream_without_line_ends_takes_bounded_memory() -> None:
    decoder = SSESignals("cpu", "json")
    signals: list[Signal] = []
    for _ in range(20):
        signals = decoder.feed(b"x" * 1024 * 1024)
    assert isinstance(signals[-1], ConnectionLost)


# --- Messages ---


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n \n"])
def test_lines_may_end_in_several_ways(ending: bytes) -> None:
    line = json.dumps({"type": "event", "topic": "cpu", "id": "e-1", "data": 1}).encode()
    assert NDJSONSignals().feed(line + ending) == [Event("cpu", "e-1", 1)]


def test_other_messages() -> None:
    stream = encoded("ndjson", Keepalive(), Reconnect(2.5))
    assert NDJSONSignals().feed(stream) == [Keepalive(), Reconnect(2.5)]
    assert MsgpackSignals().feed(encoded("msgpack", Reconnect(7))) == [Reconnect(7)]


def test_what_only_later_versions_know_is_left_out() -> None:
    later = {"type": "applause", "loud": True}
    wider = {"type": "event", "topic": "cpu", "id": "e-1", "data": 1, "colour": "red"}
    for format_ in ("ndjson", "msgpack"):
        stream = encoded(format_, later, wider)
        assert decoder_for(format_, "", "json").feed(stream) == [Event("cpu", "e-1", 1)]


@pytest.mark.parametrize(
    "bad",
    [b"{", b"[]", b"7", b"{}", b'{"type": 1}', b'{"type": "\xff"}', b"<html>", b'{"type":"event"}'],
)
def test_a_line_that_is_no_message_is_a_lost_connection(bad: bytes) -> None:
    good = encoded("ndjson", NAMED)
    first, second, *_ = NDJSONSignals().feed(good + bad + b"\n" + good)
    assert first == NAMED
    assert isinstance(second, ConnectionLost)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xc1",
        b"\x07",
        b"\x80",
        b"\x91" * 5000,
        msgspec.msgpack.encode({"type": "event"}),
        msgspec.msgpack.encode(["event"]),
        # An extension type, where a value should be.
        MSGPACK.event("cpu", "e-1", b"\xd4\x05\x00", None),
    ],
)
def test_bytes_that_are_no_message_are_a_lost_connection(bad: bytes) -> None:
    good = encoded("msgpack", NAMED)
    first, second, *_ = MsgpackSignals().feed(good + bad)
    assert first == NAMED
    assert isinstance(second, ConnectionLost)


def test_lengths_that_nothing_backs_take_no_memory() -> None:
    # An array of four billion, within others.
    assert MsgpackSignals().feed(b"\xdd\xff\xff\xff\xff" * 50) == []


@pytest.mark.parametrize("format_", ["ndjson", "msgpack"])
def test_a_message_without_end_takes_bounded_memory(format_: str) -> None:
    decoder = NDJSONSignals(100) if format_ == "ndjson" else MsgpackSignals(100)
    assert decoder.feed(b"\xdb\x00\x01\x00\x00" + b"x" * 60) == []
    (signal,) = decoder.feed(b"x" * 60)
    assert isinstance(signal, ConnectionLost)
    assert "a message of over 100 bytes" in str(signal)


def test_an_error_is_for_good_or_for_now() -> None:
    def said(code: str) -> Signal:
        message = {"type": "error", "code": code, "message": "the token has expired"}
        (signal,) = NDJSONSignals().feed(encoded("ndjson", message))
        return signal

    assert isinstance(said("forbidden"), Refused)
    assert str(said("forbidden")) == "the server says: the token has expired (forbidden)"
    assert isinstance(said("unavailable"), ConnectionLost)
