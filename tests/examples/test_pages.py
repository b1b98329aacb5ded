"""The pages of the examples in Chromium: what they are there for, and that they come back."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from ..e2e.serving import ServerProcess, eventually
from .conftest import ServeExample

PATIENCE = 15_000
LOST = "Connection lost; trying again"


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def second(page: Page) -> Page:
    """Another tab of the same browser."""
    return page.context.new_page()


@pytest.fixture
def other(browser: Browser) -> Iterator[Page]:
    """Somebody else's browser."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def open_page(page: Page, server: ServerProcess, path: str) -> Page:
    page.goto(server.url + path)
    expect(connection(page)).to_have_text("Live")
    return page


def connection(page: Page) -> Locator:
    return page.locator("#connection")


def kill(server: ServerProcess) -> None:
    server.signal(signal.SIGKILL)
    server.wait(5)


def expect_back(page: Page) -> None:
    """The connection comes back: at once, as when the network does, rather than after a wait."""

    def is_live() -> bool:
        page.evaluate("dispatchEvent(new Event('online'))")
        return connection(page).text_content() == "Live"

    eventually(is_live, PATIENCE / 1000)


def eventually_true(look: Callable[[], bool]) -> None:
    eventually(look, PATIENCE / 1000)


def is_drawn(canvas: Locator, color: str) -> bool:
    """Whether anything in a chart has a color, given as a custom property of the page."""
    return bool(
        canvas.evaluate(
            """(canvas, name) => {
                canvas.style.color = `var(${name})`;
                const wanted = `${getComputedStyle(canvas).color.match(/\\d+/g)},255`;
                const pen = canvas.getContext("2d");
                const {data} = pen.getImageData(0, 0, canvas.width, canvas.height);
                for (let i = 0; i < data.length; i += 4)
                    if (`${data.slice(i, i + 4)}` === wanted) return true;
                return false;
            }""",
            color,
        )
    )


def test_notifications(serve_example: ServeExample, page: Page, second: Page) -> None:
    server = serve_example("notifications")
    path = "/notifications?user=grace"
    rows, unread = page.locator("#inbox li"), page.locator("#unread")

    open_page(page, server, path)
    server.post("notify.grace", {"title": "<b>One</b>"})
    expect(page.locator(".toast")).to_have_text(re.compile("<b>One</b>"))
    expect(unread).to_have_text("1 unread")
    page.get_by_role("button", name="Mark all as read").click()
    expect(unread).to_have_text("")

    page.goto("about:blank")  # nobody is there
    server.post("notify.grace", {"title": "Two", "level": "warning"})
    server.post("notify.grace", {"title": "Three"})
    open_page(page, server, path)
    expect(rows).to_have_text([re.compile(each) for each in ("Three", "Two", "<b>One</b>")])
    expect(unread).to_have_text("2 unread")
    expect(page).to_have_title("(2) Notifications")

    open_page(second, server, path)
    second.locator("#inbox li button").first.click()
    expect(unread).to_have_text("1 unread")  # in every tab

    page.get_by_role("button", name="Order").click()
    expect(rows.first).to_contain_text("Order received")
    expect(rows).to_have_count(4)


def test_machine(serve_example: ServeExample, page: Page, second: Page) -> None:
    server = serve_example("machine")
    open_page(page, server, "/machine")
    open_page(second, server, "/machine")
    figures = {"cpu": r"\d %", "memory": r"of .* GB", "network": "B/s", "disk": "B/s"}
    for name, figure in figures.items():
        expect(page.locator(f"#{name}-legend")).to_contain_text(re.compile(figure))
    assert page.locator("#cores meter").count() == os.cpu_count()
    eventually_true(lambda: is_drawn(page.locator("#cpu"), "--accent"))
    assert server.stats()["connections"]["by_transport"] == {"websocket": 1}  # for both tabs


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


