"""Templates, the lifespan and routes of one's own, on a real server."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .clients import open_messages, open_socket
from .conftest import Launch
from .serving import CONFIGS, SERVE, ServerProcess, eventually


@pytest.fixture(scope="module")
def rooms(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        command = (*SERVE, str(CONFIGS / "rooms.py"), "--bind", "127.0.0.1:0")
        yield launch(stack, command)


def live(server: ServerProcess) -> set[str]:
    names = {topic["name"] for topic in server.get("/topics").json()["topics"]}
    return {name for name in names if name.startswith("room.") and "{" not in name}


async def test_rooms_come_and_go(rooms: ServerProcess) -> None:
    eventually(lambda: not live(rooms))
    with open_messages(rooms, "room.a") as a, open_messages(rooms, "room.b") as b:
        a.find("subscribed"), b.find("subscribed")
        assert rooms.post("room.a", {"text": "to a"}).status_code == 201
        assert rooms.post("room.b", {"text": "to b"}).status_code == 201
        assert [message.get("data") for message in a.events(1)] == [{"text": "to a"}]
        assert [message.get("data") for message in b.events(1)] == [{"text": "to b"}]
        assert rooms.post("room.c", {"text": "x"}).status_code == 201
        assert live(rooms) == {"room.a", "room.b", "room.c"}
        full = rooms.post("room.d", {"text": "x"})
        assert full.status_code == 429
        assert full.headers["retry-after"] == "1"
        async with open_socket(rooms) as socket:
            await socket.send({"type": "subscribe", "topic": "room.d", "ref": 5})
            refused = await socket.find("error")
            assert (refused["code"], refused["ref"]) == ("limit", 5)
        before = rooms.cursor("room.c")
        eventually(lambda: live(rooms) == {"room.a", "room.b"})
        assert rooms.post("room.d", {"text": "x"}).status_code == 201
    eventually(lambda: not live(rooms))
    page = rooms.get(f"/topics/room.c?format=json&after={before}").json()
    assert page["gap"]["reason"] == "epoch"


def test_a_room_of_a_room_on_demand(rooms: ServerProcess) -> None:
    with open_messages(rooms, "loud.x") as stream:
        stream.find("subscribed")
        eventually(lambda: rooms.stats()["pipelines"]["loud.x"]["state"] == "running")
        assert rooms.post("room.x", {"text": "hello"}).status_code == 201
        assert [message["data"] for message in stream.events(1)] == ["HELLO"]
    eventually(lambda: "loud.x" not in rooms.stats()["pipelines"])


def test_a_route_of_ones_own_and_what_is_shared(rooms: ServerProcess) -> None:
    assert rooms.get("/own").json() == {"shared": ["open"]}


def test_a_lifespan_that_fails_is_told_in_a_line() -> None:
    done = subprocess.run(
        [*SERVE, str(CONFIGS / "no_database.py"), "--bind", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    problem = "error: the server can't start: lifespan: ConnectionError: the database is away"
    assert problem in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert "serving on" not in done.stderr


def test_a_grace_that_is_no_number_is_refused() -> None:
    done = subprocess.run(
        [*SERVE, str(CONFIGS / "rooms.py"), "--grace", "nan"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert "--grace" in done.stderr
    assert "Traceback" not in done.stderr
