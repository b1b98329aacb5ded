"""Laws of the codecs: what is written is read, both say the same, and no payload does worse."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.codecs import (
    JSON,
    MSGPACK,
    MessageCodec,
    Undecodable,
    encode_json,
    encode_msgpack,
)
from penstock.wire.cursor import cursor_text
from penstock.wire.messages import BadMessage, parse_client_message
from penstock.wire.plain import Unencodable, normalise, require_plain

# Any character but surrogates, by number: tables of categories take seconds to build at first use.
characters = st.one_of(st.integers(0, 0xD7FF), st.integers(0xE000, 0x10FFFF)).map(chr)
text = st.text(characters | st.sampled_from('"\\\n\0/aé€😀\u2028'), max_size=12)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)


def containers(items: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(items, max_size=4) | st.dictionaries(text, items, max_size=4)


plain = st.recursive(leaves, containers, max_leaves=8)
plain_or_bytes = st.recursive(leaves | st.binary(max_size=12), containers, max_leaves=8)
# Not plain everywhere: both codecs must refuse the same.
anything = st.recursive(
    leaves | st.floats() | st.integers() | st.sampled_from(["\ud800", {1: 2}, {b"a": 1}, 1j, {1}]),
    containers,
    max_leaves=10,
)

topics = st.text("abcXYZ019._-", min_size=1, max_size=128)
cursors = st.builds(cursor_text, st.text("0189abz", min_size=1, max_size=40), st.integers(0, 2**63))
names = st.none() | text

each_codec = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])

# Bytes that look like MessagePack, or JSON, more often than chance would have it.
hostile_msgpack = st.lists(
    st.sampled_from(
        [bytes([head]) for head in (*range(0x80, 0x84), *range(0x90, 0x94), 0xA0, 0xA1, 0xC0)]
        + [bytes([head]) for head in range(0xC1, 0xE0)]
        + [b"\x00", b"\x01", b"\xff", b"\x00\x00\x00\x02", b"\xff\xff\xff\xff", b"a"]
    )
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)
hostile_json = st.lists(
    st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\n", b" ", b"NaN", b"Infinity"])
    | st.sampled_from([b"null", b"1", b"-", b"e9", b".5", b'"a":', b"\\ud800", b"\\udc00", b"\\"])
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)


def without_bytes(value: object) -> object:
    """What JSON says of a value that holds bytes."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [without_bytes(item) for item in value]
    if isinstance(value, dict):
        return {key: without_bytes(item) for key, item in value.items()}
    return value


def same(left: object, right: object) -> bool:
    """Equal, and of the same types: 1, 1.0 and True are three things."""
    return repr(left) == repr(right)


@given(plain_or_bytes)
def test_what_is_written_is_read(value: object) -> None:
    assert same(MSGPACK.decode_value(encode_msgpack(value)), value)
    assert same(JSON.decode_value(encode_json(value)), without_bytes(value))


@given(anything)
def test_the_codecs_refuse_the_same(value: object) -> None:
    outcomes = []
    for codec, encode in ((JSON, encode_json), (MSGPACK, encode_msgpack)):
        try:
            outcomes.append(codec.decode_value(encode(value)))
        except Unencodable:
            outcomes.append(Unencodable)
    assert same(*outcomes)


@given(plain_or_bytes)
def test_a_plain_value_is_normal_already(value: object) -> None:
    assert same(normalise(value), value)


@given(plain)
def test_json_stays_on_one_line(value: object) -> None:
    encoded = encode_json(value)
    assert b"\n" not in encoded
    assert b"\r" not in encoded


@each_codec
@given(topic=topics, cursor=cursors, data=plain, event=names)
def test_an_event_is_the_map_it_stands_for(
    codec: MessageCodec, topic: str, cursor: str, data: object, event: str | None
) -> None:
    fields: dict[str, object] = {"type": "event", "topic": topic, "id": cursor}
    if event is not None:
        fields["event"] = event
    fields["data"] = data
    encoded = codec.event(topic, cursor.encode(), codec.encode(data), event)
    assert encoded == codec.encode(fields) == codec.event(topic, cursor, codec.encode(data), event)
    assert same(codec.decode_frame(encoded), [fields])


@each_codec
@given(values=st.lists(plain, max_size=4))
def test_arrays_and_streams_hold_what_was_put_in(codec: MessageCodec, values: list[object]) -> None:
    encoded = [codec.encode(value) for value in values]
    assert codec.array(encoded) == codec.encode(values)
    assert same(codec.decode_frame(codec.array(encoded)), values)
    assert same(codec.decode_values(codec.stream(encoded)), values)


@each_codec
@given(payload=hostile_msgpack | hostile_json | st.binary(max_size=100))
def test_any_bytes_are_plain_values_or_undecodable(codec: MessageCodec, payload: bytes) -> None:
    for decode in (codec.decode_frame, codec.decode_value, codec.decode_values):
        try:
            value = decode(payload)
        except Undecodable:
            continue
        require_plain(value, max_depth=67)
        # What could be read can be told to readers of either codec.
        JSON.encode(value)
        MSGPACK.encode(value)


@each_codec
@given(payload=hostile_msgpack | hostile_json, tail=st.binary(min_size=1, max_size=8))
def test_a_payload_cut_short_is_never_taken_for_whole(
    codec: MessageCodec, payload: bytes, tail: bytes
) -> None:
    """One value is all of a body: MessagePack with anything behind it is refused."""
    try:
        codec.decode_value(payload)
    except Undecodable:
        return
    if codec is MSGPACK:
        with pytest.raises(Undecodable):
            codec.decode_value(payload + tail)
        with pytest.raises(Undecodable):
            codec.decode_value(payload[:-1])


@given(plain | st.fixed_dictionaries({"type": st.sampled_from(["publish", "ping"])}, optional={}))
def test_any_value_is_a_message_or_a_bad_one(value: object) -> None:
    try:
        message = parse_client_message(value)
    except BadMessage as fault:
        assert fault.message  # noqa: PT017 - either is right
    else:
        assert isinstance(value, dict)
        assert JSON.decode_frame(JSON.encode(message))[0]["type"] == value["type"]  # type: ignore[index] # a map


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["subscribe", "unsubscribe", "publish", "ping"])},
        optional={
            "topic": text | plain,
            "data": plain,
            "ref": text | st.integers(0, 9) | plain,
            "after": text | plain,
            "slow": st.sampled_from(["skip", "conflate", "block", "disconnect"]) | plain,
            "event": text | plain,
            "key": text | plain,
        },
    )
)
def test_a_message_that_parses_says_what_was_sent(value: dict[str, object]) -> None:
    try:
        message = parse_client_message(value)
    except BadMessage as fault:
        ref = value.get("ref")
        sound = isinstance(ref, str | int) and not isinstance(ref, bool)
        assert fault.ref == (ref if sound else None)  # noqa: PT017 - either is right
    else:
        for field in message.__struct_fields__:
            if field in value:
                assert same(getattr(message, field), value[field])
