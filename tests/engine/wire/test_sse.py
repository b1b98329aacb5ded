import time
import tracemalloc

import pytest

from penstock.wire.sse import (
    MAX_RETRY_MS,
    ProtocolError,
    ServerSentEvent,
    SSEDecoder,
    encode_comment,
    encode_event,
    event_block,
)


def message(data: str, last_id: str = "", event: str = "message") -> ServerSentEvent:
    return ServerSentEvent(event=event, data=data, id=last_id)


def decode(stream: bytes) -> list[ServerSentEvent]:
    return SSEDecoder().feed(stream)


# --- Encoding ---


def test_an_event_is_a_block_of_fields() -> None:
    assert (
        encode_event(data="hello", id="k-1", event="greeting", retry=1500)
        == b"retry: 1500\nid: k-1\nevent: greeting\ndata: hello\n\n"
    )


def test_text_of_many_lines_is_many_data_lines() -> None:
    assert (
        encode_event(data="a\r\nb\rc\nd\u2028e\x0cf")
        == "data: a\ndata: b\ndata: c\ndata: d\u2028e\x0cf\n\n".encode()
    )
    assert encode_event(data="a\n") == b"data: a\ndata: \n\n"


def test_empty_data_is_a_line_and_no_data_is_none() -> None:
    assert encode_event(data="") == b"data: \n\n"
    assert encode_event(data=None, id="k-0", retry=3000) == b"retry: 3000\nid: k-0\n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
def test_a_name_or_id_that_would_break_out_of_its_line_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="event must not"):
        encode_event(data="x", event=bad)
    with pytest.raises(ValueError, match="id must not"):
        encode_event(data="x", id=bad)


def test_an_event_of_nothing_and_a_negative_retry_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one field"):
        encode_event(data=None)
    with pytest.raises(ValueError, match="not negative"):
        encode_event(data=None, retry=-1)


def test_text_that_utf_8_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_event(data="\ud800")


def test_a_comment_cannot_break_out_of_its_line() -> None:
    assert encode_comment("keepalive") == b": keepalive\n\n"
    assert encode_comment("a\ndata: b") == b": a\n: data: b\n\n"
    assert decode(encode_comment("a\r\rdata: b")) == []


def test_the_fast_path_writes_the_same_bytes() -> None:
    assert event_block(b"k-1", b'{"a":1}', None) == encode_event(data='{"a":1}', id="k-1")
    assert event_block(b"k-1", b"1", b"tick") == encode_event(data="1", id="k-1", event="tick")


# --- Decoding: the examples of the standard first ---


def test_the_standards_stock_ticker() -> None:
    assert decode(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [message("YHOO\n+2\n10")]


def test_the_standards_four_blocks() -> None:
    stream = b": test stream\n\ndata: first event\nid: 1\n\n"
    stream += b"data:second event\nid\n\ndata:  third event"
    assert decode(stream + b"\n\n") == [
        message("first event", last_id="1"),
        message("second event"),
        message(" third event"),
    ]
    assert decode(stream) == [message("first event", last_id="1"), message("second event")]


def test_the_standards_data_without_values() -> None:
    assert decode(b"data\n\ndata\ndata\n\ndata:") == [message(""), message("\n")]


def test_the_standards_optional_space() -> None:
    assert decode(b"data:test\n\ndata: test\n\n") == [message("test"), message("test")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_is_taken(end: bytes) -> None:
    stream = end.join([b"id: 7", b"event: tick", b"data: a", b"data: b", b"", b"data: c", b"", b""])
    assert decode(stream) == [message("a\nb", last_id="7", event="tick"), message("c", last_id="7")]


def test_a_line_end_cut_in_two_is_one_line_end() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: b\r") == []
    assert decoder.feed(b"\r") == [message("a\nb")]
    assert decoder.feed(b"\ndata: c\n\n") == [message("c")]


def test_other_line_separators_are_data() -> None:
    assert decode("data: a\x0b\x0c\x1c\x85\u2028b\n\n".encode()) == [
        message("a\x0b\x0c\x1c\x85\u2028b")
    ]


def test_one_leading_byte_order_mark_is_dropped_however_it_arrives() -> None:
    for pieces in ([b"\xef\xbb\xbfdata: a\n\n"], [b"\xef", b"\xbb", b"", b"\xbfdata: a\n\n"]):
        decoder = SSEDecoder()
        assert [event for piece in pieces for event in decoder.feed(piece)] == [message("a")]
    assert decode(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n") == []
    assert decode(b"data: a\n\n\xef\xbb\xbfdata: b\n\n") == [message("a")]


def test_comments_and_unknown_fields_are_ignored() -> None:
    assert decode(b":x\n:\nDATA: no\ndatas: no\n data: no\nfoo\ndata: yes\n: x\n\n") == [
        message("yes")
    ]


def test_a_block_without_data_sets_the_id_and_dispatches_nothing() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"retry: 1500\nid: k-0\nevent: dropped\n\n") == []
    assert (decoder.last_event_id, decoder.retry) == ("k-0", 1500)
    assert decoder.feed(b"data: a\n\n") == [message("a", last_id="k-0")]


def test_an_id_counts_once_its_block_has_ended() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "2"


def test_an_id_with_nul_is_ignored_and_an_empty_one_resets() -> None:
    decoder = SSEDecoder(last_event_id="k-9")
    assert decoder.feed(b"data: a\nid: 1\x002\n\n") == [message("a", last_id="k-9")]
    assert decoder.feed(b"data: a\nid\n\n") == [message("a", last_id="")]


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"1s", b" 1", b"\xd9\xa3", b"0x1", b"1_0"])
def test_a_retry_that_is_not_all_ascii_digits_is_ignored(value: bytes) -> None:
    decoder = SSEDecoder()
    decoder.feed(b"retry: " + value + b"\n\n")
    assert decoder.retry is None


