"""Hypercorn in this process, plain or guarded, and what the tests see of it."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import socket
import struct
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.trio import serve

from penstock_server.hypercorn_guard import (
    _install,
    install,
)
from penstock_server.hypercorn_guard._connection import GuardedTCPServer

from .applications import KIBIBYTE, App, with_lifespan

GRACE = 0.3
PATIENCE = 0.3
"""Seconds to wait for what plain Hypercorn is shown not to do."""
SOON = 4.0
"""Seconds for what happens at once; Hypercorn's keep-alive time-out is five."""


@contextmanager
def hypercorn_classes(*, guarded: bool) -> Generator[None]:
    before = names()[0] is GuardedTCPServer
    set_to(guarded)
    try:
        yield
    finally:
        set_to(before)


def set_to(guarded: bool) -> None:
    if guarded:
        assert install()
    else:
        _install._uninstall()


def names() -> list[type]:
    return [getattr(module, name) for module, name, _ in _install._REPLACED]


both = pytest.mark.parametrize("kind", ["plain", "guarded"])


@dataclass
class Serving:
    port: int
    nursery: trio.Nursery
    stop: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    clients: list[trio.socket.SocketType] = field(default_factory=list)

    async def connect(self) -> trio.SocketStream:
        """Connect with a small receive buffer, so that a peer that doesn't read soon is stuck."""
        client = trio.socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * KIBIBYTE)
        self.clients.append(client)
        await client.connect(("127.0.0.1", self.port))
        return trio.SocketStream(client)

    def tasks(self) -> int:
        """How many tasks the server runs."""
        nurseries, count = [self.nursery], 0
        while nurseries:
            for task in nurseries.pop().child_tasks:
                nurseries.extend(task.child_nurseries)
                count += 1
        return count


@asynccontextmanager
async def serving(app: App, **settings: object) -> AsyncGenerator[Serving]:
    """Run an application under Hypercorn on a free port."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = GRACE
    for name, value in settings.items():
        setattr(config, name, value)
    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        server = Serving(0, nursery)

        async def run(task_status: trio.TaskStatus[list[str]]) -> None:
            await serve(
                with_lifespan(app),  # type: ignore[arg-type] # typed more narrowly than ASGI
                config,
                shutdown_trigger=server.stop.wait,
                task_status=task_status,
            )
            server.ended.set()

        with trio.fail_after(20):
            binds = await nursery.start(run)
            server.port = int(binds[0].rpartition(":")[2])
            await trio.testing.wait_all_tasks_blocked()  # all that it runs by itself is there
            try:
                yield server
            finally:
                for client in server.clients:
                    client.close()  # a plain server may wait for nothing else
        outer.cancel_scope.cancel()


def patience(kind: str) -> float:
    """How long to wait for what only happens with the guard: on a busy machine it takes a while."""
    return SOON if kind == "guarded" else PATIENCE


async def happens(condition: Callable[[], bool], within: float = 10.0) -> bool:
    """Whether the condition comes true in time."""
    with trio.move_on_after(within):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.01)
        return True
    return False


async def settled(progress: Callable[[], int]) -> int:
    """The value of a counter once it has stopped growing."""
    last = -1
    while progress() != last:
        last = progress()
        await trio.sleep(0.1)
    return last


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def reset(stream: trio.SocketStream) -> None:
    """Close with RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(data) async for data in stream])


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    data = bytearray()
    while not data.endswith(end):
        part = await stream.receive_some()
        assert part, bytes(data)
        data += part
    return bytes(data)


def get(path: str = "/", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


async def read_head(stream: trio.SocketStream) -> bytes:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    return bytes(data)
