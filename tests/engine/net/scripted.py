"""An HTTP server that says what it is told to, and cuts where it is told to."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def event(offset: int) -> bytes:
    return line(type="event", topic="cpu", id=f"e-{offset}", data={"load": offset})


def stream(*lines: bytes, head: bytes = HEAD) -> bytes:
    """An answer that ends where the connection does."""
    return head + b"Connection: close\r\n\r\n" + b"".join(lines)


def cut(*lines: bytes, head: bytes = HEAD) -> bytes:
    """An answer in chunks whose last one never comes."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in lines)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


SUBSCRIBED = line(type="subscribed", topic="cpu", id="e-0")


def end(offset: int) -> bytes:
    return line(type="end", topic="cpu", id=f"e-{offset}")


END = end(4)
PROBLEM = b'{"type": "about:blank", "title": "Not Found", "detail": "There is no topic cpu."}'


class ScriptedServer:
    """Gives each connection its own answer, then closes it, or holds it where there is none."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        self.url = ""
        self.idle = trio.Event()  # the client of the last answer has gone

    @property
    def targets(self) -> list[str]:
        return [request.split(" ")[1] for request in self.requests]

    async def handle(self, connection: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            received = await connection.receive_some()
            if not received:
                return
            request += received
        self.requests.append(request.decode())
        await connection.send_all(self._answers.pop(0))
        if not self._answers:
            with suppress(trio.BrokenResourceError):
                await connection.receive_some()  # until the client goes
            self.idle.set()


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncGenerator[ScriptedServer, None]:
    server = ScriptedServer(answers)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port: int = listeners[0].socket.getsockname()[1]
        server.url = f"http://127.0.0.1:{port}/topics/cpu"
        yield server
        nursery.cancel_scope.cancel("the test is over")
