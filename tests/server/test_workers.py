"""Several workers are refused, with the reason: by the command line, and by the application."""

import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from penstock_server import Server
from penstock_server.commands import serve
from penstock_server.workers import workers_of

CONFIG = "from penstock_server import Server\nserver = Server()\n"


@pytest.mark.parametrize("workers", ["2", "0", "-1", "100"])
def test_the_command_line_refuses_them(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    result = CliRunner().invoke(serve, [str(path), "--workers", workers])
    assert result.exit_code == 2
    assert f"--workers {workers}: a server is one process" in result.output
    assert "behind a proxy" in " ".join(result.output.split())


class Config:
    def __init__(self, workers: object) -> None:
        self.workers = workers


class Lifespan:
    """What is behind Hypercorn's ``send`` of the lifespan."""

    def __init__(self, workers: object) -> None:
        self.config = Config(workers)
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        return {"type": "lifespan.startup"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.mark.parametrize(("told", "workers"), [(2, 2), (1, 1), (0, 1), ("many", 1), (None, 1)])
async def test_how_many_there_are(told: object, workers: int) -> None:
    assert workers_of(Lifespan(told).send) == workers


async def test_where_that_is_not_known_it_is_one() -> None:
    async def send(_: object) -> None: ...

    assert workers_of(send) == 1


@pytest.mark.expect_error_log
async def test_the_application_does_not_start_in_one_of_several(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, lifespan = Server(), Lifespan(3)
    await server({"type": "lifespan"}, lifespan.receive, lifespan.send)
    (answer,) = lifespan.sent
    assert answer["type"] == "lifespan.startup.failed"
    assert "one process" in answer["message"]
    assert not server.hub.running
    (record,) = (each for each in caplog.records if each.levelno >= logging.ERROR)
    assert record.getMessage().startswith("3 workers: a server is one process")
