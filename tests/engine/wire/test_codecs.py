import sys
import tracemalloc

import msgpack  # type: ignore[import-untyped] # it ships no annotations
import pytest

from penstock.wire.codecs import (
    JSON,
    MSGPACK,
    MessageCodec,
    Undecodable,
    encode_json,
    encode_msgpack,
)
from penstock.wire.messages import ErrorCode, ErrorMessage, Gap, Keepalive, Publish
from penstock.wire.plain import MAX_DEPTH, Unencodable

CODECS = [JSON, MSGPACK]
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def arrays(depth: int, innermost: object = 1) -> object:
    value = innermost
    for _ in range(depth):
        value = [value]
    return value


# --- Writing ---


def test_a_codec_names_its_subprotocol_and_frame_kind() -> None:
    assert (JSON.name, JSON.subprotocol, JSON.binary) == ("json", "penstock.v1.json", False)
    assert (MSGPACK.name, MSGPACK.subprotocol, MSGPACK.binary) == (
        "msgpack",
        "penstock.v1.msgpack",
        True,
    )


@each_codec
def test_messages_and_plain_values_are_encoded(codec: MessageCodec) -> None:
    gap = Gap("t", "k-1", "k-9", None, "slow")
    fields = {
        "type": "gap",
        "topic": "t",
        "requested": "k-1",
        "resumed": "k-9",
        "missed": None,
        "reason": "slow",
    }
    assert codec.decode_frame(codec.encode(gap)) == [fields]
    assert codec.encode(gap) == codec.encode(fields)
    error = codec.encode(ErrorMessage(ErrorCode.LIMIT, "no"))
    assert codec.decode_value(error) == {"type": "error", "code": "limit", "message": "no"}


@each_codec
@pytest.mark.parametrize("event", [None, "tick", 'a "quoted" name, é'])
def test_an_event_is_put_around_encoded_data(codec: MessageCodec, event: str | None) -> None:
    data = {"value": [1, 2.5, "x" * 100]}
    fields = {"type": "event", "topic": "room.é", "id": "k-1"}
    fields |= {} if event is None else {"event": event}
    expected = codec.encode({**fields, "data": data})
    assert codec.event("room.é", "k-1", codec.encode(data), event) == expected
    assert codec.event("room.é", b"k-1", codec.encode(data), event) == expected


@each_codec
@pytest.mark.parametrize("count", [0, 1, 15, 16, 70_000])
def test_an_array_frame_holds_encoded_messages(codec: MessageCodec, count: int) -> None:
    frame = codec.array([codec.encode(Keepalive())] * count)
    assert codec.decode_frame(frame) == [{"type": "keepalive"}] * count


@each_codec
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_stream_holds_encoded_messages(codec: MessageCodec, count: int) -> None:
    stream = codec.stream([codec.encode(Keepalive())] * count)
    assert codec.decode_values(stream) == [{"type": "keepalive"}] * count


def test_ndjson_ends_every_line_and_messagepack_needs_no_ends() -> None:
    assert JSON.stream([b"1", b"2"]) == b"1\n2\n"
    assert JSON.stream([]) == b""
    assert MSGPACK.stream([b"\x01", b"\x02"]) == b"\x01\x02"


def test_bytes_are_base64_text_in_json() -> None:
    assert encode_json({"a": b"\xff\xfe"}) == b'{"a":"//4="}'
    assert msgpack.unpackb(encode_msgpack({"a": b"\xff\xfe"})) == {"a": b"\xff\xfe"}
    assert encode_json((1, bytearray(b"a"))) == b'[1,"YQ=="]'
    assert msgpack.unpackb(encode_msgpack((1, bytearray(b"a")))) == [1, b"a"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1.5, float("nan")]}, r"not finite \(at \$\.a\[1\]\)"),
        (float("-inf"), "not finite"),
        ([2**64], r"over 64 bits \(at \$\[0\]\)"),
        ({1: 2}, "keys are text"),
        ({"a": object()}, r"object is not a plain value \(at \$\.a\)"),
        (["\ud800"], "surrogates"),
        ({"\ud800": 1}, "surrogates"),
        (arrays(MAX_DEPTH + 1), "too deeply"),
        (memoryview(b"abcd")[::2], "contiguous"),
    ],
)
def test_both_codecs_refuse_the_same(value: object, says: str) -> None:
    for encode in (encode_json, encode_msgpack, JSON.encode, MSGPACK.encode):
        if says == "too deeply" and encode not in (encode_json, encode_msgpack):
            continue  # a page has a few levels more around its values
        with pytest.raises(Unencodable, match=says):
            encode(value)


