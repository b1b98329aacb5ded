"""Which representation a client gets (RFC 9110 section 12.5.1)."""

import pytest

from penstock_server.transports.negotiation import NotAcceptable, choose


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
