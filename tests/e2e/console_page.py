"""The console in Chromium, as a person uses it: views, figures, and nothing wrong meanwhile."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from .serving import ServerProcess

PATIENCE = 20_000.0
"""Milliseconds."""

_NETWORK = re.compile(r"Failed to load resource|net::ERR_")


class Console:
    """One tab with the console.

    Attributes:
        page: the tab.
        complaints: what the browser wrote to its log, refused requests left out; CSP violations are
            among it.
    """

    def __init__(self, page: Page, server: ServerProcess) -> None:
        self.page = page
        self.server = server
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("dialog", lambda dialog: self._note("dialog", dialog.message))

    def _note(self, kind: str, text: str) -> None:
        if not _NETWORK.search(text):
            self.complaints.append(f"{kind}: {text}")

    def open(self, view: str = "") -> Console:
        """Open a view, and wait until the server's figures are there."""
        self.page.goto(f"{self.server.url}/#/{view}")
        self.is_live()
        expect(self.page.locator("nav a[aria-current=page]")).to_have_count(1, timeout=PATIENCE)
        return self

    def begin(self) -> None:
        """Be as new: the overview, on a wide screen, in the light theme."""
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self.open()

    def is_live(self) -> None:
        expect(self.page.locator("#link")).to_have_text("live", timeout=PATIENCE)

    def row(self, key: str, value: str) -> Locator:
        """The row of a table that is marked with ``data-KEY``."""
        return self.page.locator(f'tr[data-{key}="{value}"]')

    def cells(self, key: str, value: str) -> list[str]:
        self.row(key, value).wait_for()
        return self.row(key, value).locator("th, td").all_inner_texts()

    def fact(self, name: str) -> str:
        """A figure of the list at the head of a view."""
        found = self.page.locator(".facts div", has=self.page.locator(f'dt:text-is("{name}")'))
        return found.first.locator("dd").inner_text()

    def tail(self) -> list[str]:
        """The data of the events that are shown, the newest first."""
        return self.page.locator(".tail tbody tr:not(.gap) td.data").all_inner_texts()

    def until(self, look: Callable[[], Any], what: str = "") -> Any:
        """Wait for `look` to give something true, letting the page live meanwhile."""
        for _ in range(int(PATIENCE / 50)):
            if seen := look():
                return seen
            self.page.wait_for_timeout(50)
        raise AssertionError(f"not within {PATIENCE / 1000:g} s: {what or look}")

    def width_beyond(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(
            self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )


@contextmanager
def console(
    browser: Browser, server: ServerProcess, view: str | None = "", **options: Any
) -> Iterator[Console]:
    """A console in a context of its own; what the browser complains of is a failure."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    try:
        tab = Console(context.new_page(), server)
        if view is not None:
            tab.open(view)
        yield tab
        assert not tab.complaints, tab.complaints
    finally:
        context.close()


def number(text: str) -> float:
    """A figure as the console writes it: 1,234 or 12.5/s or 1.2k/s; NaN where there is none."""
    found = re.match(r"([\d,.]+)([kMG]?)", text)
    if found is None:
        return nan
    return float(found[1].replace(",", "")) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]]


def colours_in(page: Page, png: bytes) -> int:
    """How many colours a picture has, looked at in coarse; a blank one has very few."""
    code = """async (address) => {
        const image = new Image();
        image.src = address;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height);
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const pixels = context.getImageData(0, 0, image.width, image.height).data;
        const seen = new Set();
        for (let at = 0; at < pixels.length; at += 4) {
            seen.add(pixels[at] << 16 | pixels[at + 1] << 8 | pixels[at + 2]);
        }
        return seen.size;
    }"""
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return int(page.evaluate(code, address))
