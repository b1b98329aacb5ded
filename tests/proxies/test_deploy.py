"""A deploy as clients behind the proxies of docs/deployment.md see it."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from ..e2e.serving import ServerProcess
from .clients import events, lines, packed, websocket
from .conftest import Behind, StartServer
from .running import Proxy

AWAY = 1.5
"""Seconds between the old server's end and the new one's start."""


async def test_a_drain_tells_every_client(behind: Behind) -> None:
    with ExitStack() as stack:
        server, proxy = stack.enter_context(behind("served.py"))
        read = [
            stack.enter_context(events(proxy, "silent", http2=http2)) for http2 in (False, True)
        ]
        streams = [stack.enter_context(open_(proxy, "silent")) for open_ in (lines, packed)]
        async with websocket(proxy) as socket:
            await socket.ask(type="subscribe", topic="silent")
            server.signal()
            assert (await socket.find("reconnect"))["after"] > 0
            assert await socket.close_code() == 1012
        for stream in read:
            assert stream.rest() == []  # the answer ended as it should, not cut off
            assert stream.decoder.retry is not None
            assert 250 < stream.decoder.retry <= 5250
        for messages in streams:
            assert messages.rest()[-1]["type"] == "reconnect"
        assert server.wait(6) == 0


def test_what_was_published_before_a_drain_is_delivered(behind: Behind) -> None:
    with behind("served.py") as (server, proxy), lines(proxy, "notes") as stream:
        body = "\n".join(map(str, range(900)))
        assert server.post_body("notes", body, "application/x-ndjson").status_code == 201
        server.signal()
        *messages, last = stream.rest()
        assert last["type"] == "reconnect"
        assert [each["data"] for each in messages if each["type"] == "event"] == list(range(900))
        assert server.wait(6) == 0


def test_no_event_source_is_lost_in_a_restart(behind: Behind, serve: StartServer) -> None:
    """An EventSource gives up for good on any status but 200: it must see no other."""
    with behind("served.py") as (server, proxy):
        server.signal()
        assert server.wait(6) == 0
        came_back = threading.Event()
        statuses: list[int] = []
        client = threading.Thread(target=_reconnect, args=(proxy, came_back, statuses))
        client.start()
        try:
            time.sleep(AWAY)
            with serve("served.py", server.port) as restarted:
                came_back.wait(15)
                _assert_served(restarted)
        finally:
            client.join(15)
        assert came_back.is_set()
        assert set(statuses) == {200}


def _reconnect(proxy: Proxy, came_back: threading.Event, statuses: list[int]) -> None:
    """What an EventSource does, until it has been primed by the server itself."""
    with proxy.client() as client:
        client.timeout = 15
        while not came_back.is_set() and len(statuses) < 100:
            with client.stream(
                "GET", "/topics/silent", headers={"accept": "text/event-stream"}
            ) as response:
                statuses.append(response.status_code)
                assert response.headers["content-type"].startswith("text/event-stream")
                for text in response.iter_text():
                    if "id: " in text:
                        came_back.set()
                        break
            time.sleep(0.2)


def _assert_served(server: ServerProcess) -> None:
    assert server.get("/health/ready").status_code == 200