def test_room(serve_example: ServeExample, page: Page, other: Page) -> None:
    server = serve_example("room")
    for text in ("first", "<i>second</i>"):
        server.post("room.lobby", {"name": "Ada", "text": text})
    open_page(other, server, "/room#help")
    open_page(page, server, "/room#lobby")
    said = page.locator("#log li:not(.waiting) .said")
    expect(said).to_have_text(["first", "<i>second</i>"])  # the history

    page.get_by_label("Your name").fill("Grace")
    say(page, "third")
    expect(said).to_have_text(["first", "<i>second</i>", "third"])
    expect(page.locator("#log .waiting")).to_have_count(0)
    lobby = other.get_by_role("button", name="#lobby")
    expect(lobby).to_contain_text("3 new")
    lobby.click()
    expect(other.locator("#log .said")).to_have_count(3)

    kill(server)
    expect(connection(page)).to_have_text(LOST)
    for text in ("while", "away"):
        say(page, text)
    expect(page.locator("#log .waiting")).to_contain_text(["waits for the connection"] * 2)
    expect(page.locator("#queue")).to_have_text("2 to be sent when the connection is back")
    server = serve_example("room", port=server.port)
    expect_back(page)
    expect(page.locator("#log .divider")).to_contain_text("restarted")
    expect(page.locator("#log .waiting")).to_have_count(0)
    expect(said).to_have_text(["first", "<i>second</i>", "third", "while", "away"])
    expect(page.locator("#queue")).to_have_text("")
    events = server.get("/topics/room.lobby?format=json&after=earliest").json()["events"]
    assert [each["data"]["text"] for each in events] == ["while", "away"]


def test_census(serve_example: ServeExample, page: Page, library: Path) -> None:
    """A named pipe among the files holds the census up until the test writes to it."""
    for number in range(20):
        (library / f"module{number:02}.py").write_text("x = 1\n" * 100)
    gate = library / "z.py"
    os.mkfifo(gate)
    server = serve_example("census")
    page.goto(f"{server.url}/census")
    progress, files, status = (page.locator(f"#{name}") for name in ("progress", "files", "status"))
    page.get_by_label("Processes").fill("1")

    page.get_by_role("button", name="Start").click()
    expect(files).to_contain_text("of 21 files")
    assert 0 < _value(progress) < 21
    page.reload()
    expect(files).to_contain_text("of 21 files")  # the run goes on, and is read from its beginning
    assert 0 < _value(progress) < 21
    expect(status).to_have_text("Counting")
    gate.write_text("def last(): pass\n")
    expect(status).to_have_text("Done: 2,001 lines in 1 packages")
    assert _value(progress) == 21
    expect(page.locator("#packages tr")).to_have_text([re.compile("top-level modules.*2,001")])

    page.get_by_role("button", name="Start").click()
    expect(files).to_contain_text("of 21 files")
    page.get_by_role("button", name="Cancel").click()
    threading.Thread(target=gate.write_text, args=("",), daemon=True).start()
    expect(status).to_have_text("Cancelled")

    gate.unlink()
    gate.write_text("x = (\n")
    page.get_by_label("Stop at the first").check()
    page.get_by_role("button", name="Start").click()
    expect(status).to_have_text(re.compile("It failed: .+"))


def _value(progress: Locator) -> int:
    return int(progress.evaluate("(progress) => progress.value"))


def texts(page: Page) -> list[str]:
    areas = page.locator("#text textarea")
    return list(areas.evaluate_all("(areas) => areas.map((each) => each.value)"))