@each_codec
def test_a_publication_is_not_sent_with_what_cannot_travel(codec: MessageCodec) -> None:
    with pytest.raises(Unencodable, match="not finite"):
        codec.encode(Publish("t", {"a": float("nan")}))
    assert codec.decode_frame(codec.encode(Publish("t", None))) == [
        {"type": "publish", "topic": "t", "data": None}
    ]


# --- Reading what is well-formed ---


@each_codec
def test_a_lone_map_is_a_frame_of_one(codec: MessageCodec) -> None:
    assert codec.decode_frame(codec.encode({"type": "ping"})) == [{"type": "ping"}]
    assert codec.decode_frame(codec.encode([])) == []
    assert codec.decode_frame(codec.encode([1, "x"])) == [1, "x"]  # for the parser to refuse


@each_codec
@pytest.mark.parametrize("scalar", [None, 1, "ping"])
def test_a_frame_is_an_array_or_a_map(codec: MessageCodec, scalar: object) -> None:
    with pytest.raises(Undecodable, match="array of messages"):
        codec.decode_frame(codec.encode(scalar))


def test_a_text_frame_may_come_as_text() -> None:
    assert JSON.decode_frame('[{"type":"ping","ref":"é"}]') == [{"type": "ping", "ref": "é"}]
    assert JSON.decode_value('"é"') == "é"
    assert JSON.decode_values("1\n2") == [1, 2]
    for decode in (MSGPACK.decode_frame, MSGPACK.decode_value, MSGPACK.decode_values):
        with pytest.raises(Undecodable, match="binary"):
            decode("\x80")


def test_blank_lines_of_ndjson_are_skipped() -> None:
    assert JSON.decode_values(b'\n1\r\n \t\n"a"\n\n[2]') == [1, "a", [2]]
    assert JSON.decode_values(b"") == []
    assert MSGPACK.decode_values(b"") == []


@each_codec
def test_of_equal_keys_the_last_counts(codec: MessageCodec) -> None:
    payload = b'{"a":1,"a":2}' if codec is JSON else b"\x82\xa1a\x01\xa1a\x02"
    assert codec.decode_value(payload) == {"a": 2}


@each_codec
def test_integers_of_64_bits_pass(codec: MessageCodec) -> None:
    values = [-(2**63), 2**63, 2**64 - 1]
    assert codec.decode_value(codec.encode(values)) == values


@each_codec
def test_data_as_deep_as_can_be_published_can_be_delivered(codec: MessageCodec) -> None:
    data = codec.encode(arrays(MAX_DEPTH))
    assert codec.decode_value(data) == arrays(MAX_DEPTH)
    frame = codec.array([codec.event("t", b"k-1", data, None)])
    (message,) = codec.decode_frame(frame)
    assert isinstance(message, dict)
    assert message["data"] == arrays(MAX_DEPTH)


# --- Reading what is hostile ---

HOSTILE_JSON = {
    "nothing": b"",
    "blank": b"  ",
    "cut short": b'{"a":',
    "two values": b"1 2",
    "NaN": b"NaN",
    "Infinity": b"[-Infinity]",
    "over a float": b"1e999",
    "over 64 bits": b"18446744073709551616",
    "under 64 bits": b"[-9223372036854775809]",
    "thousands of digits": b"1" * 100_000,
    "byte order mark": b"\xef\xbb\xbf1",
    "not UTF-8": b'"\xff"',
    "raw surrogate": b'"\xed\xa0\x80"',
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\udc00"',
    "surrogate key": b'{"\\ud800":1}',
    "control character": b'"\0"',
    "single quotes": b"{'a':1}",
    "65 deep": b"[" * 67 + b"]" * 67,
    "900 deep": b"[" * 900 + b"]" * 900,
    "100,000 deep": b"[" * 100_000,
    "100,000 maps deep": b'{"a":' * 100_000,
}

