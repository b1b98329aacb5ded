"""An HTTP/2 client with prior knowledge."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
import trio
import trio.testing

from .serving import Serving

E = TypeVar("E", bound=h2.events.Event)


class H2Client:
    """A client of HTTP/2 with prior knowledge that grants a window only where it is told to."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.protocol = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        self.protocol.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.grants = False
        self._writing = trio.Lock()

    async def request(self, *extra: tuple[str, str], method: str = "GET", end: bool = True) -> int:
        stream_id = self.protocol.get_next_available_stream_id()
        headers = [(":method", method), (":path", "/"), (":scheme", "http"), (":authority", "a")]
        self.protocol.send_headers(stream_id, [*headers, *extra], end_stream=end)
        await self.flush()
        return stream_id

    async def flush(self) -> None:
        async with self._writing:
            await self.stream.send_all(self.protocol.data_to_send())

    async def read(self) -> None:
        """Take what comes until the server ends the connection; to be run in a task."""
        async for data in self.stream:
            for event in self.protocol.receive_data(bytes(data)):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived) and self.grants:
                    self._acknowledge(event)
            await self.flush()

    async def grant(self) -> None:
        """From now on, and for what has come, open the window again."""
        self.grants = True
        for event in self.of(h2.events.DataReceived):
            self._acknowledge(event)
        await self.flush()

    def _acknowledge(self, event: h2.events.DataReceived) -> None:
        self.protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def data(self) -> bytes:
        return b"".join(event.data for event in self.of(h2.events.DataReceived))


@asynccontextmanager
async def h2_client(server: Serving) -> AsyncGenerator[H2Client]:
    client = H2Client(await server.connect())
    await client.flush()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(client.stream)
