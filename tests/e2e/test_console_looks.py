"""The console can be read, in both themes, by keyboard and on a phone. Pictures of it for the docs.

``PENSTOCK_SCREENSHOTS=1`` writes those to ``docs/images``; otherwise they are taken all the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from .clients import open_messages, open_sse
from .conftest import Launch, StartServer
from .console_page import Console, colours_in, console, number
from .serving import CONFIGS, ROOT, SERVE, ServerProcess

THEMES = ("light", "dark")
PHONE: ViewportSize = {"width": 360, "height": 740}
DESK: ViewportSize = {"width": 1280, "height": 900}
VIEWS = (
    "",
    "topics",
    "topics/factory",
    "topics/reports",
    "topics/hostile",
    "connections",
    "jobs",
    "troubles",
)

# Text on a ground, each pair that the styles put together; and the edges of controls.
TEXT = [
    *((text, ground) for text in ("text", "muted", "accent") for ground in ("ground", "surface")),
    *((text, "raised") for text in ("text", "muted", "accent")),
    *((tone, f"{tone}-soft") for tone in ("good", "warn", "bad")),
    *(("bad", ground) for ground in ("ground", "surface")),
    ("text", "accent-soft"),
    ("muted", "accent-soft"),
    ("on-accent", "accent"),
]
EDGES = [
    *(("edge", ground) for ground in ("ground", "surface", "raised")),
    *(("accent", ground) for ground in ("ground", "surface", "raised")),
    ("warn", "surface"),
    ("accent", "accent-soft"),
]


@pytest.fixture(scope="module")
def works(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        server = launch(stack, (*SERVE, str(CONFIGS / "console.py"), "--bind", "127.0.0.1:0"))
        headers = {"prefer": "respond-async"}
        for job, body in (("census", {"upto": 9_000, "pause": 0.01}), ("hopeless", 0)):
            server.client.post(f"{server.url}/jobs/{job}", json=body, headers=headers)
        yield server


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


# Contrast (WCAG 2.2, success criteria 1.4.3 and 1.4.11)


_CONTRAST = """
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((each) =>
            each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, two) => {
        const [dark, bright] = [light(one), light(two)].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    };
"""

_OF_PAIRS = f"""(pairs) => {{
    {_CONTRAST}
    const probe = document.body.appendChild(document.createElement("div"));
    return pairs.map(([text, ground]) => {{
        probe.style.color = `var(--${{text}})`;
        probe.style.backgroundColor = `var(--${{ground}})`;
        const style = getComputedStyle(probe);
        return [text, ground, contrast(style.color, style.backgroundColor)];
    }});
}}"""

# Every text that is shown, against the ground that is behind it.
_OF_ALL_TEXTS = f"""() => {{
    {_CONTRAST}
    const groundOf = (element) => {{
        for (let each = element; each; each = each.parentElement) {{
            const ground = getComputedStyle(each).backgroundColor;
            if (!/, 0\\)$|transparent/.test(ground)) return ground;
        }}
        return getComputedStyle(document.body).backgroundColor;
    }};
    const found = new Map();
    for (const element of document.querySelectorAll("body *:not(svg *, script)")) {{
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility()) continue;
        const [text, ground] = [getComputedStyle(element).color, groundOf(element)];
        found.set(`${{text}} on ${{ground}}: ${{element.tagName}}.${{element.className}}`,
            contrast(text, ground));
    }}
    return [...found];
}}"""


@pytest.mark.parametrize("theme", THEMES)
def test_contrast(tab: Console, theme: Literal["light", "dark"]) -> None:
    tab.page.emulate_media(color_scheme=theme)
    for pairs, least in ((TEXT, 4.5), (EDGES, 3.0)):
        for text, ground, ratio in tab.page.evaluate(_OF_PAIRS, pairs):
            assert ratio >= least, f"{text} on {ground} in {theme}: {ratio:.2f}"
    for view in VIEWS:
        tab.open(view)
        texts = tab.page.evaluate(_OF_ALL_TEXTS)
        assert len(texts) > 5
        for where, ratio in texts:
            assert ratio >= 4.5, f"{where} in {theme}: {ratio:.2f}"


def test_the_theme_can_be_switched(tab: Console) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = tab.page
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Theme: system").click()
    expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    tab.is_live()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Theme: dark").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == light


# The keyboard, and other ways of using it


def test_by_keyboard_alone(tab: Console) -> None:
    tab.open()
    tab.page.reload()  # the focus is nowhere
    tab.is_live()
    page = tab.page
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    box = skip.bounding_box()
    assert box is not None
    assert box["y"] >= 0
    seen: list[str] = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(_focused(tab))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"{seen[-1]} does not show that it has the focus"
    assert [name.partition(" ")[0] for name in seen[1:5]] == [
        "Overview",
        "Topics",
        "Connections",
        "Jobs",
    ]
    while not _focused(tab).startswith("Topics"):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main h2")).to_have_text("Topics")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("anything")
    expect(page.locator("tr[data-topic]")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main h2")).to_contain_text("anything")
    for _ in range(20):
        page.keyboard.press("Tab")
        if _focused(tab) == "Data":
            break
    page.keyboard.type('"typed"')
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    tab.until(lambda: tab.tail()[:1] == ['"typed"'])


def _focused(tab: Console) -> str:
    """The name of the element that has the focus."""
    return str(
        tab.page.evaluate(
            """() => {
                const active = document.activeElement;
                const label = active.labels?.[0]?.textContent.replace(" (required)", "");
                return active.getAttribute("aria-label") ?? label ?? active.textContent.trim();
            }"""
        )
    )


def test_it_says_what_is_what(tab: Console) -> None:
    """Landmarks, live states, tables with headers, and a name for everything that can be used."""
    tab.open()
    for view in VIEWS:
        tab.open(view)
        page = tab.page
        for landmark in ("banner", "navigation", "main"):
            assert page.get_by_role(landmark).count() == 1, (view, landmark)
        assert page.locator("h2").count() == 1
        assert page.locator('#link[role="status"][aria-live="polite"]').count() == 1
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, a, input, select, textarea")]
                .filter((each) => each.checkVisibility())
                .filter((each) => !(each.getAttribute("aria-label")
                    ?? each.labels?.[0]?.textContent ?? each.textContent).trim())
                .map((each) => each.outerHTML)"""
        )
        assert nameless == []
        bare = page.evaluate(
            """() => [...document.querySelectorAll("table")].filter((table) =>
                !table.querySelector("caption") || !table.querySelector("th[scope=col]"))
                .map((table) => table.outerHTML.slice(0, 200))"""
        )
        assert bare == []
        handlers = "[onclick], div[role=button], span[role=button]"
        assert page.locator(handlers).count() == 0


