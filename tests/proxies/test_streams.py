"""Streams through the proxies of docs/deployment.md: at once, for as long as wanted, resumed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx
import pytest

from ..e2e.clients import Ended, EventStream, MessageStream
from ..e2e.serving import ServerProcess, eventually
from .clients import events, lines, opened, packed
from .conftest import Behind
from .running import TIMEOUT, Proxy

AT_ONCE = 0.25
"""Seconds from publishing to receipt that a busy machine may take; a buffer would hold for ever."""

Open = Callable[..., AbstractContextManager[EventStream | MessageStream]]
OPENERS: dict[str, Open] = {"sse": events, "ndjson": lines, "msgpack": packed}


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("transport", OPENERS)
def test_events_arrive_at_once(
    server: ServerProcess, proxy: Proxy, transport: str, http2: bool
) -> None:
    took: list[float] = []
    with OPENERS[transport](proxy, "notes", http2=http2) as stream:
        for number in range(10):
            started = time.monotonic()
            assert server.post("notes", {"n": number}).status_code == 201
            assert _data(_next_event(stream)) in ({"n": number}, f'{{"n":{number}}}')
            took.append(time.monotonic() - started)
    assert max(took) < AT_ONCE, f"{proxy.name} held events back: {took}"


def _next_event(stream: EventStream | MessageStream) -> Any:
    return stream.events(1)[0] if isinstance(stream, MessageStream) else stream.next()


def _data(event: Any) -> Any:
    return event["data"] if isinstance(event, dict) else event.data


def test_publications_pass(server: ServerProcess, proxy: Proxy) -> None:
    before = server.cursor("notes")
    with proxy.client() as client:
        answer = client.post("/topics/notes", json={"text": "through"})
        assert answer.status_code == 201
        page = client.get("/topics/notes", params={"format": "json", "after": before}).json()
    assert [event["data"] for event in page["events"]] == [{"text": "through"}]


def test_problems_pass(proxy: Proxy) -> None:
    with proxy.client() as client:
        answer = client.get("/topics/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_keepalives_hold_idle_streams(server: ServerProcess, proxy: Proxy) -> None:
    """All of them at the same time, for twice the proxy's time-out."""
    with ExitStack() as stack:
        streams = [
            stack.enter_context(open_(proxy, "silent", http2=http2))
            for open_ in OPENERS.values()
            for http2 in (False, True)
        ]
        until = time.monotonic() + 2 * TIMEOUT + 0.5
        while time.monotonic() < until:
            for stream in streams:
                stream.pull()  # raises where the proxy has cut it
        server.post("silent", "still there")
        for stream in streams:
            assert "still there" in str(_data(_next_event(stream)))


def test_without_keepalives_the_time_out_cuts_them(behind: Behind) -> None:
    """So the test above shows something."""
    with behind("served_quietly.py") as (_, proxy), events(proxy, "silent") as stream:
        started = time.monotonic()
        with pytest.raises((Ended, httpx.HTTPError)):
            stream.next()
        assert time.monotonic() - started < TIMEOUT + 2


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_client_resumes(server: ServerProcess, proxy: Proxy, http2: bool) -> None:
    with events(proxy, "notes", http2=http2) as stream:
        server.post("notes", "seen")
        seen = stream.next()
    for text in ("missed", "missed too"):
        server.post("notes", text)
    with events(proxy, "notes", http2=http2, last_event_id=seen.id) as stream:
        server.post("notes", "live again")
        assert [each.data for each in stream.take(3)] == [
            '"missed"',
            '"missed too"',
            '"live again"',
        ]


def test_compression_is_passed_on_and_flushed(server: ServerProcess, proxy: Proxy) -> None:
    with opened(proxy, "notes", "text/event-stream", accept_encoding="gzip") as response:
        assert response.headers["content-encoding"] == "gzip"
        inflate = zlib.decompressobj(wbits=31)
        pieces = response.iter_raw()
        text = inflate.decompress(next(pieces))
        for number in range(5):
            started = time.monotonic()
            server.post("notes", {"squeezed": number})
            while f'{{"squeezed":{number}}}\n\n'.encode() not in text:
                text += inflate.decompress(next(pieces))
            assert time.monotonic() - started < AT_ONCE


def test_nothing_is_compressed_that_nobody_asked_for(proxy: Proxy) -> None:
    with opened(proxy, "notes", "text/event-stream") as response:
        assert "content-encoding" not in response.headers


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_a_client_that_leaves_is_seen(server: ServerProcess, proxy: Proxy, http2: bool) -> None:
    eventually(lambda: _connections(server) == 0)
    with ExitStack() as stack:
        for open_ in OPENERS.values():
            stack.enter_context(open_(proxy, "silent", http2=http2))
        assert _connections(server) == len(OPENERS)
    eventually(lambda: _connections(server) == 0, timeout=TIMEOUT + 1)


def _connections(server: ServerProcess) -> int:
    return int(server.stats()["connections"]["total"])
