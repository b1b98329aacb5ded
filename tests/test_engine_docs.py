"""The pages in docs/engine run: each from top to bottom, as one program in an empty folder.

A block of ``text`` directly behind a block of ``python`` is what that one prints.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import penstock as ps
from penstock import testing

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "engine").glob("*.md"))

_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "page"}
    blocks = list(_BLOCK.finditer(text))
    assert blocks, "a page of words only has no place here"
    for block in blocks:
        line = text.count("\n", 0, block.start("code"))
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile("\n" * line + block["code"], str(page), "exec"), names)
        if block["printed"] is not None:
            assert printed.getvalue() == block["printed"]
        else:
            assert not printed.getvalue(), f"what line {line} prints is not shown"


def test_every_block_of_text_belongs_to_code() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = sum(block["printed"] is not None for block in _BLOCK.finditer(text))
        assert text.count("```text\n") == shown, page.name


def links() -> Iterator[tuple[Path, str]]:
    for page in [*PAGES, *sorted((ROOT / "docs" / "reference").glob("*.md"))]:
        words = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", words):
            if "://" not in target:
                yield page, target


def test_every_link_leads_somewhere() -> None:
    checked = 0
    for page, target in links():
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", to.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in anchors, f"{page.name}: {target}"
        checked += 1
    assert checked > 10


def test_the_reference_is_what_the_docstrings_say() -> None:
    written = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert written.returncode == 0, written.stdout


@pytest.mark.parametrize(
    "kind",
    [testing.ProbeSource, testing.ProbeSink, testing.Recorder, ps.Run, ps.Sender, ps.Receiver],
)
def test_the_reference_has_every_method_that_users_call(kind: type) -> None:
    pages = [page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")]
    text = "\n".join(pages)
    for method in [name for name in vars(kind) if not name.startswith("_")]:
        heading = rf"^##+ (testing\.)?{kind.__name__}\.{method}$"
        assert re.search(heading, text, re.MULTILINE), method