def test_nothing_moves_for_who_wants_that(tab: Console) -> None:
    moving = """() => [...document.querySelectorAll("*")].filter((each) => {
        const style = getComputedStyle(each);
        return style.transitionDuration !== "0s" || style.animationName !== "none";
    }).length"""
    tab.open("topics/factory")
    expect(tab.page.locator("g.bottleneck")).to_have_count(1)
    assert tab.page.evaluate(moving) > 0
    tab.page.emulate_media(reduced_motion="reduce")
    assert tab.page.evaluate(moving) == 0


def test_nothing_jumps_when_figures_change(tab: Console) -> None:
    places = """() => [...document.querySelectorAll(".tile, tr[data-topic], nav li, #link, h3")]
        .map((each) => { const box = each.getBoundingClientRect();
            return [each.tagName, Math.round(box.x), Math.round(box.y)].join(" "); })"""
    tab.open("topics")
    uptime = tab.page.locator("#uptime")
    expect(tab.page.locator("tr", has_text="room.{room}")).to_be_visible()
    before, said = tab.page.evaluate(places), uptime.inner_text()
    tab.until(lambda: uptime.inner_text() != said)
    said = uptime.inner_text()
    tab.until(lambda: uptime.inner_text() != said)
    assert tab.page.evaluate(places) == before


# A phone


def test_on_a_phone_nothing_is_wider_than_it(tab: Console) -> None:
    tab.page.set_viewport_size(PHONE)
    for view in VIEWS:
        tab.open(view)
        tab.page.locator("main h2").wait_for(state="attached")
        assert tab.width_beyond() == 0, view
    tab.open("topics/factory")
    expect(tab.page.locator("g[data-stage]").first).to_be_visible()
    beyond = tab.page.locator(".graph").evaluate("box => box.scrollWidth - box.clientWidth")
    assert beyond == 0, "the graph fits, too"
    tab.page.get_by_text("Figures of the stages and buffers").click()
    assert tab.width_beyond() == 0


# Pictures


PICTURES: list[tuple[str, str, dict[str, Any]]] = [
    ("overview-light", "", {"color_scheme": "light"}),
    ("topic-dark", "topics/quality", {"color_scheme": "dark", "viewport": DESK}),
    ("overview-phone", "", {"color_scheme": "dark", "viewport": PHONE}),
    ("topic-phone", "topics/quality", {"color_scheme": "light", "viewport": PHONE}),
]


def _is_filled(tab: Console) -> bool:
    held = tab.page.locator('g[data-buffer="buffer"] text').first
    return number(held.text_content() or "") >= 20


def test_pictures(browser: Browser, start_server: StartServer, tmp_path: Path) -> None:
    wanted = "PENSTOCK_SCREENSHOTS" in os.environ
    folder = ROOT / "docs/images" if wanted else tmp_path
    works = start_server("waterworks.py")
    with (
        open_sse(works, "flow"),
        open_messages(works, "level", "application/x-ndjson"),
        open_messages(works, "quality", "application/msgpack"),
        ExitStack() as stack,
    ):
        works.client.post(f"{works.url}/jobs/survey", headers={"prefer": "respond-async"})
        works.post("alarms", {"place": "north"})
        works.post("alarms", {"place": "sluice 2", "text": "it sticks", "severity": "warning"})
        tabs = [
            stack.enter_context(console(browser, works, view, **options))
            for _, view, options in PICTURES
        ]
        if wanted:
            tabs[0].page.wait_for_timeout(62_000)  # for whole sparklines
        blank = browser.new_page()
        for tab, (name, view, _) in zip(tabs, PICTURES, strict=True):
            if view:
                expect(tab.page.locator("g.bottleneck .flag-text")).to_be_visible()
                tab.until(partial(_is_filled, tab))
            else:
                expect(tab.page.locator("[data-tile=out] .figure")).not_to_have_text("0")
            picture = tab.page.screenshot(animations="disabled")
            folder.mkdir(exist_ok=True)
            (folder / f"console-{name}.png").write_bytes(picture)
            assert 10_000 < len(picture) < 150_000
            assert colours_in(blank, picture) > 100
        blank.close()
