"""The log of a real process: one record a line, no secrets, an access log; and one process only."""

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

from .conftest import StartServer
from .serving import HYPERCORN, ROOT, ServerProcess, eventually

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def records(server: ServerProcess) -> list[Any]:
    """The records of a JSON log; fails where a line is no record."""
    lines = server.stderr.splitlines()
    serving = [line for line in lines if line.startswith("penstock: serving on http://")]
    assert len(serving) == 1
    return [json.loads(line) for line in lines if line not in serving]


def found(server: ServerProcess, wanted: Callable[[Any], bool]) -> Any:
    """The first record that is wanted, once it is there."""
    return eventually(lambda: next((each for each in records(server) if wanted(each)), None))


def test_as_json_each_line_is_a_record(start_server: StartServer) -> None:
    server = start_server("topics.py", "--log-format", "json")
    assert server.post("raw", "poison").status_code == 201
    failure = found(server, lambda each: each["level"] == "error" and "poison" in each["message"])
    assert failure["logger"] == "penstock.topics"
    assert re.fullmatch(STAMP, failure["time"])
    secret = {"authorization": "Bearer s3cr3t", "cookie": "penstock_token=s3cr3t"}
    path = "/topics/a%0d%0ab%1b[31m?token=s3cr3t&format=json"
    assert server.get(path, headers=secret).status_code == 404
    line = found(server, lambda each: each.get("status") == 404)
    assert (line["logger"], line["method"]) == ("penstock.access", "GET")
    assert line["path"] == "/topics/a\r\nb\x1b[31m"
    assert line["transport"] == "http"
    assert line["bytes"] > 0
    assert 0 < line["seconds"] < 10
    server.signal()
    assert server.wait(10) == 0
    assert any("draining" in each["message"] for each in records(server))
    assert "s3cr3t" not in server.stderr
    assert server.stderr.isascii()


def test_text_is_for_people_and_has_no_secrets_either(start_server: StartServer) -> None:
    server = start_server("topics.py")
    server.get("/topics/a%0ab?token=s3cr3t", headers={"authorization": "Bearer s3cr3t"})
    server.get("/stats?token=s3cr3t")
    eventually(lambda: "GET /stats 200" in server.stderr)
    assert re.search(rf"(?m)^{STAMP} INFO penstock\.access: GET /stats 200 http", server.stderr)
    assert "\n    b 404 http" in server.stderr
    assert "s3cr3t" not in server.stderr


def test_it_can_be_quiet(start_server: StartServer) -> None:
    server = start_server("defaults.py", "--log-level", "warning")
    assert server.get("/stats").status_code == 200
    server.signal()
    assert server.wait(10) == 0
    assert len(server.stderr.splitlines()) == 1


def test_several_workers_of_a_plain_hypercorn_do_not_start() -> None:
    command = (*HYPERCORN, "-w", "2", "examples.machine:server")
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "2 workers: a server is one process" in ended.stderr
