"""Sending to nobody, and disconnects that nobody receives (trap 6)."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
from wsproto.events import (
    TextMessage,
)

from penstock_server.hypercorn_guard import (
    GuardedContext,
    context_of,
)

from .applications import ACCEPT, CHUNK, START, Message, Receive, Send, body
from .h2_client import h2_client
from .serving import (
    both,
    get,
    happens,
    hypercorn_classes,
    patience,
    read_head,
    reset,
    serving,
)
from .websocket_client import WebSocketClient


@both
@pytest.mark.parametrize("protocol", ["websocket", "HTTP/1.1", "HTTP/2"])
async def test_a_send_to_nobody_can_not_be_cancelled(kind: str, protocol: str) -> None:
    outcome: list[bool] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        websocket = scope["type"] == "websocket"
        await send(ACCEPT if websocket else START)
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            for _ in range(100):
                await send({"type": "websocket.send", "text": "x"} if websocket else more)
        outcome.append(cancelled.cancelled_caught)

    more = body(b"x", more=True)
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            if protocol == "websocket":
                reset((await WebSocketClient.open(server)).stream)
            elif protocol == "HTTP/1.1":
                client = await server.connect()
                await client.send_all(get())
                await read_head(client)
                reset(client)
            else:
                async with h2_client(server) as h2client:
                    stream_id = await h2client.request()
                    await happens(lambda: bool(h2client.of(h2.events.ResponseReceived)))
                    h2client.protocol.reset_stream(stream_id)
                    await h2client.flush()
                    await happens(lambda: bool(outcome))
            assert await happens(lambda: bool(outcome))
    # In plain HTTP/1.1 the lock of the connection is a checkpoint.
    assert outcome == [kind == "guarded" or protocol == "HTTP/1.1"]


@both
async def test_unread_messages_hold_up_the_disconnect(kind: str) -> None:
    finished = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        context = context_of(send)
        with trio.move_on_after(0.4):
            while True:
                await send({"type": "websocket.send", "bytes": CHUNK})
                await trio.sleep(0.01)
        finished.set()
        assert context is None or isinstance(context, GuardedContext)

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            tasks = server.tasks()
            client = await WebSocketClient.open(server)
            for _ in range(20):
                await client.send(TextMessage("unread"))
            reset(client.stream)
            gone = await happens(lambda: server.tasks() == tasks, patience(kind))
            assert gone == (kind == "guarded")
