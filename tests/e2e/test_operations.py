"""``/``, ``/topics``, ``/stats`` and the health checks."""

from typing import Any

from .clients import MESSAGE_TYPES, open_messages, open_socket, open_sse
from .serving import ServerProcess, eventually


def test_health(server: ServerProcess) -> None:
    live = server.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = server.get("/health/ready").json()
    assert ready["status"] == "ready"
    assert ready["topics"]["anything"] == "open"
    assert ready["topics"]["clean"] in ("running", "restarting")


def test_topics(server: ServerProcess) -> None:
    cursor = server.cursor("people")
    with open_sse(server, "people"):
        answer = server.get("/topics")
    assert answer.headers["content-type"] == "application/json"
    topics = {topic["name"]: topic for topic in answer.json()["topics"]}
    assert {"people", "points", "readings", "anything", "lines", "ticks"} <= set(topics)
    people = topics["people"]
    assert people["cursor"] == cursor
    assert people["publishable"] is True
    assert people["subscribers"] == 1
    definition = people["schema"]["$defs"]["Person"]
    assert definition["properties"]["name"] == {"type": "string"}
    assert definition["required"] == ["name"]
    assert topics["ticks"]["publishable"] is False
    assert topics["ticks"]["schema"] is None
    assert topics["countdown"]["retained"] == 4
    assert topics["small"]["retained"] <= 5


async def test_stats_count_connections(server: ServerProcess) -> None:
    def counted() -> Any:
        return server.stats()["connections"]["by_transport"]

    eventually(lambda: not counted())
    with (
        open_sse(server, "silent"),
        open_messages(server, "silent", MESSAGE_TYPES[0]),
        open_messages(server, "silent", MESSAGE_TYPES[1]),
    ):
        async with open_socket(server):
            expected = {"sse": 1, "ndjson": 1, "msgpack": 1, "websocket": 1}
            eventually(lambda: counted() == expected)
            assert server.stats()["connections"]["total"] == 4
    eventually(lambda: not counted())


def test_stats_show_pipelines_and_topics(server: ServerProcess) -> None:
    before = server.stats()
    server.post("raw", "wanted")
    stats = eventually(
        lambda: (
            seen
            if (seen := server.stats())["topics"]["clean"] != before["topics"]["clean"]
            else None
        )
    )
    assert stats["status"] == "ready"
    assert stats["uptime"] > 0
    assert stats["published"] == before["published"] + 1
    assert stats["topics"]["raw"]["last"] == before["topics"]["raw"]["last"] + 1
    stages = stats["pipelines"]["clean"]["stages"]
    assert any("filter" in stage["name"] for stage in stages)
    assert all(stage["items_in"] >= 0 for stage in stages)
    assert "anything" not in stats["pipelines"]


def test_index(server: ServerProcess) -> None:
    answer = server.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "bench" not in answer.text  # it is the same page for everybody; data comes by itself
    assert server.stats()["title"] == "Test <bench>"


def test_unknown_pages(server: ServerProcess) -> None:
    assert server.get("/absent").status_code == 404
    server.assert_unharmed()
