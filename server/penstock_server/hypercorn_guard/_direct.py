"""Straight to the socket: writing beside Hypercorn what is already framed for the wire.

Hypercorn's way of a write (ASGI message, stream, protocol, h11 or wsproto, transport) costs more
than the system call at its end. Where a connection is plain TCP and the response is chunked, or
it is a WebSocket without extensions, the bytes need none of that: h11 and wsproto keep no state
about the chunks and whole frames that went by. The rules:

- Nothing is written while the transport's lock is held or something is owed.
- What a write leaves over is owed: the transport's next write begins with it.
- Whoever writes straight is told, at once and before anything else can be written, when the
  transport itself had to wait with a write, or has said its last word.
"""

# pyright: reportUnknownMemberType=false
# Hypercorn leaves the functions it passes around without types.

import socket
from collections.abc import Awaitable, Callable

import h11
import trio
from hypercorn.protocol.http_stream import HTTPStream

from penstock_server.hypercorn_guard._connection import GuardedTCPServer
from penstock_server.hypercorn_guard._events import StreamAborted
from penstock_server.hypercorn_guard._http1 import GuardedH11Protocol
from penstock_server.hypercorn_guard._websocket import GuardedWebSocket


def _nobody() -> None:
    """What is called where nobody asks."""


class DirectSocket:
    """One connection's socket.

    Attributes:
        on_progress: called when the peer has taken a part of what the transport waits with.
        send: writes without waiting, and gives how many bytes were taken. Raises
            ``BlockingIOError`` for none, another ``OSError`` where the connection is broken.
    """

    __slots__ = ("_ended", "_on_blocked", "_transport", "on_progress", "send")

    def __init__(
        self, transport: GuardedTCPServer, sock: socket.socket, on_blocked: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._on_blocked = on_blocked
        self._ended = False
        self.on_progress: Callable[[], None] = _nobody
        self.send: Callable[[bytes], int] = sock.send

    @property
    def has_ended(self) -> bool:
        """Whether the transport has said its last word."""
        return self._ended

    @property
    def is_clear(self) -> bool:
        """Whether it may be written to: nothing is owed or under way, and it has not ended."""
        transport = self._transport
        return not (self._ended or transport.owed or transport.send_lock.locked())

    def owe(self, rest: bytes) -> None:
        """Say what a write has left over; calls `on_blocked`."""
        self._transport.owed = rest
        self._on_blocked()

    async def flush(self) -> None:
        """Write what is owed, and wait for whatever else is being written.

        Takes at most ``stall_timeout``, like every write, after which the connection is dropped.
        """
        await self._transport.write(b"")

    def blocked(self) -> None:
        """The transport waits with a write of its own."""
        self._on_blocked()

    def progressed(self) -> None:
        """The peer has taken a part of it."""
        self.on_progress()

    def end(self) -> None:
        """The transport has said its last word: nothing may follow."""
        self._ended = True
        self._on_blocked()


def direct_socket_of(send: object, on_blocked: Callable[[], None]) -> DirectSocket | None:
    """The socket behind an ASGI ``send`` callable whose response, or WebSocket, has begun.

    None where it can't be reached, or where bytes would need more than a chunk's or a frame's head:
    TLS, HTTP/2, HTTP/1.0, a WebSocket with extensions, another server, a wrapped ``send``.
    """
    stream = getattr(send, "__self__", None)
    transport = _transport_of(stream)
    if transport is None or not isinstance(transport.stream, trio.SocketStream):
        return None
    sock = getattr(transport.stream.socket, "_sock", None)
    if not isinstance(sock, socket.socket) or sock.gettimeout() != 0:
        return None
    direct = DirectSocket(transport, sock, on_blocked)
    transport.direct = direct
    if isinstance(stream, GuardedWebSocket):
        stream.direct = direct
    return direct


def chunk_writer_of(send: object) -> Callable[[bytes], Awaitable[None]] | None:
    """What writes whole chunks of a response that has begun, past ASGI and h11; over TLS, too.

    Like every write, one is shielded and makes progress within ``stall_timeout`` or drops the
    connection. None where the response isn't a chunked one of HTTP/1.1, or `send` is another
    server's, or wrapped.
    """
    stream = getattr(send, "__self__", None)
    transport = _transport_of(stream)
    return transport.write if isinstance(stream, HTTPStream) and transport is not None else None


def _transport_of(stream: object) -> GuardedTCPServer | None:
    """The transport of a stream whose bytes need no more than a chunk's or a frame's head."""
    if not isinstance(stream, HTTPStream | GuardedWebSocket):
        return None
    protocol = getattr(stream.send, "__self__", None)
    transport = getattr(getattr(protocol, "send", None), "__self__", None)
    if not isinstance(protocol, GuardedH11Protocol) or not isinstance(transport, GuardedTCPServer):
        return None
    if isinstance(stream, GuardedWebSocket):
        return None if stream.closed or stream.has_extensions else transport
    return transport if _is_chunked(protocol.connection) else None


def _is_chunked(connection: object) -> bool:
    """Whether a response has begun whose length nobody knows (RFC 9112, section 7.1)."""
    return (
        isinstance(connection, h11.Connection)
        and connection.our_state is h11.SEND_BODY
        and connection.their_http_version == b"1.1"
    )


def abort_soon(send: object) -> bool:
    """Drop the connection, or the HTTP/2 stream, behind an ASGI ``send`` without a word.

    Returns at once; a write that is under way ends, and the application is told of the disconnect.
    False where there is no way to.
    """
    stream = getattr(send, "__self__", None)
    if not isinstance(stream, HTTPStream | GuardedWebSocket):
        return False
    stream.task_group.spawn(stream.send, StreamAborted(stream_id=stream.stream_id))
    return True
