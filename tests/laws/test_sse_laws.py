"""Laws of the event stream: what is written is read, and where it was cut makes no difference."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.wire.sse import (
    ProtocolError,
    ServerSentEvent,
    SSEDecoder,
    encode_comment,
    encode_event,
    event_block,
)

# Any character but surrogates, by number: tables of categories take seconds to build at first use.
characters = st.one_of(st.integers(0, 0xD7FF), st.integers(0xE000, 0x10FFFF)).map(chr)
text = st.text(characters | st.sampled_from("\r\n: \0\ufeffé€😀a"), max_size=20)
one_line = text.map(lambda value: "".join(c for c in value if c not in "\r\n\0"))
cuts = st.lists(st.integers(0, 10_000), max_size=12)
block = st.fixed_dictionaries(
    {"data": st.none() | text},
    optional={"id": one_line, "event": one_line, "retry": st.integers(0, 10**9)},
).filter(lambda fields: fields != {"data": None})

# Bytes that look like an event stream more often than chance would have it.
hostile = st.lists(
    st.sampled_from(
        [b"data", b"id", b"event", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\0", b"a", b"7"]
    )
    | st.sampled_from(
        [b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xbf", b"\xe2\x82\xac", b"\xf0\x9f", b"\xff"]
    )
    | st.binary(max_size=4),
    max_size=60,
).map(b"".join)


def split(stream: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    return [stream[start:end] for start, end in pairwise(places)]


def read(
    pieces: list[bytes], max_block_bytes: int = 1000
) -> tuple[list[ServerSentEvent], str, int | None, str | None]:
    """Events, last event id, retry, and the error at the end, of a stream in pieces."""
    decoder = SSEDecoder(max_block_bytes=max_block_bytes)
    events: list[ServerSentEvent] = []
    error = None
    try:
        for piece in [*pieces, b""]:
            events += decoder.feed(piece)
    except ProtocolError as fault:
        error = str(fault)
    return events, decoder.last_event_id, decoder.retry, error


def one_by_one(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def by_the_standard(stream: bytes) -> tuple[list[ServerSentEvent], str, int | None, str | None]:
    """The same, as naive as can be: WHATWG HTML 9.2.5 and 9.2.6, step by step, without bounds."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    data, event, last_id, retry = "", "", "", None
    dispatched_id = ""
    events: list[ServerSentEvent] = []
    for line in re.split("\r\n|\r|\n", text)[:-1]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            dispatched_id = last_id
            if data:
                events.append(ServerSentEvent(event or "message", data.removesuffix("\n"), last_id))
            data = event = ""
        elif field == "data":
            data += value + "\n"
        elif field == "event":
            event = value
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return events, dispatched_id, retry, None


# What servers write, and what comes close to it.
likely = st.lists(
    st.sampled_from(
        [
            "id: k-1\ndata: 1\n\n",
            "id: k-2\nevent: tick\ndata: {}\n\n",
            "data: [DONE]\n\n",
            "id: k-3\ndata: a\ndata: b\n\n",
            "id: k-4\ndata: a\nevent: late\n\n",
            "event: first\nid: k-5\ndata: x\n\n",
            "retry: 7\nid: k-6\n\n",
            "id: k-7\nretry: 8\ndata: x\n\n",
            "id: \ndata: no id\n\n",
            "id:k-8\ndata:tight\n\n",
            "id:  k-9\nevent:  wide\ndata:  wide\n\n",
            "id: k\0\ndata: x\n\n",
            "id: k-10\nevent: \ndata: \n\n",
            "id: k-11\n\n",
            "id: k-12\nid: k-13\ndata: x\n\n",
            "id: k-14\nevent: a\nevent: b\ndata: x\n\n",
            "id: é€😀\nevent: é\ndata: €\ufeff\u2028\x85\n\n",
            ": keepalive\n\n",
            "data\n\n",
            "id\n",
            "\n",
            "\ufeff",
        ]
    )
    | text,
    max_size=12,
).map("".join)


@given(
    likely.flatmap(lambda s: st.sampled_from([s, s.replace("\n", "\r"), s.replace("\n", "\r\n")])),
    cuts,
)
def test_it_reads_as_the_standard_says_however_it_is_cut(stream: str, at: list[int]) -> None:
    expected = by_the_standard(stream.encode())
    assert read(split(stream.encode(), at), 100_000) == expected
    assert read(one_by_one(stream.encode()), 100_000) == expected


@given(hostile, cuts)
def test_it_reads_hostile_streams_as_the_standard_says(stream: bytes, at: list[int]) -> None:
    assert read(split(stream, at), 100_000) == by_the_standard(stream)


@given(st.lists(block, max_size=5), st.sampled_from(["", "keepalive", "a\r\ndata: b"]), cuts)
def test_what_is_written_is_read_however_it_is_cut(
    blocks: list[dict[str, object]], comment: str, at: list[int]
) -> None:
    stream = encode_comment(comment).join(encode_event(**fields) for fields in blocks)  # type: ignore[arg-type] # drawn
    last_id: object = ""
    retry: object = None
    expected: list[ServerSentEvent] = []
    for fields in blocks:
        last_id = fields.get("id", last_id)
        retry = fields.get("retry", retry)
        if isinstance(data := fields["data"], str):
            lines = data.replace("\r\n", "\n").replace("\r", "\n")
            expected.append(
                ServerSentEvent(
                    event=str(fields.get("event") or "message"), data=lines, id=str(last_id)
                )
            )
    assert read(split(stream, at)) == (expected, last_id, retry, None)


@given(one_line.map(str.encode), one_line.map(str.encode), st.none() | one_line.map(str.encode))
def test_the_fast_path_is_the_encoder(cursor: bytes, data: bytes, event: bytes | None) -> None:
    assert event_block(cursor, data, event) == encode_event(
        data=data.decode(), id=cursor.decode(), event=None if event is None else event.decode()
    )


@given(hostile, cuts, st.sampled_from([4, 12, 1000]))
@example(b"\xef\xbb\xbfdata\n\n", [1, 2], 4)
@example(b"data:ab\n\ndata:abc\n\n", [], 7)
@example(b"data:a\r\nid:1\r\n\r\ndata:b\r\r\n", [7], 1000)
def test_where_a_stream_is_cut_makes_no_difference(
    stream: bytes, at: list[int], max_block_bytes: int
) -> None:
    whole = read([stream], max_block_bytes)
    assert read(split(stream, at), max_block_bytes) == whole
    assert read(one_by_one(stream), max_block_bytes) == whole


@given(hostile)
def test_decoding_line_by_line_is_decoding_the_whole_stream(stream: bytes) -> None:
    """Replacing invalid UTF-8 first, as the standard says, gives the same events."""
    assert read([stream.decode("utf-8", "replace").encode()])[0] == read([stream])[0]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_events_or_a_protocol_error(stream: bytes, max_block_bytes: int) -> None:
    events, *_ = read([stream], max_block_bytes)
    assert all(len(event.data) <= max_block_bytes for event in events)
