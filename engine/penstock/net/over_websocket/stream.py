"""The stream beneath a WebSocket: where it goes, how it is opened, and when it is silent."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from penstock.wire import MessageCodec

from ..failures import system_error, untrusted
from ..losses import ConnectionLost, Refused
from ..waiting import CONNECT_SECONDS


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and how.

    Attributes:
        host: as it goes to the resolver.
        port: the TCP port.
        authority: what the ``Host`` header says.
        resource: path and query.
        tls: the context of a ``wss:`` connection, None for ``ws:``.
        headers: sent with the handshake.
        codec: what the frames are in.
        max_message_bytes: of one frame of the server's.
    """

    host: str
    port: int
    authority: str
    resource: str
    tls: ssl.SSLContext | None
    headers: Mapping[str, str]
    codec: MessageCodec
    max_message_bytes: int


class Listening(trio.abc.Stream):
    """A stream that notes since when somebody waits for the peer's next bytes.

    Only that is silence of the peer: while nobody reads, because what came isn't worked off yet,
    nothing can be heard.

    Attributes:
        waiting_since: when the wait began; None while nobody waits.
        limit: bytes that are taken before the stream breaks.
        on_end: called once nothing more can come.
    """

    def __init__(self, stream: trio.abc.Stream, limit: float) -> None:
        self.waiting_since: float | None = None
        self.limit = limit
        self.on_end: Callable[[], object] = lambda: None
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`; breaks where the peer says more than `limit`."""
        self.waiting_since = trio.current_time()
        goes_on = False
        try:
            data = await self._stream.receive_some(max_bytes)
            self.limit -= len(data)
            if self.limit < 0:
                raise trio.BrokenResourceError("the peer says too much")
            goes_on = bool(data)
        finally:
            self.waiting_since = None
            if not goes_on:
                self.on_end()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._stream.aclose()


async def open_stream(target: Target) -> trio.abc.Stream:
    """Connect, and shake hands over TLS. Raises `ConnectionLost` and `Refused`."""
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if target.tls is None:
                return await trio.open_tcp_stream(target.host, target.port)
            return await _open_tls_stream(target, target.tls)
    except trio.TooSlowError as error:
        raise ConnectionLost(f"no connection within {CONNECT_SECONDS:g} s") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise _not_connected(error) from error


async def _open_tls_stream(target: Target, context: ssl.SSLContext) -> trio.abc.Stream:
    stream = await trio.open_ssl_over_tcp_stream(
        target.host, target.port, ssl_context=context, https_compatible=True
    )
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


def _not_connected(error: BaseException) -> ConnectionLost | Refused:
    distrust = untrusted(error)
    return Refused(distrust) if distrust else ConnectionLost(system_error(error))
