"""The ASGI server's side of one scope, in memory.

Nothing is buffered on the way: a client that takes nothing holds the application's ``send`` up, and
a message that the application doesn't receive holds the client up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import trio

from ..server import Server

Message: TypeAlias = dict[str, Any]

HOST = "testserver"
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Exchange:
    """One ASGI scope that the application works on.

    Args:
        server: the application.
        scope: what it is called with.
        patience: seconds that the client waits for the application at most, each time.
        received: messages that the application finds already there.
    """

    def __init__(
        self, server: Server, scope: Message, patience: float, received: Iterable[Message] = ()
    ) -> None:
        self._server = server
        self._scope = scope
        self._patience = patience
        self._received = deque(received)
        self._to_app, self._app_receives = trio.open_memory_channel[Message](0)
        self._app_sends, self._from_app = trio.open_memory_channel[Message](0)
        self._returned = trio.Event()
        self._disconnect = {"type": f"{scope['type']}.disconnect"}

    async def run(self) -> None:
        """Call the application; raises what it raises."""
        try:
            async with self._app_sends, self._app_receives:
                await self._server(self._scope, self._receive, self._send)
        finally:
            self._returned.set()

    async def _receive(self) -> Message:
        if self._received:
            await trio.lowlevel.checkpoint()
            return self._received.popleft()
        try:
            return await self._app_receives.receive()
        except trio.EndOfChannel:
            return self._disconnect

    async def _send(self, message: Any) -> None:
        try:
            await self._app_sends.send(dict(message))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()  # as a server does once the client has gone

    async def say(self, message: Message) -> None:
        """Let the application receive a message; waits until it does, with patience."""
        with trio.fail_after(self._patience):
            await self._to_app.send(message)

    async def hear(self) -> Message | None:
        """What the application sends next, waited for with patience; None once it has returned."""
        with trio.fail_after(self._patience):
            try:
                return await self._from_app.receive()
            except trio.EndOfChannel:
                return None

    async def leave(self) -> None:
        """The client goes away; waits, with patience, until the application is done with it."""
        self._to_app.close()
        self._from_app.close()
        with trio.fail_after(self._patience):
            await self._returned.wait()


@contextmanager
def lone_errors() -> Generator[None]:
    """Let an error that is alone in its exception group, as a test's own is, out as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: Any = group
        while len(getattr(error, "exceptions", ())) == 1:
            error = error.exceptions[0]
    else:
        return
    raise error


def lifespan_scope() -> Message:
    """The scope of the ASGI lifespan."""
    return {"type": "lifespan", "asgi": _ASGI, "state": {}}


def request_scope(kind: str, target: str, headers: Mapping[str, str]) -> Message:
    """The scope of a request for ``/path?query``; `kind` is ``http`` or ``websocket``."""
    path, _, query = target.partition("?")
    pairs = {"host": HOST, **headers}
    return {
        "type": kind,
        "asgi": _ASGI,
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs.items()],
        "client": ("127.0.0.1", 50_000),
        "server": (HOST, 80),
        "extensions": {} if kind == "http" else {"websocket.http.response": {}},
        "state": {},
    }