def test_a_retry_counts_at_once_and_has_an_upper_bound() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"retry:007\n")
    assert decoder.retry == 7
    decoder.feed(b"retry:0\n")
    assert decoder.retry == 0
    decoder.feed(b"retry:" + b"0" * 5000 + b"8\n")
    assert decoder.retry == 8
    decoder.feed(b"retry:" + b"9" * 10_000 + b"\n")
    assert decoder.retry == MAX_RETRY_MS


def test_an_empty_event_name_is_message() -> None:
    assert decode(b"event: tick\nevent:\ndata: a\n\n") == [message("a")]
    assert decode(b"event: tick\ndata: a\n\ndata: b\n\n") == [
        message("a", event="tick"),
        message("b"),
    ]


def test_invalid_utf_8_is_replaced() -> None:
    stream = b"event: \xff\ndata: \xe2\x82\xac\xe2\x82\ndata: \xf0\x9f\x98\n\n"
    assert decode(stream) == [message("€\ufffd\n\ufffd", event="\ufffd")]


# --- Bounds ---


def test_a_line_without_end_is_refused() -> None:
    decoder = SSEDecoder(max_block_bytes=1000)
    decoder.feed(b":\n")
    for _ in range(100):
        decoder.feed(b": 45678901")
    with pytest.raises(ProtocolError, match="line is longer than 1000 bytes"):
        decoder.feed(b"-")


def test_data_without_end_is_refused() -> None:
    decoder = SSEDecoder(max_block_bytes=1000)
    for _ in range(100):
        decoder.feed(b"data:012345678\n")
    with pytest.raises(ProtocolError, match="data of an event is longer than 1000 bytes"):
        decoder.feed(b"data:\n")


def test_an_event_as_long_as_the_bound_passes_and_comments_never_add_up() -> None:
    decoder = SSEDecoder(max_block_bytes=20)
    assert decoder.feed(b"data: 78901234567890\n\n") == [message("78901234567890")]
    assert decoder.feed(b":keepalive\n" * 1000) == []
    assert decoder.feed(b"\xef\xbb\xbf") == []
    with pytest.raises(ProtocolError):
        decoder.feed(b"data: 789012345678901\n\n")


def test_events_before_a_fault_are_returned_and_then_it_is_raised_ever_after() -> None:
    decoder = SSEDecoder(max_block_bytes=20)
    assert decoder.feed(b"data: a\n\ndata: " + b"b" * 20) == [message("a")]
    for piece in (b"", b"data: c\n\n"):
        with pytest.raises(ProtocolError):
            decoder.feed(piece)


def test_a_long_line_in_small_pieces_takes_linear_time_and_little_memory() -> None:
    decoder = SSEDecoder()
    piece = b"x" * 1000
    tracemalloc.start()
    started = time.perf_counter()
    for _ in range(8000):
        decoder.feed(piece)
    elapsed = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 8000 * 1000
    assert elapsed < 5  # copying the line at each piece would move 32 GB
