"""SIGTERM while many publish: what was acknowledged is seen by every reader that was connected."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed

from .clients import MSGPACK_PROTOCOL, PATIENCE, LineDecoder, open_socket
from .conftest import StartServer
from .serving import ServerProcess

TOPIC = "silent"
PUBLISHERS = 4
LOAD = 0.7
HEADERS = {"accept": "application/x-ndjson", "accept-encoding": "identity"}


@dataclass
class Told:
    """What the publishers were told: acknowledged values, and how the refused ones were refused."""

    acknowledged: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    refusals: set[object] = field(default_factory=set[object])


@dataclass
class Reader:
    """What one reader has seen, in order, and the last word it was told."""

    seen: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    last: str = ""

    def take(self, message: Any) -> None:
        self.last = message["type"]
        if self.last == "event":
            publisher, number = message["data"]
            self.seen.append((publisher, number))
        else:
            assert self.last in ("subscribed", "keepalive", "reconnect"), message


def publish_over_http(server: ServerProcess, name: str, told: Told) -> None:
    """One event a request on a connection that is kept alive, until the server is gone."""
    url = f"{server.url}/topics/{TOPIC}"
    number = 0
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        suppress(httpx.TransportError),
    ):
        while True:
            answer = client.post(url, json=[name, number])
            if answer.status_code == 201:
                told.acknowledged.add((name, number))
                number += 1
            else:
                assert int(answer.headers["retry-after"]) >= 1
                told.refusals.add(answer.status_code)
                time.sleep(0.02)


async def publish_over_websocket(server: ServerProcess, name: str, told: Told) -> None:
    """Ten events a frame, each acknowledged by its own message, until the server closes."""
    async with open_socket(server, MSGPACK_PROTOCOL) as websocket:
        first = 0
        with suppress(ConnectionClosed):
            while True:
                numbers = range(first, first + 10)
                await websocket.send(
                    *(
                        {"type": "publish", "topic": TOPIC, "data": [name, n], "ref": n}
                        for n in numbers
                    )
                )
                for _ in numbers:
                    answer = await websocket.next()
                    if answer["type"] == "published":
                        told.acknowledged.add((name, answer["ref"]))
                    elif answer["type"] == "error":
                        told.refusals.add(answer["code"])
                    else:
                        assert answer["type"] == "reconnect"
                        return
                first += 10


async def read_over_http(
    server: ServerProcess, reader: Reader, started: Callable[[], None]
) -> None:
    url = f"{server.url}/topics/{TOPIC}"
    decoder = LineDecoder()
    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client,
        client.stream("GET", url, headers=HEADERS) as response,
    ):
        started()
        async for piece in response.aiter_raw():
            for message in decoder.feed(piece):
                reader.take(message)


async def read_over_websocket(
    server: ServerProcess, reader: Reader, started: Callable[[], None]
) -> None:
    async with open_socket(server) as websocket:
        reader.take(await websocket.ask(type="subscribe", topic=TOPIC))
        started()
        with suppress(ConnectionClosed):
            while True:
                reader.take(await websocket.next())


@pytest.mark.parametrize(
    ("config", "refusals"), [("topics.py", set()), ("lingering.py", {503, "unavailable"})]
)
async def test_no_accepted_publication_is_lost(
    start_server: StartServer, config: str, refusals: set[object]
) -> None:
    """A server that takes its time to drain refuses some, and says so."""
    server = start_server(config)
    told = Told()
    readers = [Reader(), Reader()]
    ready = [trio.Event(), trio.Event()]
    with trio.fail_after(3 * PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_over_http, server, readers[0], ready[0].set)
            nursery.start_soon(read_over_websocket, server, readers[1], ready[1].set)
            for each in ready:
                await each.wait()
            for number in range(PUBLISHERS):
                nursery.start_soon(
                    trio.to_thread.run_sync, publish_over_http, server, f"http {number}", told
                )
                nursery.start_soon(publish_over_websocket, server, f"ws {number}", told)
            await trio.sleep(LOAD)
            server.signal()
    assert server.wait(PATIENCE) == 0
    assert len(told.acknowledged) > 100
    assert refusals <= told.refusals <= {503, "unavailable"}
    for reader in readers:
        assert reader.last == "reconnect"
        assert len(reader.seen) == len(set(reader.seen))
        assert told.acknowledged <= set(reader.seen)
    assert readers[0].seen == readers[1].seen
