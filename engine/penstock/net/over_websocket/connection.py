"""One WebSocket connection to a server, over trio-websocket: opened, listened to, closed."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from penstock._errors import describe, flatten
from penstock.wire import CloseCode, Undecodable, may_reconnect

from ..failures import detail_of, may_pass, status_line
from ..losses import ConnectionLost, Refused
from ..waiting import CONNECT_SECONDS, retry_after_seconds
from .stream import Listening, Target, open_stream

CLOSE_SECONDS = 1.0
"""How long the peer has to answer a close frame before the connection is cut."""

# What trio-websocket and wsproto say where it was us who found fault, with the same codes.
_TOO_BIG_HERE = "Exceeded maximum message size"
_NO_TEXT_HERE = "'utf-8' codec can't decode"
_MAX_HANDSHAKE_BYTES = 256 * 1024


class Connection:
    """An open connection.

    Attributes:
        stream: what it runs over.
        run_beside: starts a task that is cancelled with the connection, and must not raise.
    """

    run_beside: Callable[..., None]

    def __init__(
        self,
        websocket: WebSocketConnection,
        stream: Listening,
        scope: trio.CancelScope,
        target: Target,
    ) -> None:
        self.stream = stream
        self._scope = scope  # of its tasks
        self._websocket = websocket
        self._codec = target.codec
        self._max_message_bytes = target.max_message_bytes
        self._dropped = "the connection broke off"

    async def receive(self) -> bytes | str:
        """The next frame. Raises `ConnectionLost` and `Refused`, by the close code."""
        try:
            return await self._websocket.get_message()
        except ConnectionClosed as closed:
            raise self._closed(closed) from closed

    async def send(self, messages: Sequence[object]) -> None:
        """Send messages as one frame. Raises as `receive` does."""
        frame = self._codec.array([self._codec.encode(each) for each in messages])
        try:
            await self._websocket.send_message(frame if self._codec.binary else frame.decode())
        except ConnectionClosed as closed:
            raise self._closed(closed) from closed

    async def drop(self, problem: str) -> None:
        """Cut the connection; `receive` then raises `ConnectionLost` with that problem."""
        self._dropped = problem
        await trio.aclose_forcefully(self.stream)

    @contextmanager
    def kept_open(self) -> Generator[None, None, None]:
        """Its tasks run until the end of the block, a cancelled one too: goodbyes need them."""
        self._scope.shield = True
        try:
            yield
        finally:
            self._scope.cancel("the connection is closed")

    async def close(self, code: int) -> None:
        """Say goodbye, and wait a moment for the answer."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._websocket.aclose(code)

    def _closed(self, closed: ConnectionClosed) -> ConnectionLost | Refused:
        reason = closed.reason
        if reason is None or reason.code in (1005, 1006):
            return ConnectionLost(self._dropped)
        if reason.code == CloseCode.TOO_BIG and (reason.reason or "").startswith(_TOO_BIG_HERE):
            return Refused(
                f"the server sent a frame of over {self._max_message_bytes:,} bytes;"
                " max_message_bytes= allows more"
            )
        if reason.code == CloseCode.UNDECODABLE and (reason.reason or "").startswith(_NO_TEXT_HERE):
            return ConnectionLost("the server sent a text frame that is not UTF-8")
        said = f": {reason.reason[:120]}" if reason.reason else ""
        problem = f"the server closed the connection ({reason.code}{said})"
        return ConnectionLost(problem) if may_reconnect(reason.code) else Refused(problem)


