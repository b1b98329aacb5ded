"""A log over HTTP in the test's own process: answers in a fraction of a millisecond.

It says what a server of penstock says on a finished log, and no more, so that a client can lose its
connection thousands of times in a few seconds. Reading and writing need no more than this.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from penstock.wire import Cursor, cursor_text, encode_event, event_block

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_FINISHED = b"HTTP/1.1 204 No Content\r\n\r\n"
_EPOCH = "epoch"
_AT_ONCE = 50


class LogServer:
    """Serves these values, JSON already, as the events of one finished log."""

    def __init__(self, values: Sequence[bytes], port: int) -> None:
        self.port = port
        self._blocks = [
            event_block(cursor_text(_EPOCH, offset).encode(), value)
            for offset, value in enumerate(values, 1)
        ]

    async def answer(self, connection: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            request = b""
            while b"\r\n\r\n" not in request:
                piece = await connection.receive_some()
                if not piece:
                    return
                request += piece
            asked = re.search(rb"(?i)last-event-id: (\S+)", request)
            after = 0 if asked is None else Cursor.parse(asked[1].decode()).offset
            await self._write(connection, after)

    async def _write(self, connection: trio.SocketStream, after: int) -> None:
        last = len(self._blocks)
        if after == last:
            await connection.send_all(_FINISHED)
            return
        primer = encode_event(data=None, id=cursor_text(_EPOCH, after), retry=0)
        await connection.send_all(_HEAD + primer)
        for start in range(after, last, _AT_ONCE):
            await connection.send_all(b"".join(self._blocks[start : start + _AT_ONCE]))
        id_ = cursor_text(_EPOCH, last)
        said = f'{{"type":"end","topic":"numbers","id":"{id_}"}}'
        await connection.send_all(encode_event(data=said, id=id_, event="end"))


@asynccontextmanager
async def log_server(values: Sequence[bytes]) -> AsyncGenerator[LogServer, None]:
    """A server of that log while the block runs."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = LogServer(values, listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, server.answer, [listener]))
        yield server
        nursery.cancel_scope.cancel("the test is over")
