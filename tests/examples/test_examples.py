"""What the examples serve, without a browser: over HTTP and WebSocket."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import penstock as ps
from penstock.config import load

from ..e2e.clients import open_socket
from ..e2e.serving import ROOT, ServerProcess, eventually
from .conftest import ServeExample

EXAMPLES = ROOT / "examples"
PAGES = ("notifications", "machine", "room", "census", "editor", "logfile")


def events(server: ServerProcess, topic: str) -> list[Any]:
    """The data of all events of a topic."""
    page = server.get(f"/topics/{topic}?format=json&after=earliest").json()
    return [event["data"] for event in page["events"]]


def test_notifications_come_from_a_route_a_job_and_anybody(serve_example: ServeExample) -> None:
    server = serve_example("notifications")
    order = {"user": "ada", "item": "tea", "seconds": 0}
    placed = server.client.post(f"{server.url}/orders", json=order)
    assert placed.status_code == 201
    done = server.client.post(f"{server.url}/jobs/pack", json=order)
    assert done.status_code == 200
    assert 'data: "sent"' in done.text
    once = {"Idempotency-Key": "build-1"}
    for _ in range(2):
        assert server.post("notify.ada", {"title": "Built"}, headers=once).status_code == 201
    told = events(server, "notify.ada")
    assert [each["title"] for each in told] == ["Order received", "On its way", "Built"]
    assert events(server, "notify.nobody") == []


@pytest.mark.parametrize(
    "order", [{"user": "Ada Lovelace", "item": "tea"}, {"user": "ada"}, {"user": "ada", "item": ""}]
)
def test_an_order_that_is_wrong_is_refused(
    serve_example: ServeExample, order: dict[str, str]
) -> None:
    server = serve_example("notifications")
    assert server.client.post(f"{server.url}/orders", json=order).status_code == 422
    assert server.client.post(f"{server.url}/jobs/pack", json=order).status_code == 422


def test_a_room_takes_messages_that_fit(serve_example: ServeExample) -> None:
    server = serve_example("room")
    wrong = [
        {"name": "", "text": "hello"},
        {"name": "ada", "text": "x" * 1001},
        {"name": "a" * 31, "text": "hello"},
        {"text": "hello"},
    ]
    assert {server.post("room.attic", message).status_code for message in wrong} == {422}
    assert events(server, "room.attic") == []
    assert server.post("room.attic", {"name": "ada", "text": "hello"}).status_code == 201
    assert events(server, "room.attic") == [{"name": "ada", "text": "hello"}]


async def test_a_document_is_the_newest_of_each_paragraph(serve_example: ServeExample) -> None:
    server = serve_example("editor")
    written = [("one", "g", "a"), ("two", "m", "b"), ("one", "g", "c"), ("two", "m", None)]
    for id_, place, text in written:
        paragraph = {"id": id_, "place": place, "text": text}
        assert server.post("text.conflated", paragraph).status_code == 201
    assert server.post("text.conflated", {"id": "one", "place": "7", "text": ""}).status_code == 422
    async with open_socket(server) as socket:
        await socket.send(
            {
                "type": "subscribe",
                "topic": "text.conflated",
                "after": "earliest",
                "slow": "conflate",
            }
        )
        shown = [(await socket.find("event"))["data"] for _ in range(2)]
    assert [(each["id"], each["text"]) for each in shown] == [("one", "c"), ("two", None)]


async def test_who_gives_a_sign_of_life_is_there(serve_example: ServeExample) -> None:
    server = serve_example("editor")
    async with open_socket(server) as socket:
        await socket.ask(type="subscribe", topic="there.beats")
        for who in ("x", "y", "x"):
            server.post("beat.beats", {"who": who, "name": who.upper(), "paragraph": None})
        there: list[str] = []
        while there != ["x", "y"]:
            there = sorted(each["who"] for each in (await socket.find("event"))["data"])


def test_a_census_tells_how_far_it_is(serve_example: ServeExample, library: Path) -> None:
    (library / "package").mkdir()
    (library / "package" / "module.py").write_text("import os\n\n\ndef f():\n    pass\n")
    (library / "broken.py").write_text("x = (\n")
    server = serve_example("census")
    job = f"{server.url}/jobs/census"
    accept = {"accept": "application/json"}
    started = server.client.post(job, json={"workers": 1}, headers={"prefer": "respond-async"})
    run = started.headers["location"]

    def over(run: str) -> Any:
        page = server.get(run, headers=accept).json()
        return page if page["status"] != "running" else None

    page = eventually(lambda: over(run), timeout=15)
    *progress, result = page["events"]
    assert page["status"] == "done"
    assert {each["event"] for each in progress} == {"progress"}
    assert progress[-1]["data"] == {"done": 2, "files": 2, "left_out": 1}
    assert result["event"] == "result"
    counted = {"package": "package", "files": 1, "lines": 5, "functions": 1, "classes": 0}
    assert result["data"] == [{**counted, "imports": 1}]

    started = server.client.post(
        job, json={"workers": 1, "strict": True}, headers={"prefer": "respond-async"}
    )
    page = eventually(lambda: over(started.headers["location"]), timeout=15)
    assert page["status"] == "failed"
    assert page["events"][-1]["event"] == "error"
    assert server.client.post(job, json={"workers": 0}).status_code == 422


def test_the_demo_of_the_log_file_writes_one(serve_example: ServeExample) -> None:
    server = serve_example("logfile")
    counted = eventually(lambda: [each for each in events(server, "levels") if each["counts"]])
    assert set(counted[0]["counts"]) <= {"DEBUG", "INFO", "WARNING", "ERROR"}
    assert " " in events(server, "lines")[0]


@pytest.fixture
def own_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the block imports is forgotten, and no other test finds the examples by their names."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    yield
    for name in {*sys.modules} - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == EXAMPLES:
            del sys.modules[name]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.usefixtures("own_imports")
def test_it_loads_and_its_pipelines_build(name: str) -> None:
    file = load(EXAMPLES / f"{name}.py")
    assert list(file.servers) == ["server"]
    for topic, builder in file.builders():
        assert isinstance(file.build(topic, builder), ps.Stream)


@pytest.mark.parametrize("name", PAGES)
def test_its_page_names_nothing_from_elsewhere(serve_example: ServeExample, name: str) -> None:
    server = serve_example(name)
    page = server.get(f"/{name}")
    assert page.status_code == 200
    for address in _named_in(page.text):
        assert address.startswith("/")
        assert server.get(address).status_code == 200, address
    assert server.get("/static/../room.py").status_code == 404
    assert server.get("/static/%2e%2e/room.py").status_code == 404


def _named_in(html: str) -> list[str]:
    """What attributes of a page lead to."""
    return [each.partition('"')[0] for mark in ('href="', 'src="') for each in html.split(mark)[1:]]