@asynccontextmanager
async def connected(target: Target) -> AsyncGenerator[Connection, None]:
    """A connection while the block runs; it is closed, within a moment, whatever ends the block.

    Raises `ConnectionLost` and `Refused`, and what the block raises as itself. A connection that
    fails never cancels the block: it is told by `Connection.receive`, in its turn.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        opened = await nursery.start(_run_connection, target)
        if isinstance(opened, Connection):
            opened.run_beside = nursery.start_soon
            with opened.kept_open():
                try:
                    yield opened
                except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery
                    failure = error
                finally:
                    await opened.close(1000 if failure is None else _close_code(failure))
        else:
            failure = opened
        nursery.cancel_scope.cancel("the connection is closed")
    if failure is not None:
        raise failure


async def _run_connection(
    target: Target, task_status: trio.TaskStatus[Connection | ConnectionLost | Refused]
) -> None:
    """Open a connection and run its tasks; why it can't be opened is told as the task's status.

    Raises nothing but cancellation. What fells trio-websocket's reader later on ends the stream of
    frames, which is how who reads them gets to know.
    """
    stream: Listening | None = None
    started = False
    try:
        stream = Listening(await open_stream(target), _MAX_HANDSHAKE_BYTES)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                websocket = await _shake_hands(nursery, stream, target)
                task_status.started(Connection(websocket, stream, scope, target))
                started = True
    except (ConnectionLost, Refused) as error:
        task_status.started(error)
    except BaseExceptionGroup as group:
        if group.split(Exception)[1] is not None:
            raise
        if not started:
            task_status.started(_why_not(flatten(group)))
    finally:
        if stream is not None:
            await trio.aclose_forcefully(stream)


def _why_not(errors: list[BaseException]) -> ConnectionLost | Refused:
    """Why shaking hands failed: an error of ours, or one of trio-websocket's reader."""
    own = [each for each in errors if isinstance(each, ConnectionLost | Refused)]
    if own:
        return own[0]
    if isinstance(errors[0], ConnectionRejected):
        return _rejected(errors[0])
    return ConnectionLost(f"the server broke off the handshake ({describe(errors[0])})")


def _close_code(error: Exception) -> int:
    if isinstance(error.__cause__, Undecodable):
        return CloseCode.UNDECODABLE
    return 1000


async def _shake_hands(
    nursery: trio.Nursery, stream: Listening, target: Target
) -> WebSocketConnection:
    subprotocol = target.codec.subprotocol
    websocket: WebSocketConnection | None = None
    with trio.move_on_after(CONNECT_SECONDS) as scope:
        stream.on_end = partial(scope.cancel, "the connection has ended")  # nobody else says so
        websocket = await wrap_client_stream(
            nursery,
            cast("Any", stream),  # annotated as a socket's, but any stream will do
            target.authority,
            target.resource,
            subprotocols=[subprotocol],
            extra_headers=[(name.encode(), each.encode()) for name, each in target.headers.items()],
            max_message_size=target.max_message_bytes,
            receive_buffer_size=None,
        )
    if websocket is None:
        late = trio.current_time() >= scope.deadline
        why = f"not answer within {CONNECT_SECONDS:g} s" if late else "not finish the handshake"
        raise ConnectionLost(f"the server did {why}")
    stream.on_end = lambda: None
    stream.limit = math.inf
    if websocket.subprotocol != subprotocol:
        raise Refused(f"not a penstock server's WebSocket: it doesn't speak {subprotocol}")
    return websocket


def _rejected(rejection: ConnectionRejected) -> ConnectionLost | Refused:
    """What an HTTP status in place of a WebSocket means."""
    status = rejection.status_code
    headers = {name.decode("latin-1").lower(): value for name, value in rejection.headers}
    phrase = status_line(status)
    if may_pass(status):
        said = headers.get("retry-after")
        pause = retry_after_seconds(said.decode("latin-1") if said else None, datetime.now(UTC))
        return ConnectionLost(f"the server answered {phrase}", pause)
    if 300 <= status < 400:
        where = headers.get("location", b"").decode("latin-1")[:300]
        return Refused(f"{phrase}: the WebSocket is elsewhere, {where or 'not said where'}", status)
    if 200 <= status < 300:
        return Refused(f"{phrase}: not a WebSocket; the URL is like ws://127.0.0.1:8000/ws", status)
    return Refused(f"{phrase}{detail_of(rejection.body or b'')}", status)
