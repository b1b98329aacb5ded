"""WebSockets through the proxies of docs/deployment.md."""

from __future__ import annotations

import pytest
import trio
from trio_websocket import ConnectionRejected

from ..e2e.serving import ServerProcess, eventually
from .clients import websocket
from .running import TIMEOUT, Proxy


async def test_a_conversation(proxy: Proxy) -> None:
    async with websocket(proxy) as socket:
        assert (await socket.ask(type="subscribe", topic="notes"))["type"] == "subscribed"
        await socket.send({"type": "publish", "topic": "notes", "data": {"text": "hi"}, "ref": 7})
        answers = {message["type"]: message for message in await socket.take(2)}
        assert answers["published"]["ref"] == 7
        assert answers["event"]["data"] == {"text": "hi"}


async def test_heartbeats_hold_an_idle_one(server: ServerProcess, proxy: Proxy) -> None:
    async with websocket(proxy) as socket:
        await socket.ask(type="subscribe", topic="silent")
        await trio.sleep(2 * TIMEOUT + 0.5)
        await trio.to_thread.run_sync(server.post, "silent", "still there")
        assert (await socket.next())["data"] == "still there"


async def test_pages_of_the_site_may_connect_and_others_may_not(proxy: Proxy) -> None:
    """The server compares Origin with Host, which the proxy must pass on."""
    async with websocket(proxy, [(b"origin", proxy.url.encode())]) as socket:
        assert (await socket.ask(type="ping", ref=1))["type"] == "pong"
    with pytest.RaisesGroup(ConnectionRejected, flatten_subgroups=True) as refused:
        async with websocket(proxy, [(b"origin", b"https://evil.example")]):
            pass
    rejected = refused.value.exceptions[0]
    assert isinstance(rejected, ConnectionRejected)
    assert rejected.status_code == 403


async def test_a_client_that_leaves_is_seen(server: ServerProcess, proxy: Proxy) -> None:
    eventually(lambda: server.stats()["connections"]["total"] == 0)
    async with websocket(proxy) as socket:
        await socket.ask(type="subscribe", topic="silent")
        assert server.stats()["connections"]["by_transport"] == {"websocket": 1}
    eventually(lambda: server.stats()["connections"]["total"] == 0, timeout=TIMEOUT + 1)
