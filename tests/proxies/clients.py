"""Clients that come through a proxy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import httpx
import trio
from trio_websocket import wrap_client_stream

from ..e2e.clients import EventStream, LineDecoder, MessageStream, UnpackDecoder, WebSocket
from .running import Proxy

PATIENCE = 10.0


@contextmanager
def opened(
    proxy: Proxy, topic: str, accept: str, *, http2: bool = False, **headers: str
) -> Generator[httpx.Response]:
    """A stream's answer, which has to be a 200; header names with ``_`` for ``-``."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = {"accept": accept, "accept-encoding": "identity", **given}
    with (
        proxy.client(http2=http2) as client,
        client.stream("GET", f"/topics/{topic}", headers=asked) as response,
    ):
        assert response.status_code == 200
        assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        yield response


@contextmanager
def events(
    proxy: Proxy, topic: str, *, http2: bool = False, **headers: str
) -> Generator[EventStream]:
    with opened(proxy, topic, "text/event-stream", http2=http2, **headers) as response:
        assert response.headers["content-type"] == "text/event-stream"
        stream = EventStream(response)
        while not stream.decoder.last_event_id:  # the priming block: from here on all is heard
            stream.pull()
        yield stream


@contextmanager
def lines(proxy: Proxy, topic: str, *, http2: bool = False) -> Generator[MessageStream]:
    with opened(proxy, topic, "application/x-ndjson", http2=http2) as response:
        stream = MessageStream(response, LineDecoder())
        assert stream.next()["type"] == "subscribed"
        yield stream


@contextmanager
def packed(proxy: Proxy, topic: str, *, http2: bool = False) -> Generator[MessageStream]:
    with opened(proxy, topic, "application/msgpack", http2=http2) as response:
        stream = MessageStream(response, UnpackDecoder())
        assert stream.next()["type"] == "subscribed"
        yield stream


@asynccontextmanager
async def websocket(
    proxy: Proxy, headers: list[tuple[bytes, bytes]] | None = None
) -> AsyncGenerator[WebSocket]:
    """A WebSocket that has taken the ``hello``."""
    stream = await trio.open_tcp_stream("127.0.0.1", proxy.ports.plain)
    host = f"127.0.0.1:{proxy.ports.plain}"
    with trio.fail_after(PATIENCE * 2):
        # Not open_websocket(), which leaves the socket open where the server closes.
        async with stream, trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery, stream, host, "/ws", extra_headers=headers
            )
            socket = WebSocket(connection)
            assert (await socket.next())["type"] == "hello"
            yield socket
            await connection.aclose()
            nursery.cancel_scope.cancel()
