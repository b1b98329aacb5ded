"""Which representation a client gets, and in which coding (RFC 9110 section 12.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.transports.negotiation import CODINGS, NotAcceptable, choose, choose_coding


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "sse"),
        ("", "sse"),
        ("  ", "sse"),
        ("*/*", "sse"),
        ("text/*", "sse"),
        ("text/event-stream", "sse"),
        ("TEXT/Event-Stream; charset=utf-8", "sse"),
        ("application/x-ndjson", "ndjson"),
        ("application/ndjson", "ndjson"),
        ("application/msgpack", "msgpack"),
        ("application/x-msgpack", "msgpack"),
        ("application/vnd.msgpack", "msgpack"),
        ("application/json", "json"),
        ("application/*", "ndjson"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "sse"),
        ("application/json, text/event-stream;q=0.5", "json"),
        ("application/json;q=0.5, application/msgpack;q=0.7", "msgpack"),
        ("*/*;q=0.1, application/json;q=0.2", "json"),
        ("text/event-stream;q=0, */*", "ndjson"),
        ("application/*;q=0.9, application/json;q=0.1, text/*;q=0.5", "ndjson"),
        ("application/json;q=5, text/event-stream", "sse"),
        ("application/json;q=high, application/msgpack;q=0.1", "msgpack"),
    ],
)
def test_accept(accept: str | None, chosen: str) -> None:
    assert choose(accept, None) == chosen


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "text/event-stream;q=nan", "nonsense", ";,;"]
)
def test_what_there_is_not(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="text/event-stream"):
        choose(accept, None)


@pytest.mark.parametrize("format_", ["sse", "ndjson", "msgpack", "json"])
def test_format_wins(format_: str) -> None:
    assert choose("text/html", format_) == format_


@pytest.mark.parametrize("format_", ["", "xml", "SSE", "x" * 1000])
def test_a_format_that_nobody_knows(format_: str) -> None:
    with pytest.raises(NotAcceptable, match="format is one of sse, ndjson, msgpack, json") as fault:
        choose(None, format_)
    assert len(str(fault.value)) < 120


@pytest.mark.parametrize(
    ("accept_encoding", "chosen"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("deflate", None),
        ("compress, deflate", None),
        ("gzip, br", "gzip"),
        ("gzip;q=0.5, br", "br"),
        ("gzip;q=0.5, br;q=0.8, zstd;q=0.7", "br"),
        ("gzip ; q = 0.5 , br;Q=0.4", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip;q=0, br", "br"),
        ("*", CODINGS[0]),
        ("*;q=0.1", CODINGS[0]),
        ("*;q=0", None),
        ("*;q=0, br", "br"),
        ("gzip;q=0.3, *;q=0", "gzip"),
        ("zstd;q=0, gzip;q=0, *", "br"),
        ("br, *;q=0.5", "br"),
        ("identity, gzip", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=0", None),
        ("identity;q=0, *;q=0", None),
        # What is not as it should be is not wanted, and harms nobody else.
        ("gzip;q=high", None),
        ("gzip;q=", None),
        ("gzip;q=nan", None),
        ("gzip;q=inf", None),
        ("gzip;q=-1", None),
        ("gzip;q=7", None),
        ("gzip;q=high, br;q=0.2", "br"),
        (",,;,=;q=1,gzip", "gzip"),
        ("gzip;level=9", "gzip"),
        ("gzip, " * 5_000, "gzip"),
    ],
)
def test_accept_encoding(accept_encoding: str | None, chosen: str | None) -> None:
    assert choose_coding(accept_encoding) == chosen


def test_what_browsers_and_curl_send() -> None:
    assert choose_coding("gzip, deflate, br, zstd") == CODINGS[0]
    assert choose_coding("deflate, gzip, br, zstd") == CODINGS[0]
    assert choose_coding("gzip, deflate, br") == "gzip"
    assert choose_coding("gzip, deflate") == "gzip"


@given(st.text(max_size=60) | st.text("gzipbrstd;q=0.15*, ", max_size=60))
def test_whatever_is_sent_is_answered_in_a_coding_that_there_is(accept_encoding: str) -> None:
    assert choose_coding(accept_encoding) in (*CODINGS, None)
