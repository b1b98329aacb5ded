"""A TCP proxy on Trio that breaks connections as it is told to.

    async with faulty_proxy(server.host, server.port, [cut(300), stall(20), passing()]) as proxy:
        ...  # a client of proxy.url("/topics/x"): its first connection is cut after 300 bytes

Each connection takes the next `Fault`; the last one, or `passing` where there is none, holds for
all further ones. An endless iterator (see `random_cuts`) never runs out. Faults of the moment:
`cut_all`, `reset_all`, `down`. It runs in the task tree of the test, and leaves nothing behind.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Literal

import trio

Way = Literal["down", "up"]
"""``down`` is from the server to the client, ``up`` from the client to the server."""

_PIECE = 65_536
_LINGER_NOT = struct.pack("ii", 1, 0)
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of one connection; made by the functions below.

    Attributes:
        kind: what happens.
        after: bytes that pass on that way before it happens; 0 is at once, before any byte.
        way: on which way the bytes are counted, and which way is stalled or half-closed.
        seconds: how long a stall lasts.
    """

    kind: Literal["pass", "cut", "reset", "stall", "swallow", "half_close"] = "pass"
    after: float = math.inf
    way: Way = "down"
    seconds: float = math.inf


def passing() -> Fault:
    """Everything passes."""
    return Fault()


def cut(after: float, way: Way = "down") -> Fault:
    """Both sides are closed in an orderly way (FIN) after so many bytes."""
    return Fault("cut", after, way)


def reset(after: float, way: Way = "down") -> Fault:
    """Both sides are reset (RST) after so many bytes."""
    return Fault("reset", after, way)


def refusal() -> Fault:
    """The connection is reset once it is accepted; for ECONNREFUSED see `FaultyProxy.down`."""
    return Fault("reset", 0)


def stall(after: float, way: Way = "down", seconds: float = math.inf) -> Fault:
    """This way stands still after so many bytes, with nothing lost; the other one goes on."""
    return Fault("stall", after, way, seconds)


def black_hole(after: float = 0, way: Way = "down") -> Fault:
    """What both sides say after so many bytes vanishes; the connection stays open, and silent."""
    return Fault("swallow", after, way)


def half_close(after: float, way: Way = "down") -> Fault:
    """The receiver of this way sees its end (FIN) after so many bytes; the other way goes on."""
    return Fault("half_close", after, way)


def random_cuts(random: Random, least: int, most: int, resets: float = 0.5) -> Iterator[Fault]:
    """Endless cuts after `least` to `most` bytes from the server; that share of them as resets."""
    while True:
        after = random.randint(least, most)
        yield reset(after) if random.random() < resets else cut(after)


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream, fault: Fault) -> None:
        self.client = client
        self.server = server
        self.fault = fault
        self.scope = trio.CancelScope()
        self.stalled = False
        self.swallows = False
        self.resets = False

    async def run(self) -> None:
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, self.server, self.client, "down")
                    nursery.start_soon(self._pump, self.client, self.server, "up")
        finally:
            for stream in (self.client, self.server):
                if self.resets:
                    _reset_on_close(stream)
                stream.socket.close()

    async def _pump(self, source: trio.SocketStream, target: trio.SocketStream, way: Way) -> None:
        left = self.fault.after if self.fault.way == way else math.inf
        try:
            if left == 0:
                left = await self._strike(source, target)
            while data := await source.receive_some(_PIECE):
                while data and not self.swallows:
                    head = data if len(data) < left else data[: int(left)]
                    data, left = data[len(head) :], left - len(head)
                    await target.send_all(head)
                    if left == 0:
                        left = await self._strike(source, target)
            if self.stalled or self.swallows:
                self.scope.cancel("one side has gone")
            await target.send_eof()
        except _GONE:
            self.scope.cancel("one side has gone")

    async def _strike(self, source: trio.SocketStream, target: trio.SocketStream) -> float:
        """Let the fault happen; gives how many bytes may pass before the next one."""
        kind = self.fault.kind
        if kind in ("cut", "reset"):
            self.resets = kind == "reset"
            self.scope.cancel(kind)
            await trio.lowlevel.checkpoint()
        elif kind == "stall":
            self.stalled = True
            await trio.sleep(self.fault.seconds)
            self.stalled = False
        elif kind == "swallow":
            self.swallows = True
        elif kind == "half_close":
            await target.send_eof()
            while await source.receive_some(_PIECE):
                pass
        return math.inf


class FaultyProxy:
    """A running proxy.

    Attributes:
        target: host and port that connections are passed on to; may be set anew at any time.
        accepted: connections so far.
    """

    def __init__(self, target: tuple[str, int], faults: Iterable[Fault], port: int) -> None:
        self.target = target
        self.accepted = 0
        self.port = port
        self._faults = iter(faults)
        self._last = passing()
        self._links: set[_Link] = set()
        self._listening = trio.CancelScope()
        self._listens = True
        self._wanted = True
        self._changed = trio.Condition()

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    def url(self, path: str = "", scheme: str = "http") -> str:
        return f"{scheme}://{self.host}:{self.port}{path}"

    def then(self, *faults: Fault) -> None:
        """What the next connections get; the last of them holds for all further ones."""
        self._faults = iter(faults)
        self._last = passing()

    def cut_all(self) -> None:
        """Close all open connections (FIN)."""
        for link in self._links:
            link.scope.cancel("all are cut")

    def reset_all(self) -> None:
        """Reset all open connections (RST)."""
        for link in self._links:
            link.resets = True
        self.cut_all()

    async def wait_for(self, holds: Callable[[FaultyProxy], bool]) -> None:
        """Until this holds of the proxy: ``await proxy.wait_for(lambda p: p.accepted == 3)``."""
        async with self._changed:
            while not holds(self):
                await self._changed.wait()

    @asynccontextmanager
    async def down(self) -> AsyncGenerator[None, None]:
        """Not listening (ECONNREFUSED), and all open connections reset, while the block runs."""
        self._wanted = False
        self._listening.cancel("down")
        self.reset_all()
        await self.wait_for(lambda proxy: not proxy._listens and not proxy.open)
        try:
            yield
        finally:
            self._wanted = True
            await self._note()
            await self.wait_for(lambda proxy: proxy._listens)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                async with listener:
                    with self._listening:
                        while True:
                            nursery.start_soon(self._handle, await listener.accept())
                await self._turn(False)
                await self.wait_for(lambda proxy: proxy._wanted)
                (listener,) = await trio.open_tcp_listeners(self.port, host=self.host)
                self._listening = trio.CancelScope()
                await self._turn(True)

    async def _turn(self, listens: bool) -> None:
        self._listens = listens
        await self._note()

    async def _handle(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        fault = self._last = next(self._faults, self._last)
        async with client:
            try:
                server = await trio.open_tcp_stream(*self.target)
            except OSError:
                _reset_on_close(client)
                return
            link = _Link(client, server, fault)
            self._links.add(link)
            try:
                await self._note()
                await link.run()
            finally:
                self._links.discard(link)
        await self._note()


def _reset_on_close(stream: trio.SocketStream) -> None:
    with suppress(OSError):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)


@asynccontextmanager
async def faulty_proxy(
    host: str, port: int, faults: Iterable[Fault] = ()
) -> AsyncGenerator[FaultyProxy, None]:
    """A proxy to that server while the block runs, on a free port of the loopback address."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = FaultyProxy((host, port), faults, listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy._serve, listener)
        yield proxy
        nursery.cancel_scope.cancel("the test is over")
