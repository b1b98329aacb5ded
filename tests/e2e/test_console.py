"""The console shows what the server says, does what it offers, and comes back by itself."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ..server.auth.issuing import issue
from .clients import open_messages, open_sse
from .conftest import Launch, StartServer
from .console_page import Console, console, number
from .serving import CONFIGS, SERVE, ServerProcess, eventually

CONFIG = "console.py"
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title = 2</script>'
UNKNOWN = "\N{EN DASH}"
"""How the console writes a figure that there is not."""


@pytest.fixture(scope="module")
def works(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / CONFIG), "--bind", "127.0.0.1:0"))


@pytest.fixture(scope="module")
def shared(browser: Browser, works: ServerProcess) -> Iterator[Console]:
    with console(browser, works) as tab:
        yield tab


@pytest.fixture
def tab(shared: Console) -> Iterator[Console]:
    """One tab for all that do nothing to it: they go from view to view, as a person does."""
    shared.begin()
    yield shared
    assert not shared.complaints, shared.complaints


# What it shows


def test_the_overview_is_what_the_server_says(tab: Console, works: ServerProcess) -> None:
    with open_sse(works, "ticks"):
        tab.open()
        stats = works.stats()
        page = tab.page
        expect(page.locator("#title")).to_have_text(stats["title"])
        expect(page.locator("#state")).to_have_text("ready")
        expect(page.locator("tbody tr[data-topic]")).to_have_count(len(stats["topics"]))
        for name in ("ticks", "factory", "reports", "on.demand"):
            state = stats["pipelines"].get(name, {"state": "open"})["state"]
            assert tab.cells("topic", name)[1] == state

        def agrees() -> bool:
            stats = works.stats()
            shown = tab.cells("topic", "ticks")
            topic = stats["topics"]["ticks"]
            readers = str(topic["subscribers"]) == shown[7] == "1"
            connections = page.locator("[data-tile=connections] .figure").inner_text()
            return (
                readers
                and 0 <= topic["last"] - number(shown[4]) <= 15  # a second or two of them
                and connections == str(stats["connections"]["total"]) == "1"
            )

        tab.until(agrees)
        tab.until(lambda: 3 <= number(tab.cells("topic", "ticks")[2]) <= 7, "5 a second")
        tiles = page.locator(".tile dt").all_inner_texts()
        assert tiles == [
            "Events in",
            "Events out",
            "Connections",
            "Bytes out",
            "Loop delay",
            "Memory",
        ]
        out = page.locator("[data-tile=out]")
        tab.until(lambda: number(out.locator(".figure").inner_text()) >= 3)
        tab.until(lambda: out.locator(".sparkline .line").get_attribute("d"))


def test_connections_by_transport(tab: Console, works: ServerProcess) -> None:
    with open_sse(works, "odd"), open_messages(works, "ticks", "application/x-ndjson"):
        tab.open("connections")
        wanted = works.stats()["connections"]["by_transport"]
        assert wanted == {"sse": 1, "ndjson": 1}

        def agrees(transport: str) -> bool:
            return tab.cells("transport", transport)[1] == str(wanted.get(transport, 0))

        for transport in ("sse", "ndjson", "msgpack", "json", "websocket"):
            tab.until(partial(agrees, transport), transport)
        lag = tab.cells("transport", "ndjson")
        assert int(lag[5]) <= int(lag[7]) <= int(lag[8])
        assert tab.cells("transport", "websocket")[5] == UNKNOWN
        assert tab.fact("total") == "2"
        assert tab.fact("watching") == "1"


def test_the_graph_is_the_pipeline(tab: Console, works: ServerProcess) -> None:
    tab.open("topics/factory")
    page = tab.page
    pipeline = works.stats()["pipelines"]["factory"]
    nodes = page.locator("g[data-stage]")
    expect(nodes).to_have_count(len(pipeline["stages"]))
    shown = nodes.evaluate_all("nodes => nodes.map(node => node.dataset.stage)")
    assert shown == [stage["name"] for stage in pipeline["stages"]]
    buffers = page.locator("g[data-buffer]").evaluate_all(
        "nodes => nodes.map(node => node.dataset.buffer)"
    )
    assert buffers == [buffer["before"] for buffer in pipeline["buffers"]]

    merge = next(each for each in pipeline["buffers"] if each["before"] == "merge")
    assert len(merge["after"]) == 3
    places = {name: _left_of(page, name) for name in (*merge["after"], "merge")}
    assert len({places[name] for name in merge["after"]}) == 1, "one layer feeds the merge"
    assert places["merge"] > max(places[name] for name in merge["after"])

    assert pipeline["bottleneck"] == "map_async(measure)"
    flagged = page.locator("g.bottleneck")
    expect(flagged).to_have_count(1)
    assert flagged.get_attribute("data-stage") == pipeline["bottleneck"]
    expect(flagged.locator(".flag-text")).to_have_text("▲ bottleneck")  # not by colour alone
    expect(page.locator("section[aria-label=Pipeline]")).to_contain_text(
        "Bottleneck: map_async(measure)"
    )

    def buffers_agree() -> bool:
        now = works.stats()["pipelines"]["factory"]["buffers"]
        return all(_buffer_agrees(page, each) for each in now)

    tab.until(buffers_agree)
    page.get_by_text("Figures of the stages and buffers").click()
    row = page.locator("details tr", has_text="map_async(measure)").first

    def figures_agree() -> bool:
        cells = row.locator("th, td").all_inner_texts()
        rates = 5 <= number(cells[1]) <= 45 and 50 <= number(cells[3]) <= 100
        return bool(rates and number(cells[5]) >= pipeline["stages"][-1]["items_in"])

    tab.until(figures_agree)


def _left_of(page: Page, stage: str) -> float:
    box = page.locator(f'g[data-stage="{stage}"] rect.stage').bounding_box()
    assert box is not None
    return round(box["x"])


def _buffer_agrees(page: Page, buffer: dict[str, Any]) -> bool:
    gauge = page.locator(f'g[data-buffer="{buffer["before"]}"]')
    held, most = gauge.locator("text").all_text_contents()[:2]
    shown, capacity = map(number, held.split(" / "))
    inner = 88  # pixels of a full gauge
    level = float(gauge.locator(".level").get_attribute("width") or -1)
    if abs(level - inner * shown / capacity) > 1:
        return False  # the text and the level were not looked at in the same moment
    near = abs(shown - buffer["held"]) <= max(60, 0.1 * capacity)  # it moves all the while
    peak = number(most.removeprefix("peak "))
    return bool(near and capacity == buffer["capacity"] and peak <= buffer["peak"])


def test_what_a_buffer_dropped(tab: Console, works: ServerProcess) -> None:
    tab.open("topics/lossy")
    lost = tab.page.locator("g[data-buffer] .fault")
    expect(lost).to_have_text(re.compile(r"[\d,]+ dropped"))
    (buffer,) = works.stats()["pipelines"]["lossy"]["buffers"]
    assert 0 < number(lost.text_content() or "") <= buffer["dropped"]
    expect(tab.page.locator("g[data-buffer].full")).to_have_count(1)


def test_failures_are_shown(tab: Console, works: ServerProcess) -> None:
    works.post("reports", {"author": 1})
    tab.open("topics/broken")
    panel = tab.page.locator("section[aria-label=Pipeline]")
    expect(panel.locator(".fault")).to_contain_text("ZeroDivisionError")
    expect(panel).to_contain_text(re.compile(r"\d+ restarts?"))
    tab.page.get_by_role("link", name="Troubles").click()
    seen = tab.page.locator(".troubles li")
    expect(seen.filter(has_text="broken").first).to_contain_text("ZeroDivisionError")
    before = works.stats()["counters"]["refused"]["invalid"]
    row = tab.page.locator("tr", has_text="did not fit the topic's schema")
    expect(row.locator("td").last).to_have_text(str(before))
    works.post("reports", {"author": 2})
    expect(row.locator("td").last).to_have_text(str(before + 1))
    expect(seen.filter(has_text="did not fit")).to_have_count(1)
    assert re.match(r"\d\d:\d\d:\d\d$", seen.first.locator("time").inner_text())


def test_hostile_data_is_text(tab: Console, works: ServerProcess) -> None:
    """The fixture fails on any script that ran, any dialog, and any violation of the policy."""
    tab.open("topics/hostile")
    page = tab.page
    data = page.locator(".tail td.data").first
    expect(data).to_contain_text("<script>document.title = 2</script>")
    expect(page.locator(".tail td.event").first).to_have_text("<b>odd</b>")
    assert page.locator("main script, main img, header b").count() == 0
    assert page.title() == "hostile · Works <b>3</b> & sons"
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    row = data.element_handle()  # the row itself: a newer one may still come before it
    assert row is not None
    short = len(row.inner_text())
    button = row.query_selector("button")
    assert button is not None
    button.click()
    assert len(row.inner_text()) > short + 500
    assert json.dumps(HOSTILE)[1:-1] in row.inner_text()
    tab.open("topics/odd")
    field = page.get_by_label("<script>alert(1)</script>")
    field.fill(HOSTILE)
    page.get_by_role("button", name="Publish").click()
    expect(page.locator(".result")).to_contain_text("Stored as event")
    expect(page.locator(".tail td.data").first).to_contain_text("<script>alert(1)</script>")
    tab.open("topics/%3Cimg%20src%3Dx%3E")
    expect(page.locator("main h2")).to_contain_text("<img src=x>")
    expect(page.locator("main")).to_contain_text("no such topic")


# Publishing and the tail


def test_publishing_by_the_form(tab: Console, works: ServerProcess) -> None:
    tab.open("topics/reports")
    page = tab.page
    form = page.get_by_role("form", name="Publish to reports")
    form.get_by_label("author").fill("Ada")
    form.get_by_label("amount").fill("12.5")
    form.get_by_label("level").select_option("high")
    form.get_by_label("urgent").select_option("true")
    form.get_by_label("hall").fill("north")
    form.get_by_label("note is null").check()
    tags = form.get_by_role("group", name="tags")
    for tag in ("a", "b"):
        tags.get_by_role("button", name="Add an item").click()
        tags.get_by_label("item").last.fill(tag)
    parts = form.get_by_role("group", name="parts")
    parts.get_by_role("button", name="Add an item").click()
    parts.get_by_label("hall").fill("south")
    parts.get_by_label("row", exact=True).fill("3")
    form.get_by_label("more").fill('{"x": 1}')
    form.get_by_label("Event name").fill("größer")
    form.get_by_role("button", name="Publish").click()
    expect(page.locator(".result")).to_contain_text("Stored as event")
    wanted = {
        "author": "Ada",
        "amount": 12.5,
        "level": "high",
        "urgent": True,
        "place": {"hall": "north"},
        "note": None,
        "tags": ["a", "b"],
        "parts": [{"hall": "south", "row": 3}],
        "more": {"x": 1},
    }
    newest = page.locator(".tail tbody tr").first
    expect(newest.locator(".event")).to_have_text("größer")
    assert json.loads(tab.tail()[0]) == wanted
    last = works.get("/topics/reports?format=json&after=earliest").json()["events"][-1]
    assert (last["data"], last["event"]) == (wanted, "größer")

    # What the server refuses is said at the field that it names, and so is what can't be read.
    parts.get_by_label("row", exact=True).fill("1.5")
    form.get_by_role("button", name="Publish").click()
    field = parts.get_by_label("row", exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(field).to_be_in_viewport()
    problem = page.locator(f"#{field.get_attribute('aria-describedby')}")
    expect(problem).to_contain_text("$.parts[0].row")
    field.fill("4")
    form.get_by_label("amount").fill("many")
    form.get_by_role("button", name="Publish").click()
    expect(form.get_by_label("amount")).to_be_focused()
    expect(form.locator(".problem:visible")).to_have_text("not a number: many")
    form.get_by_label("amount").fill("1e3")
    form.get_by_role("button", name="Publish").click()
    expect(page.locator(".result")).to_contain_text("Stored as event")
    assert json.loads(tab.until(lambda: _changed(tab, wanted)))["amount"] == 1000


def _changed(tab: Console, before: Any) -> str | None:
    newest = tab.tail()[0]
    return None if json.loads(newest) == before else newest


def test_any_value_is_published_as_json(tab: Console, works: ServerProcess) -> None:
    tab.open("topics/anything")
    area = tab.page.get_by_label("Data")
    area.fill("[1,")
    tab.page.get_by_role("button", name="Publish").click()
    expect(tab.page.locator(".problem:visible")).to_contain_text("not JSON")
    area.fill('[1, {"two": "zwei"}]')
    area.press("Tab")
    tab.page.get_by_role("button", name="Publish").press("Enter")
    tab.until(lambda: tab.tail()[:1] == ['[1,{"two":"zwei"}]'])


@pytest.mark.parametrize("topic", ["newest", "careful"])
def test_a_console_holds_nobody_up(tab: Console, works: ServerProcess, topic: str) -> None:
    """It reads with the mildest policy there is: a topic that conflates grants no other."""
    tab.open(f"topics/{topic}")
    eventually(lambda: works.stats()["topics"][topic]["subscribers"] == 1)
    assert works.post(topic, {"for": topic}).status_code == 201
    tab.until(lambda: tab.tail()[:1] == [json.dumps({"for": topic}, separators=(",", ":"))])


def test_topics_of_templates(tab: Console, works: ServerProcess) -> None:
    tab.open("topics")
    page = tab.page
    expect(page.locator("tr", has_text="room.{room}")).to_contain_text("yes")
    page.get_by_label("Open one of them").fill("room.7")
    page.get_by_role("button", name="Open").click()
    expect(page).to_have_url(re.compile(r"#/topics/room\.7$"))
    assert "room.7" not in works.stats()["topics"]  # looking makes none
    page.get_by_role("button", name="Follow").click()
    expect(page.locator("main h2")).to_contain_text("room.7")
    tab.until(lambda: works.stats()["topics"].get("room.7", {}).get("subscribers") == 1)
    page.get_by_label("Data").fill("hello")
    page.get_by_role("button", name="Publish").click()
    tab.until(lambda: tab.tail() == ['"hello"'])
    tab.open("topics")
    page.get_by_label("Filter").fill("room")
    expect(page.locator("tr[data-topic]")).to_have_count(1)


def test_a_thousand_events_a_second(tab: Console, works: ServerProcess) -> None:
    tab.open("topics/firehose")
    page = tab.page
    assert works.stats()["pipelines"]["firehose"]["state"] == "waiting"
    page.get_by_role("button", name="Follow").click()
    figures = page.locator(".tail-bar .figures")

    def pace() -> float:
        return number(figures.inner_text().partition(" · ")[2])

    tab.until(lambda: pace() > 300, "hundreds a second")
    drawn = page.evaluate(
        """() => new Promise((resolve) => {
            const body = document.querySelector(".tail tbody");
            let most = 0, changes = 0;
            new MutationObserver(() => changes += 1).observe(body, {childList: true});
            const began = performance.now();
            const look = () => {
                most = Math.max(most, body.rows.length);
                const seconds = (performance.now() - began) / 1000;
                if (seconds < 1) requestAnimationFrame(look);
                else resolve({most, changes, seconds});
            };
            look();
        })"""
    )
    assert drawn["most"] <= 100
    assert drawn["changes"] <= 4 * drawn["seconds"] + 2, "drawn four times a second at the most"
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")
    frozen = tab.tail()
    expect(figures).to_contain_text(re.compile(r"[1-9][\d,]* more since the pause"))
    assert tab.tail() == frozen
    page.get_by_role("searchbox").fill(frozen[3])
    tab.until(lambda: tab.tail() and all(frozen[3] in each for each in tab.tail()))
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Go on").click()
    tab.until(lambda: tab.tail() and tab.tail() != frozen)
    tab.open("")  # leaving lets go of the stream
    eventually(lambda: works.stats()["topics"]["firehose"]["subscribers"] == 0)


# Jobs


def test_jobs(tab: Console, works: ServerProcess) -> None:
    headers = {"prefer": "respond-async", "content-type": "application/json"}

    def start(job: str, body: Any) -> str:
        answer = works.client.post(f"{works.url}/jobs/{job}", json=body, headers=headers)
        assert answer.status_code == 202
        return answer.headers["location"].rpartition("/")[2]

    long, short, bad = (
        start("census", {"upto": 100_000}),
        start("census", {"upto": 3, "pause": 0}),
        start("hopeless", 0),
    )
    tab.open("jobs")
    page = tab.page
    tab.until(lambda: tab.cells("run", short)[1] == "done")
    assert tab.cells("run", short)[3] == "3"
    assert tab.cells("run", bad)[1] == "failed"
    assert "failed" in tab.cells("run", bad)[6]
    running = tab.cells("run", long)
    assert running[1] == "running"
    tab.until(lambda: number(tab.cells("run", long)[3]) > number(running[3]))
    job = works.stats()["jobs"]["census"]
    counted = page.locator('[data-job="census"] .facts dd').all_inner_texts()
    assert counted[:3] == [
        f"{job['running']} of {job['max_running']}",
        str(job["started"]),
        str(job["done"]),
    ]

    page.locator(f'tr[data-run="{long}"] a').click()
    expect(page.locator("g[data-stage]").first).to_be_visible()
    expect(page.locator("g.bottleneck")).to_have_attribute("data-stage", "map_async(counted)")
    page.get_by_role("button", name="Follow").click()
    tab.until(lambda: tab.tail() and json.loads(tab.tail()[0])["done"] > 2)

    page.get_by_role("button", name=re.compile("Cancel run")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="No, go back")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert works.stats()["jobs"]["census"]["running"] >= 1
    page.get_by_role("button", name=re.compile("Cancel run")).click()
    dialog.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".head .pill").first).to_have_text("cancelled")
    expect(page.locator(".tail tr.end")).to_have_count(1)
    runs = {run["id"]: run["status"] for run in works.stats()["jobs"]["census"]["runs"]}
    assert runs[long] == "cancelled"


# When things go wrong


def test_a_hidden_tab_lets_go_of_its_connections(browser: Browser, works: ServerProcess) -> None:
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    def readers() -> int:
        return int(works.stats()["topics"]["careful"]["subscribers"])

    before = works.stats()["connections"]["watching"]
    with console(browser, works, None) as tab:
        tab.page.clock.install()
        tab.open("topics/careful")
        eventually(lambda: readers() == 1)
        tab.page.evaluate(hide, True)
        tab.page.clock.fast_forward(21_000)
        expect(tab.page.locator("#link")).to_have_text("asleep")
        eventually(lambda: readers() == 0)
        eventually(lambda: works.stats()["connections"]["watching"] == before)
        works.post("careful", "meanwhile")
        tab.page.evaluate(hide, False)
        tab.is_live()
        tab.until(lambda: tab.tail()[:1] == ['"meanwhile"'])


def test_a_restart_is_shown_and_survived(browser: Browser, start_server: StartServer) -> None:
    first = start_server(CONFIG)
    for n in range(3):
        first.post("anything", n)
    with console(browser, first, "topics/anything") as tab:
        page = tab.page
        tab.until(lambda: tab.tail() == ["2", "1", "0"])
        first.signal(signal.SIGTERM)
        banner = page.locator("#banner")
        expect(banner).to_be_visible()
        expect(banner).to_contain_text("No connection to the server.")
        expect(banner).to_contain_text(re.compile(r"figures are those of \d\d:\d\d:\d\d"))
        expect(banner).to_have_attribute("role", "alert")
        expect(page.locator("#link")).to_have_text("no connection")
        first.wait(10)
        second = start_server(CONFIG, "--bind", f"127.0.0.1:{first.port}")
        tab.is_live()
        expect(banner).to_be_hidden()
        expect(page.locator(".tail tr.gap")).to_contain_text("the log has begun anew")
        assert second.post("anything", "back").status_code == 201
        tab.until(lambda: tab.tail()[:1] == ['"back"'])
        page.get_by_role("link", name="Troubles").click()
        expect(page.locator(".troubles")).to_contain_text("The server was started anew")


def test_signing_in(browser: Browser, start_server: StartServer) -> None:
    guarded = start_server("guarded.py")
    everything = {"subscribe": ["*"], "publish": ["room.*"], "operate": True}
    with console(browser, guarded, None) as tab:
        page = tab.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{guarded.url}/#/topics/room.1")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        field = page.get_by_label("Token")
        expect(field).to_be_focused()
        expect(page.locator("#link")).to_have_text("signed out")

        field.fill("nonsense")
        field.press("Enter")
        expect(page.get_by_role("alert").filter(has_text="The server says")).to_be_visible()

        page.get_by_label("Token").fill(issue(penstock={"subscribe": ["*"]}))
        page.get_by_label("Token").press("Enter")
        expect(page.locator("main h2")).to_have_text("The right to operate is missing")
        expect(page.locator("main")).to_contain_text("lacks the right operate")

        token = issue(penstock=everything)
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Use another token").click()
        tab.is_live()
        expect(page.locator("main h2")).to_contain_text("room.1")
        page.get_by_label("Data").fill('"in"')
        page.get_by_role("button", name="Publish").click()
        tab.until(lambda: tab.tail() == ['"in"'])

        page.reload()  # it is kept for the tab
        tab.is_live()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert page.evaluate("sessionStorage.length + localStorage.length") == 0
        assert page.locator("main").get_by_text("room.1").count() == 0
        assert not [url for url in asked if token in url or "token" in url]


def test_a_token_that_is_taken_back_is_asked_for_again(
    browser: Browser, start_server: StartServer
) -> None:
    guarded = start_server("guarded.py")
    with console(browser, guarded, None) as tab:
        tab.page.goto(guarded.url)
        tab.page.get_by_label("Token").fill(issue(sub="ada", penstock={"operate": True}))
        tab.page.get_by_label("Token").press("Enter")
        tab.is_live()
        assert guarded.client.post(f"{guarded.url}/leave/ada").text == "gone"
        expect(tab.page.get_by_role("heading", name="Sign in")).to_be_visible()
        expect(tab.page.locator("main")).to_contain_text("has been revoked")
        expect(tab.page.get_by_role("button", name="Sign out")).to_be_visible()
