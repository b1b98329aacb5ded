"""``application/json``: one page, or a long poll."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .serving import ServerProcess, eventually


def page(server: ServerProcess, topic: str, **query: Any) -> Any:
    answer = server.get(f"/topics/{topic}", params={"format": "json", **query})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_a_whole_log_page_by_page(server: ServerProcess) -> None:
    cursor = server.cursor("anything")
    published = [server.post("anything", n).json()["last"] for n in range(7)]
    pages: list[Any] = []
    for _ in range(4):
        pages.append(page(server, "anything", after=cursor, limit=3))
        cursor = pages[-1]["next"]
    assert [len(each["events"]) for each in pages] == [3, 3, 1, 0]
    events = [event for each in pages for event in each["events"]]
    assert events == [{"id": id_, "data": n} for n, id_ in enumerate(published)]
    assert [each["next"] for each in pages] == [published[n] for n in (2, 5, 6, 6)]
    assert not any(each["end"] or "gap" in each for each in pages)


def test_by_default_a_page_has_a_hundred_events(server: ServerProcess) -> None:
    cursor = server.cursor("anything")
    body = "\n".join(map(str, range(1200)))
    assert server.post_body("anything", body, "application/x-ndjson").status_code == 201
    assert len(page(server, "anything", after=cursor)["events"]) == 100
    assert len(page(server, "anything", after=cursor, limit=1000)["events"]) == 1000


def test_end_and_names(server: ServerProcess) -> None:
    first = page(server, "named", after="earliest", limit=2)
    assert [event.get("event") for event in first["events"]] == ["first", None]
    assert first["end"] is False
    rest = page(server, "named", after=first["next"], wait=5)
    assert [event["event"] for event in rest["events"]] == ["größe"]
    assert rest["end"] is True
    over = page(server, "named", after=rest["next"], wait=5)
    assert over == {"events": [], "next": rest["next"], "end": True}


def test_gap(server: ServerProcess) -> None:
    old = server.post("small", "old").json()["last"]
    for n in range(7):
        server.post("small", n)
    got = page(server, "small", after=old, limit=1, wait=5)
    assert got["gap"]["type"] == "gap"
    assert (got["gap"]["requested"], got["gap"]["missed"]) == (old, 2)
    assert got["events"] == [{"id": got["next"], "data": 2}]


def test_a_long_poll_answers_as_soon_as_there_is_something(server: ServerProcess) -> None:
    cursor = server.cursor("silent")
    with ThreadPoolExecutor() as pool:
        asked = time.monotonic()
        poll = pool.submit(page, server, "silent", after=cursor, wait=8)
        eventually(lambda: server.stats()["topics"]["silent"]["subscribers"] == 1)
        assert not poll.done()
        last = server.post("silent", "something").json()["last"]
        got = poll.result(2)
    assert time.monotonic() - asked < 2
    assert got == {"events": [{"id": last, "data": "something"}], "next": last, "end": False}


def test_a_long_poll_gives_an_empty_page_in_the_end(server: ServerProcess) -> None:
    started = time.monotonic()
    got = page(server, "silent", wait=0.3)
    assert 0.3 <= time.monotonic() - started < 1
    assert got == {"events": [], "next": server.cursor("silent"), "end": False}
    eventually(lambda: server.stats()["topics"]["silent"]["subscribers"] == 0)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=2.5",
        "limit=many",
        "limit=",
        "limit=" + "9" * 6000,
        "wait=-1",
        "wait=61",
        "wait=nan",
        "wait=inf",
        "wait=soon",
        "after=soon",
    ],
)
def test_bad_parameters(server: ServerProcess, query: str) -> None:
    answer = server.get(f"/topics/anything?format=json&{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 500
