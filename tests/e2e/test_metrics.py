"""``/metrics``, ``/stats`` and ``/asyncapi.json`` of a real server that real clients read."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from .clients import MESSAGE_TYPES, open_messages, open_socket, open_sse
from .serving import ServerProcess, eventually


def scrape(server: ServerProcess) -> dict[str, float]:
    """Every sample by its name and labels, as they stand in the text."""
    answer = server.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def sample(samples: dict[str, float], name: str, **labels: str) -> float:
    return samples[f"{name}{sorted(labels.items())}"]


async def test_deliveries_are_counted(server: ServerProcess) -> None:
    before = scrape(server)

    def grown(name: str, **labels: str) -> float:
        return sample(scrape(server), name, **labels) - sample(before, name, **labels)

    with open_sse(server, "anything") as sse, open_messages(server, "anything", MESSAGE_TYPES[0]):
        # Little is done while the WebSocket is open: its client answers no ping meanwhile.
        async with open_socket(server) as socket:
            assert (await socket.ask(type="subscribe", topic="anything"))["type"] == "subscribed"
            assert server.post("anything", "x").status_code == 201
            assert (await socket.next())["type"] == "event"
            connected = scrape(server)
        assert sse.next().data == '"x"'
        for transport in ("sse", "ndjson", "websocket"):
            assert sample(connected, "penstock_connections", transport=transport) == 1
            assert grown("penstock_events_delivered_total", transport=transport) == 1
            assert grown("penstock_delivered_bytes_total", transport=transport) > 5
    assert sample(connected, "penstock_topic_subscribers", topic="anything") == 3
    assert grown("penstock_delivery_lag_seconds_count") >= 3
    assert grown("penstock_topic_events_total", topic="anything") == 1
    assert grown("penstock_events_published_total") == 1
    assert server.post("people", {"name": 1}).status_code == 422
    assert grown("penstock_publications_refused_total", reason="invalid") == 1


def test_the_process_and_the_loop(server: ServerProcess) -> None:
    samples = scrape(server)
    assert abs(sample(samples, "process_resident_memory_bytes") - server.rss) < 20e6
    assert sample(samples, "process_open_fds") > 5
    assert sample(samples, "process_cpu_seconds_total") > 0
    assert sample(samples, "penstock_uptime_seconds") > 0
    assert sample(samples, "penstock_server_state", state="ready") == 1
    assert sample(samples, "penstock_pipeline_state", topic="ticks", state="running") == 1
    assert sample(samples, "penstock_stage_items_out_total", topic="ticks", stage="every(0.05)") > 0
    later = eventually(
        lambda: (
            seen
            if sample(seen := scrape(server), "penstock_event_loop_delay_seconds_count") > 1
            else None
        )
    )
    assert sample(later, "penstock_event_loop_delay_seconds_sum") > 0


def test_open_metrics(server: ServerProcess) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = server.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_stats_have_the_whole_tree(server: ServerProcess) -> None:
    stats = server.stats()
    assert stats["process"]["rss"] > 10e6
    assert stats["loop_delay"]["max"] < 60
    assert set(stats["counters"]["events_out"]) == {"sse", "ndjson", "msgpack", "json", "websocket"}
    with open_sse(server, "silent"):
        lags = eventually(lambda: server.stats()["connections"]["lag"].get("sse"))
    assert lags == {"p50": 0, "p95": 0, "p99": 0, "max": 0}


def test_asyncapi(server: ServerProcess) -> None:
    answer = server.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    document: Any = answer.json()
    assert document["asyncapi"] == "3.0.0"
    assert document["info"]["title"] == "Test <bench>"
    assert document["servers"]["http"] == {
        "host": f"{server.host}:{server.port}",
        "protocol": "http",
    }
    assert document["channels"]["people"]["address"] == "/topics/people"
    assert document["components"]["schemas"]["Person"]["required"] == ["name"]
