"""The opening handshake of a WebSocket: headers that can't be read, and extensions."""

from collections.abc import Callable, Iterable

from hypercorn.protocol.ws_stream import Handshake
from wsproto.connection import Connection, ConnectionType

from penstock_server.hypercorn_guard._deflate import accept_deflate


class GuardedHandshake(Handshake):
    """The opening handshake, deaf to extensions unless told.

    Plain Hypercorn accepts permessage-deflate always, which lets 1 MB become 1 GB before any limit
    is looked at, and costs some 190 KB for each connection; and a header that isn't ASCII ends its
    process.
    """

    def __init__(self, headers: list[tuple[bytes, bytes]], http_version: str) -> None:
        self._readable = True
        try:
            super().__init__(headers, http_version)
        except UnicodeDecodeError:
            self._readable = False
            super().__init__([], http_version)
        self._offers = self.extensions or []
        self.extensions = None
        self._most: Callable[[], int] | None = None

    def is_valid(self) -> bool:
        """Whether the request is one for a WebSocket."""
        return self._readable and super().is_valid()

    def allow_deflate(self, most: Callable[[], int]) -> None:
        """Accept compression where it is offered, of messages of ``most()`` bytes inflated."""
        self._most = most

    def accept(
        self, subprotocol: str | None, additional_headers: Iterable[tuple[bytes, bytes]]
    ) -> tuple[int, list[tuple[bytes, bytes]], Connection]:
        """The status, the headers and the connection of an accepted handshake."""
        status, headers, connection = super().accept(subprotocol, additional_headers)
        agreed = None if self._most is None else accept_deflate(self._offers, self._most)
        if agreed is None:
            return status, headers, connection
        value, extension = agreed
        headers.append((b"sec-websocket-extensions", value.encode()))
        return status, headers, Connection(ConnectionType.SERVER, [extension])