def test_editor(serve_example: ServeExample, page: Page, other: Page) -> None:
    server = serve_example("editor")
    open_page(page, server, "/editor#both")
    open_page(other, server, "/editor#both")
    page.get_by_label("You are").fill("Ada")
    page.get_by_role("button", name="Add a paragraph").click()
    for text in ("one", "two", "three"):
        page.keyboard.type(text)
        page.keyboard.press("Enter")
    eventually_true(lambda: texts(other) == ["one", "two", "three", ""])
    expect(other.locator("#people")).to_have_text("Ada")
    expect(other.locator("#text li").nth(3).locator(".editors")).to_have_text("Ada")

    # Both at once: other paragraphs, new ones at the same place, and the same paragraph.
    for tab, first in ((page, "from one tab"), (other, "from the other")):
        tab.locator("#text textarea").first.fill(first)
        tab.locator("#text textarea").nth(1).press("Enter")
    other.locator("#text textarea").last.fill("the end")
    page.get_by_role("button", name="Remove this paragraph").last.focus()
    for tab in (page, other):
        expect(tab.locator("#saved")).to_have_text("Saved")
    eventually_true(lambda: texts(page) == texts(other) and len(texts(page)) == 6)
    assert "from" in texts(page)[0]
    assert texts(page)[-1] == "the end"

    page.locator("#text textarea").nth(1).fill("")
    page.locator("#text textarea").nth(1).press("Backspace")
    eventually_true(lambda: texts(page) == texts(other) and len(texts(page)) == 5)

    kill(server)
    expect(connection(other)).to_have_text(LOST)
    other.locator("#text textarea").last.fill("while away")
    expect(other.locator("#saved")).to_contain_text("until the connection is back")
    before = texts(other)
    server = serve_example("editor", port=server.port)
    for tab in (other, page):
        expect_back(tab)
    eventually_true(lambda: texts(page) == texts(other) == before)
    other.reload()  # and reads it from the server
    eventually_true(lambda: texts(other) == before)


def test_there_is_always_a_place_between(serve_example: ServeExample, page: Page) -> None:
    page.goto(f"{serve_example('editor').url}/editor")
    longest = page.evaluate(
        """async () => {
            const {placeBetween} = await import("/static/place.js");
            const places = ["", ""]; // the beginning and the end
            let longest = 0;
            for (let n = 0; n < 2000; n += 1) {
                const index = n < 100 ? 1 : n < 200 ? places.length - 1
                    : 1 + Math.floor(Math.random() * (places.length - 1));
                const [before, after] = [places[index - 1], places[index]];
                const place = placeBetween(before, after);
                if (!(before < place && (after === "" || place < after)))
                    throw new Error([before, place, after]);
                places.splice(index, 0, place);
                longest = Math.max(longest, place.length);
            }
            return longest;
        }"""
    )
    assert 1 < longest <= 100  # which is what the topic takes


def test_log_file(serve_example: ServeExample, page: Page, log_file: Path) -> None:
    def write(*lines: str) -> None:
        with log_file.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    log_file.write_text("of yesterday\n")
    open_page(page, serve_example("followed"), "/logfile")
    tail, levels = page.locator("#tail li"), page.locator("#legend")
    write("INFO <b>begun</b>", '::1 "GET / HTTP/1.1" 503 12')
    expect(tail).to_have_text(["INFO <b>begun</b>", '::1 "GET / HTTP/1.1" 503 12'])
    log_file.rename(log_file.with_suffix(".1"))
    write("ERROR rotated", "ERROR again")
    expect(tail.last).to_have_text("ERROR again")
    expect(levels).to_have_text("INFO1ERROR25xx1")  # it grows by whole seconds
    eventually_true(lambda: is_drawn(page.locator("#levels"), "--bad"))

    page.get_by_role("button", name="Hold").click()
    write("WARNING held")
    expect(levels).to_contain_text("WARNING1")
    expect(tail).to_have_count(4)
    page.get_by_role("button", name="Go on").click()
    expect(tail).to_have_count(5)


def test_they_fit_a_phone_and_name_what_they_have(
    serve_example: ServeExample, browser: Browser
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    context.set_default_timeout(PATIENCE)
    for name in ("notifications", "machine", "room", "census", "editor", "followed"):
        _check_small(context, serve_example(name), "logfile" if name == "followed" else name)
    context.close()


def _check_small(context: BrowserContext, server: ServerProcess, name: str) -> None:
    page = context.new_page()
    page.goto(f"{server.url}/{name}")
    expect(connection(page)).not_to_have_text("Connecting")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, canvas")]
            .filter((each) => !(each.ariaLabel || each.labels?.length || each.textContent.trim()))
            .map((each) => each.outerHTML)"""
    )
    assert unnamed == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    page.close()