HOSTILE_MSGPACK = {
    "nothing": b"",
    "array of 4 billion": b"\xdd\xff\xff\xff\xff",
    "map of 4 billion": b"\xdf\xff\xff\xff\xff",
    "string of 4 billion": b"\xdb\xff\xff\xff\xff",
    "bytes of 4 billion": b"\xc6\xff\xff\xff\xff",
    "extension of 4 billion": b"\xc9\xff\xff\xff\xff\x05",
    "an array of 100 million": b"\xdd\x05\xf5\xe1\x00" + b"\xc0" * 1000,
    "arrays of 65,535, 1,000 deep": b"\xdc\xff\xff" * 1000 + b"\xc0" * 65_535,
    "arrays in arrays": b"\xdd\x00\x01\x00\x00" * 1000 + b"\xc0" * 65_536,
    "array keys in array keys": b"\x81\xdc\xff\xff" * 500 + b"\xc0" * 65_535,
    "65 deep": b"\x91" * 67 + b"\xc0",
    "900 deep": b"\x91" * 900 + b"\xc0",
    "100,000 deep": b"\x91" * 100_000 + b"\xc0",
    "100,000 maps deep": b"\x81\xa1a" * 100_000 + b"\xc0",
    "two values": b"\xc0\xc0",
    "never used": b"\xc1",
    "not UTF-8": b"\xa1\xff",
    "surrogate": b"\xa3\xed\xa0\x80",
    "NaN": b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "NaN, 32 bits": b"\xca\x7f\xc0\x00\x00",
    "Infinity": b"\x91\xcb\xff\xf0\x00\x00\x00\x00\x00\x00",
    "integer key": b"\x81\x01\xc0",
    "null key": b"\x81\xc0\xc0",
    "float key": b"\x81\xca\x00\x00\x00\x00\xc0",
    "bytes key": b"\x81\xc4\x01a\xc0",
    "array key": b"\x81\x91\xc0\xc0",
    "map key": b"\x81\x80\xc0",
    "key that is not UTF-8": b"\x81\xa1\xff\xc0",
    "extension": b"\xd4\x05x",
    "extension within": b"\x91\xc7\x02\x05xx",
    "timestamp": b"\xd6\xff\x00\x00\x00\x01",
    "bad timestamp": b"\xc7\x03\xff\x00\x00\x00",
    "timestamp key": b"\x81\xd6\xff\x00\x00\x00\x01\xc0",
}

HOSTILE = [
    pytest.param(codec, payload, id=f"{codec.name}: {name}")
    for codec, payloads in ((JSON, HOSTILE_JSON), (MSGPACK, HOSTILE_MSGPACK))
    for name, payload in payloads.items()
]


@pytest.mark.parametrize(("codec", "payload"), HOSTILE)
def test_a_hostile_payload_is_undecodable_and_nothing_else(
    codec: MessageCodec, payload: bytes
) -> None:
    with pytest.raises(Undecodable) as caught:
        codec.decode_value(payload)
    assert caught.value.index is None
    with pytest.raises(Undecodable):
        codec.decode_frame(codec.array([payload, payload]) if payload.strip() else payload)
    with pytest.raises(Undecodable):
        codec.decode_frame(payload)


def test_lone_surrogates_of_a_text_frame_are_undecodable() -> None:
    for decode in (JSON.decode_frame, JSON.decode_value, JSON.decode_values):
        with pytest.raises(Undecodable):
            decode('"\ud800"')


@pytest.mark.parametrize(
    ("codec", "payload"),
    # A stream may well hold no value, or two.
    [case for case in HOSTILE if not str(case.id).endswith(("nothing", "blank", ": two values"))]
    + [pytest.param(JSON, b"1 2", id="json: two values on a line")],
)
def test_the_value_at_fault_is_named(codec: MessageCodec, payload: bytes) -> None:
    ok = b"1\n" if codec is JSON else b"\x01"
    with pytest.raises(Undecodable) as caught:
        codec.decode_values(ok * 2 + payload)
    assert caught.value.index == 2


def test_a_message_at_fault_is_named() -> None:
    with pytest.raises(Undecodable, match=r"not finite \(at \$\.data\) \(value 1\)") as caught:
        MSGPACK.decode_frame(msgpack.packb([{"type": "ping"}, {"data": float("nan")}]))
    assert caught.value.index == 1


@pytest.mark.parametrize(("codec", "payload"), HOSTILE)
def test_a_hostile_payload_costs_little_memory(codec: MessageCodec, payload: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Undecodable):
            codec.decode_value(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000 + 20 * len(payload)


@pytest.mark.parametrize(
    "payload",
    [
        msgpack.packb([[]] * 200_000),
        msgpack.packb([{}] * 200_000),
        msgpack.packb([{"a": []}] * 50_000),
        msgpack.packb([[1]] * 100_000),
    ],
    ids=["lists", "maps", "maps of lists", "lists of numbers"],
)
def test_the_costliest_payloads_cost_what_their_objects_take(payload: bytes) -> None:
    tracemalloc.start()
    try:
        value = MSGPACK.decode_value(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(value, list)
    one = value[0]
    objects = sys.getsizeof(one) + 16 + 8  # with the collector's header and a place in the list
    if isinstance(one, dict):
        objects += sum(sys.getsizeof(item) + 16 for item in one.values())
    assert peak < 1.5 * objects * len(value) + 10 * len(payload)
