"""A client that is cut off again and again gets every event once, in order."""

import json
import random

import trio

from .clients import MSGPACK_PROTOCOL, open_socket, raw_client
from .serving import ServerProcess

EVENTS = 400


async def publish_numbers(server: ServerProcess) -> None:
    async with open_socket(server) as websocket:
        for number in range(EVENTS):
            await websocket.ask(type="publish", topic="anything", data=number)
            await trio.sleep(0.001)


async def test_event_streams(server: ServerProcess) -> None:
    cuts, seen = random.Random(1), list[int]()
    cursor = server.cursor("anything")

    def read_some() -> None:
        """One connection: read events, and leave with a reset in the middle of what comes."""
        nonlocal cursor
        with raw_client(server) as client:
            client.get("/topics/anything", f"Last-Event-ID: {cursor}")
            client.until(b"retry: ")
            for _ in range(cuts.randint(1, 12)):
                client.until(b"id: ")
                identity = client.until(b"\n").strip().decode()
                field = client.until(b"\n")
                if not field.startswith(b"data: "):
                    continue  # the priming block
                seen.append(json.loads(field.removeprefix(b"data: ")))
                cursor = identity
                if len(seen) == EVENTS:
                    break
            client.vanish()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish_numbers, server)
        with trio.fail_after(20):
            while len(seen) < EVENTS:
                await trio.to_thread.run_sync(read_some)
    assert seen == list(range(EVENTS))


async def test_websockets(server: ServerProcess) -> None:
    cuts, seen = random.Random(2), list[int]()
    cursor = server.cursor("anything")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish_numbers, server)
        while len(seen) < EVENTS:
            async with open_socket(server, MSGPACK_PROTOCOL) as websocket:
                await websocket.ask(type="subscribe", topic="anything", after=cursor)
                for _ in range(min(cuts.randint(1, 12), EVENTS - len(seen))):
                    event = await websocket.find("event")
                    seen.append(event["data"])
                    cursor = event["id"]
    assert seen == list(range(EVENTS))
