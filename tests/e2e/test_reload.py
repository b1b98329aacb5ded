"""``penstock serve --reload``: topics follow the file; the others' readers don't notice."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from .clients import EventStream, open_response
from .conftest import Launch
from .serving import SERVE, ServerProcess, eventually

CONFIG = """
import penstock as ps
from penstock_server import Server, Timing

from helpers import label

server = Server("bench", timing=Timing(retry=0.1, grace=2.0))


@server.topic("steady", retain=5000)
def steady():
    return ps.every(0.02)


raw = server.topic("raw", accepts=object)


@server.topic("edited")
def edited():
    return ps.every(0.02).map(lambda _: label("one"))


@server.topic("derived")
def derived():
    return raw.values().map(lambda value: ["first", value])
"""

HELPERS = """
def label(text):
    return {"label": text}
"""

EXTRA = """

@server.topic("extra")
def extra():
    return ps.from_iterable([1, 2, 3])
"""


class Edited:
    """A config file that is edited while its server runs."""

    def __init__(self, folder: Path) -> None:
        self.main = folder / "pipelines.py"
        self.helpers = folder / "helpers.py"
        self.helpers.write_text(HELPERS)
        self.main.write_text(CONFIG)
        self.server: ServerProcess | None = None
        self._said = 0

    def replace(self, old: str, new: str, file: Path | None = None) -> None:
        """Save a file as editors do: another one, moved over it."""
        file = file or self.main
        text = file.read_text()
        assert old in text
        written = file.with_suffix(".tmp")
        written.write_text(text.replace(old, new))
        os.replace(written, file)  # noqa: PTH105

    def says(self, pattern: str) -> str:
        """The next line that the server says about a reload; it must match."""
        server = self.server
        assert server is not None

        def lines() -> list[str]:
            # A line of a problem begins with the file's path.
            told = re.compile(r"penstock: (?:reloaded|the change)|\S+\.py:\d+: ")
            return [each for each in server.stderr.splitlines() if told.match(each)]

        eventually(lambda: len(lines()) > self._said, 10.0)
        line = lines()[self._said]
        self._said += 1
        assert re.search(pattern, line), line
        return line


@pytest.fixture
def edited(launch: Launch, tmp_path: Path) -> Iterator[Edited]:
    edited = Edited(tmp_path)
    with ExitStack() as stack:
        command = (*SERVE, str(edited.main), "--bind", "127.0.0.1:0", "--reload")
        edited.server = launch(stack, command)
        yield edited


@contextmanager
def follow(server: ServerProcess, topic: str) -> Generator[EventStream]:
    plain = {"accept-encoding": "identity"}
    with open_response(server, topic, "text/event-stream", plain, None) as response:
        assert response.status_code == 200
        yield EventStream(response)


class Follower:
    """Reads a topic in a thread of its own, over one connection, all the time."""

    def __init__(self, server: ServerProcess, topic: str) -> None:
        self.ids: list[str] = []
        self.failure: BaseException | None = None
        self._stop = False
        self._thread = threading.Thread(target=self._read, args=(server, topic))
        self._thread.start()

    def _read(self, server: ServerProcess, topic: str) -> None:
        try:
            with follow(server, topic) as stream:
                while not self._stop:
                    event = stream.next()
                    assert event.id is not None
                    self.ids.append(event.id)
        except BaseException as failure:  # noqa: BLE001 - shown by the test
            self.failure = failure

    def stop(self) -> None:
        self._stop = True
        self._thread.join(10)


def until_label(stream: EventStream, label: str) -> str:
    """Read until that label comes; gives the event's id."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        event = stream.next()
        if json.loads(event.data) == {"label": label}:
            assert event.id is not None
            return event.id
    raise AssertionError(f"{label!r} did not come")


def epoch(cursor: str) -> str:
    return cursor.partition("-")[0]


def offset(cursor: str) -> int:
    return int(cursor.partition("-")[2], 36)


