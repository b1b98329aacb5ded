"""The very bytes of each transport."""

from typing import Any

import msgspec
import pytest

from penstock.wire import End, Gap, Keepalive, Pong, Reconnect, Subscribed
from penstock_server import Event
from penstock_server.encoding import encode
from penstock_server.fanout import Framing
from penstock_server.log import StoredEvent
from penstock_server.transports.framing import (
    JSON_FRAMES,
    MSGPACK_FRAMES,
    MSGPACK_STREAM,
    NDJSON,
    SSEFraming,
)

SSE = SSEFraming(text=False, retry=1.5)
TEXT = SSEFraming(text=True, retry=1.5)
GAP = Gap("t", "a-1", "b-0", None, "epoch")


def stored(data: Any, name: str | None = None) -> StoredEvent:
    event = encode(Event(data, name), "json")
    return StoredEvent(7, event.json, event.packed, event.name)


@pytest.mark.parametrize(
    ("framing", "event", "block"),
    [
        (SSE, stored({"n": "é"}), 'id: e-7\ndata: {"n":"é"}\n\n'),
        (SSE, stored(None, "größe"), "id: e-7\nevent: größe\ndata: null\n\n"),
        (SSE, stored("two\nlines"), 'id: e-7\ndata: "two\\nlines"\n\n'),
        (TEXT, stored("two\nlines"), "id: e-7\ndata: two\ndata: lines\n\n"),
        (TEXT, stored(" a\r\nb\rc\n"), "id: e-7\ndata:  a\ndata: b\ndata: c\ndata: \n\n"),
        (TEXT, stored("", "empty"), "id: e-7\nevent: empty\ndata: \n\n"),
    ],
)
def test_sse_events(framing: Framing, event: StoredEvent, block: str) -> None:
    assert framing.event("t", "e-7", event) == block.encode()


@pytest.mark.parametrize(
    ("message", "block"),
    [
        (Subscribed("t", "e-7"), b"retry: 1500\nid: e-7\n\n"),
        (
            GAP,
            (
                b'id: b-0\nevent: gap\ndata: {"type":"gap","topic":"t","requested":"a-1",'
                b'"resumed":"b-0","missed":null,"reason":"epoch"}\n\n'
            ),
        ),
        (End("t", "e-7"), b'id: e-7\nevent: end\ndata: {"type":"end","topic":"t","id":"e-7"}\n\n'),
        (Keepalive(), b": keepalive\n\n"),
        (Reconnect(2.2504), b"retry: 2250\n\n"),
    ],
)
def test_sse_messages(message: Any, block: bytes) -> None:
    assert SSE.message(message) == TEXT.message(message) == block


def test_what_sse_does_not_say() -> None:
    with pytest.raises(AssertionError, match="Pong is not said"):
        SSE.message(Pong())


def test_sse_blocks_stand_one_after_another() -> None:
    assert SSE.join([b"id: 1\n\n", b"id: 2\n\n"]) == b"id: 1\n\nid: 2\n\n"


def test_ndjson() -> None:
    event = NDJSON.event("t", "e-7", stored({"n": 1}, "tick"))
    end = NDJSON.message(End("t", "e-7"))
    assert NDJSON.join([event, end]) == (
        b'{"type":"event","topic":"t","id":"e-7","event":"tick","data":{"n":1}}\n'
        b'{"type":"end","topic":"t","id":"e-7"}\n'
    )


def test_msgpack() -> None:
    event = MSGPACK_STREAM.event("t", "e-7", stored({"n": 1}))
    joined = MSGPACK_STREAM.join([event, MSGPACK_STREAM.message(Keepalive())])
    assert joined == (
        b"\x84\xa4type\xa5event\xa5topic\xa1t\xa2id\xa3e-7\xa4data\x81\xa1n\x01"
        b"\x81\xa4type\xa9keepalive"
    )


def test_frames_are_arrays_of_messages() -> None:
    events = [stored(1), stored(2, "x")]
    in_json = JSON_FRAMES.join([JSON_FRAMES.event("t", "e-7", event) for event in events])
    assert in_json == (
        b'[{"type":"event","topic":"t","id":"e-7","data":1},'
        b'{"type":"event","topic":"t","id":"e-7","event":"x","data":2}]'
    )
    packed = MSGPACK_FRAMES.join([MSGPACK_FRAMES.event("t", "e-7", event) for event in events])
    assert msgspec.msgpack.decode(packed) == [
        {"type": "event", "topic": "t", "id": "e-7", "data": 1},
        {"type": "event", "topic": "t", "id": "e-7", "event": "x", "data": 2},
    ]


def test_equal_framings_are_one_key() -> None:
    assert SSEFraming(text=False, retry=2) == SSEFraming(text=False, retry=2)
    assert len({SSE, TEXT, NDJSON, MSGPACK_STREAM, JSON_FRAMES, MSGPACK_FRAMES}) == 6
