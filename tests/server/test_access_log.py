"""One line for each answer and each stream, with the parts as fields and without the query."""

import logging
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock_server import Server, access_log
from penstock_server.connections import Connection

from .asgi_driver import serving


class Lines:
    """The lines of the access log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def all(self) -> list[Any]:
        return [each for each in self._caplog.records if each.name == access_log.LOGGER]

    def only(self) -> Any:
        (line,) = self.all()
        return line


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.INFO, access_log.LOGGER)
    return Lines(caplog)


async def test_an_answer(lines: Lines) -> None:
    access_log.answered("POST", "/topics/a", 201, client="192.0.2.1:5", seconds=0.25, size=70)
    line = lines.only()
    assert line.getMessage() == "POST /topics/a 201 http 0.250 s 70 bytes"
    assert (line.method, line.path, line.status) == ("POST", "/topics/a", 201)
    assert (line.transport, line.seconds, line.bytes) == ("http", 0.25, 70)
    assert line.client == "192.0.2.1:5"


async def test_a_stream(lines: Lines, autojump_clock: MockClock) -> None:
    connection = Connection("sse", "192.0.2.1:5", inf)
    await trio.sleep(12.5)
    access_log.stream_ended(connection, "/topics/a", ending="stalled")
    line = lines.only()
    assert line.getMessage() == "GET /topics/a 200 sse 12.500 s (stalled)"
    assert (line.transport, line.seconds) == ("sse", 12.5)
    assert (line.status, line.ending) == (200, "stalled")


async def test_a_long_path_is_cut(lines: Lines) -> None:
    access_log.answered("GET", "/" + "x" * 10_000, 404, seconds=0)
    assert len(lines.only().getMessage()) < 600


async def test_it_can_be_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, access_log.LOGGER)
    assert not access_log.is_on()
    access_log.answered("GET", "/", 200, seconds=0)
    access_log.stream_ended(Connection("sse", "", inf), "/topics/a")
    assert caplog.records == []


async def test_a_send_that_notes_its_answer(lines: Lines, autojump_clock: MockClock) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        await trio.sleep(0.5)
        sent.append(message)

    scope = {"method": "POST", "path": "/topics/a", "client": ("192.0.2.1", 5)}
    answer = access_log.Answer(scope, send)
    await answer({"type": "http.response.start", "status": 422, "headers": []})
    await answer({"type": "http.response.body", "body": b"abc", "more_body": True})
    assert lines.all() == []
    await answer({"type": "http.response.body", "body": b"de"})
    assert len(sent) == 3
    assert lines.only().getMessage() == "POST /topics/a 422 http 1.500 s 5 bytes"
    assert lines.only().client == "192.0.2.1:5"


async def test_pages_are_noted_without_their_query(lines: Lines) -> None:
    async with serving(Server()) as driver:
        await driver.fetch("GET", "/health/live?token=s3cr3t")
        await driver.fetch("GET", "/absent")
    noted = lines.all()
    assert [(line.path, line.status) for line in noted] == [("/health/live", 200), ("/absent", 404)]
    assert noted[0].client == "192.0.2.7:5000"
    assert noted[0].bytes > 0
    assert "s3cr3t" not in str([vars(line) for line in noted])
