"""What ``/metrics`` says, read back with Prometheus's own parsers."""

from collections.abc import Iterable
from math import inf
from typing import Any

import pytest
import trio
from prometheus_client import openmetrics
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

import penstock as ps
from penstock_server import Server
from penstock_server.connections import Connection
from penstock_server.counters import TRANSPORTS
from penstock_server.metrics import Metrics

from .asgi_driver import serving

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Samples:
    """The samples of a text, by name and labels."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = {family.name: family for family in families}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._values[name, frozenset(labels.items())]

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(found)[label] for each, found in self._values if each == name}


async def scrape(server: Server, accept: str = "") -> Samples:
    text, _ = await Metrics(server.hub).render(accept)
    return Samples(text_string_to_metric_families(text.decode()))


@pytest.mark.expect_error_log
async def test_pipelines(autojump_clock: MockClock) -> None:
    server = Server()

    @server.topic("ticks")
    def ticks() -> ps.Stream[int]:
        return ps.every(1).buffer(10).map(lambda n: n * n)

    @server.topic("broken")
    def broken() -> ps.Stream[float]:
        return ps.every(1).map(lambda n: 1 / n)

    server.topic("chat", accepts=int)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        await trio.sleep(4.5)
        seen = await scrape(server)
        nursery.cancel_scope.cancel()
    assert seen("penstock_topic_events_total", topic="ticks") == 5
    assert seen("penstock_topic_retained_events", topic="ticks") == 5
    assert seen("penstock_topic_retained_bytes", topic="ticks") > 5
    assert seen("penstock_pipeline_state", topic="ticks", state="running") == 1
    assert seen("penstock_pipeline_state", topic="ticks", state="restarting") == 0
    assert seen("penstock_pipeline_restarts_total", topic="broken") >= 1
    assert seen.labels("penstock_pipeline_state", "topic") == {"ticks", "broken"}
    assert seen("penstock_stage_items_out_total", topic="ticks", stage="every(1)") == 5
    assert seen("penstock_stage_items_in_total", topic="ticks", stage="buffer") == 5
    assert seen("penstock_stage_held_items", topic="ticks", stage="buffer") == 0
    for name in ("retries", "dead_letters", "late_items", "dropped_items", "evicted_keys"):
        assert seen(f"penstock_stage_{name}_total", topic="ticks", stage="map(<lambda>)") == 0
    assert seen("penstock_stage_held_the_loop_total", topic="ticks", stage="buffer") == 0
    assert seen("penstock_buffer_capacity_items", topic="ticks", before="buffer") == 10
    assert seen("penstock_buffer_peak_items", topic="ticks", before="buffer") == 1
    assert seen("penstock_buffer_items", topic="ticks", before="buffer") == 0
    assert seen("penstock_uptime_seconds") == 4.5
    assert seen("penstock_server_state", state="ready") == 1
    assert seen("penstock_server_state", state="draining") == 0
    assert seen("penstock_event_loop_delay_seconds_count") in (17, 18)


async def test_what_was_counted() -> None:
    server = Server()
    counters = server.hub.counters
    counters.events_out["sse"] += 3
    counters.bytes_out["websocket"] += 1000
    counters.gaps["slow"] += 2
    counters.skipped += 7
    counters.conflated += 4
    counters.disconnected["stalled"] += 1
    counters.refused["invalid"] += 5
    counters.stalls += 6
    counters.lag.observe(0.002, 10)
    counters.lag.observe(3.0)
    server.hub.published = 8
    seen = await scrape(server)
    assert seen("penstock_events_delivered_total", transport="sse") == 3
    assert seen("penstock_delivered_bytes_total", transport="websocket") == 1000
    assert seen("penstock_gaps_total", reason="slow") == 2
    assert seen("penstock_events_skipped_total") == 7
    assert seen("penstock_events_conflated_total") == 4
    assert seen("penstock_disconnects_total", reason="stalled") == 1
    assert seen("penstock_publications_refused_total", reason="invalid") == 5
    assert seen("penstock_stalls_total") == 6
    assert seen("penstock_events_published_total") == 8
    assert seen("penstock_delivery_lag_seconds_bucket", le="0.001") == 0
    assert seen("penstock_delivery_lag_seconds_bucket", le="0.0025") == 10
    assert seen("penstock_delivery_lag_seconds_bucket", le="2.5") == 10
    assert seen("penstock_delivery_lag_seconds_bucket", le="+Inf") == 11
    assert seen("penstock_delivery_lag_seconds_count") == 11
    assert seen("penstock_delivery_lag_seconds_sum") == pytest.approx(3.02)


async def test_connections_by_transport() -> None:
    server = Server()
    leave = server.hub.connect(Connection("sse", "", inf))
    server.hub.connect(Connection("websocket", "", inf))
    leave()
    seen = await scrape(server)
    assert seen.labels("penstock_connections", "transport") == set(TRANSPORTS)
    assert seen("penstock_connections", transport="sse") == 0
    assert seen("penstock_connections", transport="websocket") == 1
    assert seen("penstock_connections_opened_total", transport="sse") == 1


async def test_a_template_is_one_label(autojump_clock: MockClock) -> None:
    server = Server()
    rooms = server.topic("room.{room}", accepts=int, idle=10, max_instances=500)

    @server.topic("feed.{name}", start="eager")
    def feed(name: str) -> ps.Stream[int]:
        return ps.every(1)

    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        for number in range(300):
            await rooms.instance(room=str(number)).publish(number)
        await rooms.instance(room="7").publish(8)
        feed.instance(name="a")
        feed.instance(name="b")
        await trio.sleep(0.5)
        seen = await scrape(server)
        text, _ = await Metrics(server.hub).render("")
        await trio.sleep(60)
        later = await scrape(server)
        nursery.cancel_scope.cancel()
    template = "room.{room}"
    assert seen("penstock_topic_events_total", topic=template) == 301
    assert seen("penstock_topic_instances", topic=template) == 300
    assert seen("penstock_pipeline_state", topic="feed.{name}", state="running") == 2
    assert text.decode().count(template) < 10
    assert b"room.7" not in text
    assert b"feed.a" not in text
    # The sum of a counter doesn't fall when the instances go.
    assert later("penstock_topic_instances", topic=template) == 0
    assert later("penstock_topic_events_total", topic=template) == 301


# The formats


async def test_every_family_is_named_as_prometheus_wants_it() -> None:
    server = Server()
    server.topic("chat", accepts=int)
    seen = await scrape(server)
    for family in seen.families.values():
        assert family.name.startswith(("penstock_", "process_"))
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_ms", "_milliseconds", "_kb", "_count"))
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total")
            assert sample.value == sample.value
    for name in ("process_resident_memory_bytes", "process_open_fds"):
        assert seen(name) > 0
    assert seen.families["process_cpu_seconds"].type == "counter"


async def test_open_metrics_where_it_is_asked_for() -> None:
    server = Server()
    server.topic("chat", accepts=int)
    text, kind = await Metrics(server.hub).render(f"{OPEN_METRICS}, text/plain;q=0.5")
    assert kind.startswith(openmetrics.exposition.CONTENT_TYPE_LATEST.split(";")[0])
    assert text.endswith(b"# EOF\n")
    seen = Samples(openmetrics_parser.text_string_to_metric_families(text.decode()))  # type: ignore[no-untyped-call]
    assert seen("penstock_topic_events_total", topic="chat") == 0
    assert seen.families["penstock_topic_events"].type == "counter"


async def test_names_of_topics_and_stages_are_escaped() -> None:
    server = Server()
    server.topic("chat", accepts=int)
    server.hub.counters.retire('evil"\n\\', events=3, restarts=0)
    assert (await scrape(server))("penstock_topic_events_total", topic='evil"\n\\') == 3


async def test_many_samples_are_put_together_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    for number in range(300):
        server.topic(f"t{number}", accepts=int)
    threads: list[Any] = []
    run_sync = trio.to_thread.run_sync

    async def noted(function: Any) -> Any:
        threads.append(function)
        return await run_sync(function)

    monkeypatch.setattr(trio.to_thread, "run_sync", noted)
    seen = await scrape(server)
    assert len(threads) == 1
    assert len(seen.labels("penstock_topic_events_total", "topic")) == 300


async def test_the_route() -> None:
    server = Server()
    server.topic("chat", accepts=int)
    async with serving(server) as driver:
        response, body = await driver.fetch("GET", "/metrics")
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        seen = Samples(text_string_to_metric_families(body.decode()))
        assert seen("penstock_server_state", state="ready") == 1
        response, body = await driver.fetch("GET", "/metrics", {"accept": OPEN_METRICS})
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")


async def test_two_servers_have_nothing_in_common() -> None:
    one, other = Server(), Server()
    one.topic("a", accepts=int)
    one.hub.counters.stalls += 1
    assert (await scrape(one))("penstock_stalls_total") == 1
    assert (await scrape(other))("penstock_stalls_total") == 0
    assert (await scrape(other)).families.get("penstock_topic_events") is not None
    assert (await scrape(other)).labels("penstock_topic_events_total", "topic") == set()
