"""The access log: one line for each request, stream and WebSocket that is over.

The logger is ``penstock.access``; a line holds the path without its query, for a query may hold a
token. With ``--log-format json`` each part is a field of its own. Where the logger is off
(``--log-level warning``) a line costs one comparison.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

import trio

from .connections import Connection

LOGGER: Final = "penstock.access"

_logger = logging.getLogger(LOGGER)
_MAX_PATH = 512


def is_on() -> bool:
    """Whether anything would be written."""
    return _logger.isEnabledFor(logging.INFO)


def answered(
    method: str, path: str, status: int, *, client: str = "", seconds: float, size: int = 0
) -> None:
    """Note an answer over HTTP that is whole: how long it took, and the bytes of its body."""
    if not is_on():
        return
    path = path[:_MAX_PATH]
    _logger.info(
        "%s %s %d http %.3f s %d bytes",
        method,
        path,
        status,
        seconds,
        size,
        extra={
            "method": method,
            "path": path,
            "status": status,
            "transport": "http",
            "seconds": round(seconds, 6),
            "bytes": size,
            "client": client,
        },
    )


def stream_ended(
    connection: Connection,
    path: str,
    *,
    status: int = 200,
    ending: str = "",
    method: str = "GET",
) -> None:
    """Note a stream or a WebSocket that is over.

    How many events it had isn't known: what is written to many at once is counted for all of them.

    Args:
        connection: says the transport, the client and since when.
        path: of the request, without the query.
        status: the answer's; 101 (or 200 over HTTP/2) for a WebSocket.
        ending: why it ended, where it is known: a close code, ``stalled``, ``end`` and so on.
        method: of the request.
    """
    if not is_on():
        return
    path = path[:_MAX_PATH]
    seconds = trio.current_time() - connection.opened
    _logger.info(
        "%s %s %d %s %.3f s%s",
        method,
        path,
        status,
        connection.transport,
        seconds,
        f" ({ending})" if ending else "",
        extra={
            "method": method,
            "path": path,
            "status": status,
            "transport": connection.transport,
            "seconds": round(seconds, 6),
            "client": connection.client,
            **({"ending": ending} if ending else {}),
        },
    )


class Answer:
    """An ASGI ``send`` that notes the answer it carries, once that is whole.

    For answers that are sent at once. Not for streams and WebSockets: what is behind their ``send``
    is looked for (`hypercorn_guard.context_of`), and each of their writes would cost a call more.
    """

    __slots__ = ("_scope", "_send", "_size", "_started", "_status")

    def __init__(self, scope: MutableMapping[str, Any], send: Any) -> None:
        self._scope = scope
        self._send = send
        self._status = 0
        self._size = 0
        self._started = trio.current_time()

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Send a message of the answer."""
        await self._send(message)
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["type"] == "http.response.body":
            self._size += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._note()

    def _note(self) -> None:
        client = self._scope.get("client")
        answered(
            self._scope["method"],
            self._scope["path"],
            self._status,
            client=f"{client[0]}:{client[1]}" if client else "",
            seconds=trio.current_time() - self._started,
            size=self._size,
        )
