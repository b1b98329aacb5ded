"""The fan-out with ``websockets``' broadcast:  python websockets_broadcast.py PORT RATE READERS

Once READERS are connected: RATE events a second to all of them; with 0, as many as their sockets
take, one write an event.
"""

import asyncio
import itertools
import sys
import time

from websockets.asyncio.server import ServerConnection, broadcast, serve  # type: ignore[import-not-found]

EVENT_BYTES = 100
MOST_BUFFERED = 64 * 1024
LOOK_EVERY = 10

PORT, RATE, READERS = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])

clients: set[ServerConnection] = set()
complete = asyncio.Event()


def payload(tick: int, due: int) -> str:
    start = f'{{"tick":{tick},"due":{due},"padding":"'
    return start + "x" * (EVENT_BYTES - len(start) - 2) + '"}'


async def client(connection: ServerConnection) -> None:
    clients.add(connection)
    if len(clients) == READERS:
        complete.set()
    try:
        await connection.wait_closed()
    finally:
        clients.discard(connection)


async def paced() -> None:
    start = time.monotonic_ns()
    for tick in itertools.count():
        due = start + int(tick / RATE * 1e9)
        delay = (due - time.monotonic_ns()) / 1e9
        if delay > 0:
            await asyncio.sleep(delay)
        broadcast(clients, payload(tick, due))


def buffered() -> int:
    return max((c.transport.get_write_buffer_size() for c in clients), default=0)


async def flood() -> None:
    """Broadcast knows no backpressure: every few events wait until the sockets have taken them."""
    for tick in itertools.count():
        if tick % LOOK_EVERY == 0:
            while buffered() > MOST_BUFFERED:  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.001)
        broadcast(clients, payload(tick, time.monotonic_ns()))
        await asyncio.sleep(0)


async def main() -> None:
    async with serve(client, "127.0.0.1", PORT, backlog=4096):
        await complete.wait()
        await (paced() if RATE > 0 else flood())


asyncio.run(main())
