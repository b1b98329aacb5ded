"""Clients that mean harm, or whose connections break: none of it may cost the server anything."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from .connections import Cut, open_http, open_tcp, open_websocket, reset
from .readers import Soak

_PATIENCE = 4.0


async def _say(soak: Soak, data: bytes, *, wait: float = 0.0, resets: bool = False) -> None:
    """Send bytes, look at what comes for a while, and go."""
    stream = await open_tcp(soak.address)
    async with stream:
        with suppress(trio.BrokenResourceError), trio.move_on_after(_PATIENCE):
            await stream.send_all(data)
            with trio.move_on_after(wait):
                while await stream.receive_some(65_536):
                    pass
        if resets:
            reset(stream)


_HEAD = b"POST /topics/feed HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c29ha3NvYWtzb2Frc29haw==\r\n\r\n"
)


async def half_a_head(soak: Soak) -> None:
    """A request that doesn't go on."""
    await _say(soak, _HEAD[: soak.random.randint(1, len(_HEAD))], wait=_PATIENCE)


async def half_a_body(soak: Soak) -> None:
    """A body that doesn't go on."""
    await _say(soak, _HEAD + b"Content-Length: 100\r\n\r\n[1", wait=_PATIENCE)


async def cut_body(soak: Soak) -> None:
    """A body that ends with the connection."""
    await _say(soak, _HEAD + b"Content-Length: 100\r\n\r\n[1", wait=0.05, resets=True)


async def garbage(soak: Soak) -> None:
    """No HTTP at all."""
    await _say(soak, os.urandom(soak.random.randint(1, 5_000)), wait=0.2)


async def too_much(soak: Soak) -> None:
    """A body far over the limit, whose sender doesn't listen."""
    await _say(soak, _HEAD + b"Content-Length: 9999999\r\n\r\n" + b" " * 200_000, wait=0.5)


async def pipelined(soak: Soak) -> None:
    """A stream, and further requests behind it."""
    ask = b"GET /topics/numbers?format=ndjson HTTP/1.1\r\nHost: soak\r\n\r\n"
    await _say(soak, ask * 3, wait=0.5, resets=True)


async def unknown(soak: Soak) -> None:
    """What isn't there, and what can't be meant."""
    async with open_http(soak.address) as http:
        for target in ("/topics/nothing", "/topics/feed?after=%00", "/..%2f..%2fetc", "/topics/"):
            await http.ask("GET", target)
            await http.body()


async def nothing(soak: Soak) -> None:
    """A connection that says nothing."""
    await _say(soak, b"", wait=soak.random.uniform(0, _PATIENCE))


async def http2_cut(soak: Soak) -> None:
    """HTTP/2 begun, and left."""
    await _say(soak, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", wait=0.1, resets=True)


async def websocket_garbage(soak: Soak) -> None:
    """An upgraded connection that speaks no WebSocket."""
    await _say(soak, _UPGRADE + os.urandom(500), wait=0.5)


async def websocket_vanishes(soak: Soak) -> None:
    """An upgraded connection that answers no ping."""
    await _say(soak, _UPGRADE, wait=_PATIENCE, resets=soak.random.random() < 0.5)


async def bad_messages(soak: Soak) -> None:
    """Messages that are none, and frames that can't be read."""
    with suppress(Cut):
        async with open_websocket(soak.address) as websocket:
            await websocket.send(1, {}, {"type": "subscribe"}, {"type": "publish", "topic": "no"})
            await websocket.send(*({"type": "ping", "ref": number} for number in range(500)))
            await websocket.send("x" * 100_000)
            with trio.move_on_after(1):
                while True:
                    await websocket.receive()


FAULTS: tuple[Callable[[Soak], Awaitable[None]], ...] = (
    half_a_head,
    half_a_body,
    cut_body,
    garbage,
    too_much,
    pipelined,
    unknown,
    nothing,
    http2_cut,
    websocket_garbage,
    websocket_vanishes,
    bad_messages,
)


async def keep_harming(soak: Soak) -> None:
    """One fault after another; until cancelled."""
    while True:
        fault = soak.random.choice(FAULTS)
        with suppress(Cut, OSError):
            await fault(soak)
        soak.report.faults += 1
        await trio.sleep(soak.random.uniform(0, 0.2))
