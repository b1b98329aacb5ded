"""An upstream on real sockets that speaks OpenAI's format, and fails in the ways it is told to."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import trio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
OPEN_ENDED = HEAD + b"Connection: close\r\n\r\n"

Script = Callable[[trio.SocketStream], Awaitable[object]]


class Request:
    def __init__(self, head: bytes, body: bytes) -> None:
        self.line, *lines = head.decode().split("\r\n")
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        self.json: Any = json.loads(body) if body else None


class ScriptedUpstream:
    """Answers each connection by its own script, and notes when the client has gone."""

    def __init__(self, scripts: Sequence[Script | bytes]) -> None:
        self._scripts = list(scripts)
        self.requests: list[Request] = []
        self.asked = trio.Event()
        self.gone = trio.Event()
        self.url = ""

    async def handle(self, connection: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await connection.receive_some()
        head, _, body = head.partition(b"\r\n\r\n")
        request = Request(head, b"")
        while len(body) < int(request.headers.get("content-length", 0)):
            body += await connection.receive_some()
        self.requests.append(Request(head, body))
        self.asked.set()
        script = self._scripts.pop(0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, connection, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError):  # the client may go in mid-way
                if isinstance(script, bytes):
                    await connection.send_all(script)
                else:
                    await script(connection)
                nursery.cancel_scope.cancel("the script is over")

    async def _watch(self, connection: trio.SocketStream, scope: trio.CancelScope) -> None:
        with suppress(trio.BrokenResourceError):
            assert await connection.receive_some() == b""
        self.gone.set()
        scope.cancel("the client has gone")


@asynccontextmanager
async def upstream(*scripts: Script | bytes) -> AsyncGenerator[ScriptedUpstream, None]:
    server = ScriptedUpstream(scripts)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        yield server
        nursery.cancel_scope.cancel("the test is over")


def data(value: object) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def delta(finish_reason: str | None = None, **fields: object) -> bytes:
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return data({"id": "c", "object": "chat.completion.chunk", "choices": [choice], "usage": None})


def text(content: str) -> bytes:
    return delta(content=content)


DONE = data(b"[DONE]")
STOP = delta("stop")


def answer(status: str, body: object = b"", *headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(raw)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + raw
