"""A headless Chromium for tests of pages: Debian's, driven by Playwright's Python package.

Use the fixtures ``browser`` and ``page`` in plain tests, ``def`` and not ``async def``: the driver
runs an asyncio loop of its own in this thread, which Trio's tests don't mix with.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # which root can't have; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_PATIENCE = 15.0
"""Seconds that a wait for something in a page may take."""


def chromium_path() -> str:
    """The program: ``PENSTOCK_CHROMIUM``, or the first on the PATH. Fails the test without one."""
    named = os.environ.get("PENSTOCK_CHROMIUM")
    candidates = (named,) if named else _NAMES
    found = next(filter(None, map(shutil.which, candidates)), None)
    if found is None:
        pytest.fail(
            f"needs Chromium, and there is no {' or '.join(candidates)}: run 'scripts/test', which"
            " installs it, or 'apt-get install chromium', or set PENSTOCK_CHROMIUM to a program",
            pytrace=False,
        )
    return found


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser while the block runs, with more arguments for its command line."""
    path = chromium_path()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=[*_ARGUMENTS, *arguments], timeout=30_000
        )
        try:
            yield running
        finally:
            running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a module; each test opens contexts of its own in it.

    It ends with the module, for the driver's loop would count as running in the tests after it.
    """
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page in a context of its own; an exception nothing in it caught is a failure."""
    context = browser.new_context()
    context.set_default_timeout(_PATIENCE * 1000)
    opened = context.new_page()
    uncaught: list[str] = []
    opened.on("pageerror", lambda error: uncaught.append(str(error)))
    try:
        yield opened
    finally:
        context.close()
    assert not uncaught, "the page threw:\n" + "\n".join(uncaught)