def test_only_what_changed_is_restarted_and_everybody_stays_connected(edited: Edited) -> None:
    server = edited.server
    assert server is not None
    follower = Follower(server, "steady")
    try:
        with follow(server, "edited") as reader, follow(server, "derived") as derived:
            first = until_label(reader, "one")
            server.post("raw", 1)
            assert json.loads(derived.next().data) == ["first", 1]

            edited.replace('label("one")', 'label("two")')
            edited.says(r"reloaded pipelines\.py: edited restarted, .*\(3 topics kept\)")
            second = until_label(reader, "two")

            edited.replace('label("two")', 'label("two"')
            edited.says(r"pipelines\.py:\d+: SyntaxError")
            until_label(reader, "two")

            edited.replace('label("two"', 'label("three")')
            edited.says(r"edited restarted, .*\(3 topics kept\)")
            third = until_label(reader, "three")
            assert epoch(first) == epoch(second) == epoch(third)
            assert offset(first) < offset(second) < offset(third)

            edited.replace('{"label": text}', '{"label": text.upper()}', edited.helpers)
            edited.says(r"edited restarted, .*\(3 topics kept\)")
            until_label(reader, "THREE")

            edited.replace('["first", value]', '["second", value]')
            edited.says(r"derived restarted, .*\(3 topics kept\)")
            server.post("raw", 2)
            assert json.loads(derived.next().data) == ["second", 2]

            edited.main.write_text(edited.main.read_text() + EXTRA)
            edited.says(r"extra added, .*|.*extra added")
            page = server.get("/topics/extra?format=json&after=earliest").json()
            assert [each["data"] for each in page["events"]] == [1, 2, 3]

            edited.main.write_text(gone(edited.main.read_text(), "edited"))
            edited.says("edited removed")
            rest = reader.rest()
            assert rest[-1].event == "end"
        assert server.get("/topics/edited").status_code == 404
    finally:
        follower.stop()
    assert follower.failure is None
    assert len({epoch(each) for each in follower.ids}) == 1
    offsets = [offset(each) for each in follower.ids]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    assert server.stats()["pipelines"]["steady"]["restarts"] == 0


def gone(text: str, topic: str) -> str:
    """The file without a topic's declaration."""
    declared = text.index(f'@server.topic("{topic}")')
    return text[:declared] + text[text.index("@server.topic", declared + 1) :]


def test_options_of_running_topics_and_of_the_server(edited: Edited) -> None:
    server = edited.server
    assert server is not None
    for number in range(10):
        server.post("raw", number)
    before = server.cursor("raw")

    edited.replace('topic("raw", accepts=object)', 'topic("raw", accepts=object, retain=3)')
    edited.says(r"raw changed, .*\(4 topics kept\)")
    raw: Any = next(
        each for each in server.get("/topics").json()["topics"] if each["name"] == "raw"
    )
    assert raw["retained"] == 3
    assert server.cursor("raw") == before

    edited.replace("accepts=object", "accepts=str")
    edited.says("derived restarted, raw changed")
    assert server.post("raw", 11).status_code == 422
    assert server.post("raw", "eleven").status_code == 201

    with open_response(
        server, "raw", "application/x-ndjson", {"accept-encoding": "identity"}, None
    ) as reading:
        lines = reading.iter_lines()
        assert json.loads(next(lines))["type"] == "subscribed"
        edited.replace("accepts=str", 'accepts=str, encoding="text"')
        edited.says("derived restarted, raw replaced")
        assert json.loads(next(each for each in lines if "keepalive" not in each))["type"] == (
            "reconnect"
        )
    assert epoch(server.cursor("raw")) != epoch(before)
    assert server.post("raw", "twelve").status_code == 201
    page = server.get("/topics/derived?format=json&after=earliest").json()
    assert page["events"][-1]["data"] == ["first", "twelve"]

    edited.replace('Server("bench",', 'Server("bench", cors=["https://a.example"],')
    edited.says(r"nothing changed|unchanged")
    edited.says(r"the change of cors= needs a restart")
    assert server.get("/health/ready").status_code == 200
