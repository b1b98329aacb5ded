"""ASGI applications for the tests of the guard: they flood, are silent, echo."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from penstock_server.hypercorn_guard import (
    context_of,
)
from penstock_server.hypercorn_guard._context import STALL_TIMEOUT

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

KIBIBYTE = 1024
CHUNK = b"x" * 8 * KIBIBYTE
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
ACCEPT: Message = {"type": "websocket.accept"}


def with_lifespan(app: App) -> App:
    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for _ in range(2):
            event = await receive()
            await send({"type": event["type"] + ".complete"})

    return wrapped


@dataclass
class Flood:
    """Sends without end; notes how many bytes were taken and whether it heard of a disconnect."""

    chunk: bytes = CHUNK
    stall_timeout: float = STALL_TIMEOUT
    sent: int = 0
    send: Send | None = None
    disconnected: trio.Event = field(default_factory=trio.Event)
    finished: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.send = send
        if (context := context_of(send)) is not None:
            context.stall_timeout = self.stall_timeout
        await send(ACCEPT if scope["type"] == "websocket" else START)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, receive, nursery.cancel_scope)
                while True:
                    await send(self._message(scope))
                    self.sent += len(self.chunk)
        finally:
            self.finished.set()

    def _message(self, scope: Message) -> Message:
        if scope["type"] == "websocket":
            return {"type": "websocket.send", "bytes": self.chunk}
        return {"type": "http.response.body", "body": self.chunk, "more_body": True}

    async def _listen(self, receive: Receive, scope: trio.CancelScope) -> None:
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        self.disconnected.set()
        scope.cancel()


@dataclass
class Silent:
    """Begins an answer or accepts, unless told not to, then only receives."""

    answers: bool = True
    received: list[Message] = field(default_factory=list)
    disconnected: trio.Event = field(default_factory=trio.Event)
    send: Send | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.send = send
        if self.answers:
            await send(ACCEPT if scope["type"] == "websocket" else START)
        while True:
            event = await receive()
            self.received.append(event)
            if event["type"].endswith(".disconnect"):
                self.disconnected.set()
                return


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with the request's path and body, or a WebSocket's messages."""
    if scope["type"] == "http":
        await send(START)
        await send(body(scope["path"].encode() + b" ", more=True))
        while True:
            event = await receive()
            await send(body(event.get("body", b""), more=event.get("more_body", False)))
            if not event.get("more_body"):
                return
    await receive()
    await send(ACCEPT)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def receive_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"hello"))
