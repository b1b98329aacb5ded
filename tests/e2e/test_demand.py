"""Backpressure reaches the producer, and demand starts and stops it, on a real server."""

import time
from typing import Any

from .clients import open_messages
from .conftest import StartServer
from .serving import ServerProcess, eventually


def state(server: ServerProcess, topic: str) -> str:
    return str(server.stats()["pipelines"][topic]["state"])


def data(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["data"] for message in messages]


def test_a_pipeline_runs_while_somebody_reads(start_server: StartServer) -> None:
    server = start_server("rooms.py")
    assert state(server, "ticks") == "waiting"
    assert server.get("/health/ready").status_code == 200
    with open_messages(server, "ticks") as stream:
        stream.find("subscribed")
        assert data(stream.events(2)) == ["open 0", "open 1"]
        assert state(server, "ticks") == "running"
    eventually(lambda: state(server, "ticks") == "waiting")
    end = server.cursor("ticks")
    time.sleep(0.2)
    assert server.cursor("ticks") == end
    seen: list[str] = []
    after = end
    offsets: list[int] = []
    for _ in range(8):  # readers that come back at once, or while it stops
        with open_messages(server, "ticks", after=after) as stream:
            stream.find("subscribed")
            for message in stream.events(3):
                assert message["type"] == "event"
                seen.append(message["data"])
                after = message["id"]
                offsets.append(int(after.partition("-")[2], 36))
    # Each start counts from 0 again; the log has no hole and nothing twice.
    assert offsets == list(range(offsets[0], offsets[0] + 24))
    assert seen[0] == "open 0"


def test_a_blocking_reader_holds_the_producer(start_server: StartServer) -> None:
    """It takes what fits into the sockets, then nothing; then it reads on and misses nothing."""
    server = start_server("rooms.py")

    def produced() -> int:
        return int(server.stats()["topics"]["paced"]["last"])

    def settled() -> int:
        before = produced()
        time.sleep(0.3)
        return before if before and produced() == before else 0

    with open_messages(server, "paced") as stream:
        stream.find("subscribed")
        held_at = eventually(settled, 10)
        assert held_at < 100_000
        seen = [int(message["data"]) for message in stream.events(held_at + 500)]
        assert seen == list(range(held_at + 500)), "none was lost, and none came twice"
        assert produced() >= held_at + 500
