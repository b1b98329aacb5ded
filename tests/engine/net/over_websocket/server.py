"""A WebSocket server whose connections do what they are told to, for tests of clients."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import msgpack  # type: ignore[import-untyped] # it ships no annotations
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, WebSocketServer

HELLO: dict[str, Any] = {
    "type": "hello",
    "session": "s",
    "heartbeat": 20,
    "limits": {"max_message_bytes": 1 << 20, "max_subscriptions": 128},
}


def subscribed(offset: int = 0, topic: str = "cpu") -> dict[str, Any]:
    return {"type": "subscribed", "topic": topic, "id": f"e-{offset}", "ref": 0}


def event(offset: int, topic: str = "cpu", data: object = None) -> dict[str, Any]:
    return {"type": "event", "topic": topic, "id": f"e-{offset}", "data": data or offset}


def end(offset: int, topic: str = "cpu") -> dict[str, Any]:
    return {"type": "end", "topic": topic, "id": f"e-{offset}"}


class Peer:
    """The server's side of a connection.

    Attributes:
        connection: trio-websocket's.
        asked: the messages of the client so far.
    """

    def __init__(self, connection: WebSocketConnection, asked: list[dict[str, Any]]) -> None:
        self.connection = connection
        self.asked = asked
        self.binary = connection.subprotocol == "penstock.v1.msgpack"

    async def say(self, *messages: object) -> None:
        await self.say_value(list(messages))

    async def say_value(self, value: object) -> None:
        frame: Any = msgpack.packb(value) if self.binary else json.dumps(value)
        await self.connection.send_message(frame)

    async def hear(self) -> list[dict[str, Any]]:
        frame = await self.connection.get_message()
        messages: list[dict[str, Any]] = (
            msgpack.unpackb(frame) if isinstance(frame, bytes) else json.loads(frame)
        )
        self.asked += messages
        return messages

    async def greet(self, **hello: object) -> None:
        """Say hello, and wait for what the client subscribes to."""
        await self.say({**HELLO, **hello})
        await self.hear()

    async def until_gone(self) -> int:
        """Listen until the client closes; gives its close code."""
        try:
            while True:
                await self.hear()
        except ConnectionClosed as closed:
            return closed.reason.code if closed.reason else 1006

    async def vanish(self) -> None:
        """Close the socket without a close frame."""
        await trio.aclose_forcefully(self.connection._stream)


Script: TypeAlias = Callable[[Peer], Awaitable[None]]
Answer: TypeAlias = Script | tuple[int, list[tuple[bytes, bytes]], bytes]
"""What a connection does once it is accepted, or the status, headers and body that refuse it."""


class Served:
    """A server; `done` connections of it have come to their end.

    Attributes:
        url: of the WebSocket.
        requests: the handshakes.
        asked: what each connection was asked for.
    """

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.url = ""
        self.requests: list[WebSocketRequest] = []
        self.asked: list[list[dict[str, Any]]] = []
        self.codes: list[int] = []
        self._answers = list(answers)

    async def handle(self, request: WebSocketRequest) -> None:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, tuple):
            status, headers, body = answer
            await request.reject(status, extra_headers=headers, body=body)
            return
        offered = request.proposed_subprotocols
        connection = await request.accept(subprotocol=offered[0] if offered else None)
        asked: list[dict[str, Any]] = []
        self.asked.append(asked)
        try:
            await answer(Peer(connection, asked))
        except ConnectionClosed as closed:
            self.codes.append(closed.reason.code if closed.reason else 1006)


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncGenerator[Served, None]:
    """A server whose connections get the answers in turn; the last one holds for all others."""
    served = Served(answers)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    served.url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/ws"
    server = WebSocketServer(served.handle, listeners, connect_timeout=60, disconnect_timeout=0.2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield served
        nursery.cancel_scope.cancel("the test is over")
