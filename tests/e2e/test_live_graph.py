"""``penstock graph --live``: the pipelines of a real server, drawn with their figures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ..server.auth.issuing import RIGHTS, issue
from .conftest import Launch
from .serving import CONFIGS, SERVE, ServerProcess, eventually


@pytest.fixture(scope="module")
def works(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        works = launch(stack, (*SERVE, str(CONFIGS / "waterworks.py"), "--bind", "127.0.0.1:0"))
        eventually(lambda: works.stats()["topics"]["quality"]["last"] > 20)
        yield works


@pytest.fixture(scope="module")
def guarded(launch: Launch) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        yield launch(stack, (*SERVE, str(CONFIGS / "guarded.py"), "--bind", "127.0.0.1:0"))


def graph(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    without_token = {key: value for key, value in os.environ.items() if key != "PENSTOCK_TOKEN"}
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", "graph", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**without_token, **environment},
    )


def test_every_topic_in_text(works: ServerProcess) -> None:
    shown = graph("--live", works.url, "--format", "text")
    assert (shown.returncode, shown.stderr) == (0, "")
    titles = [line for line in shown.stdout.splitlines() if line.split(":")[0].endswith(")")]
    assert titles == [
        "flow (running)",
        "level (running)",
        "quality (running)",
        "weather (waiting): it has not run yet",
    ]
    merged = re.search(r"merge \([\d.,]+/s\) ⇒ (\d+) of 80 ⇒ task 5", shown.stdout)
    assert merged is not None
    assert int(merged[1]) <= 80
    ticking = re.search(r"every\(0\.02\) \(([\d.]+)/s\)", shown.stdout)
    assert ticking is not None
    assert 5 < float(ticking[1]) < 60  # of that second, whatever was before


def test_one_topic_by_its_name(works: ServerProcess) -> None:
    for target in ("level", "waterworks.py:level"):
        shown = graph(target, "--live", f"{works.url}/", "--format", "text")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.startswith("level (running)\ntask 1: every(0.1) (")
        assert shown.stdout.count("\n") == 2
    everything = graph("waterworks.py", "--live", f"{works.url}/stats", "--format", "text")
    assert everything.stdout.count("task 1: ") == 3


def test_in_mermaid_and_dot(works: ServerProcess) -> None:
    bottleneck = works.stats()["pipelines"]["quality"]["bottleneck"]
    mermaid = graph("quality", "--live", works.url).stdout
    assert mermaid.startswith('---\ntitle: "quality (running)"\n---\nflowchart LR\n')
    assert re.search(r'-->\|"\d+ of 80"\| n\d', mermaid)
    marked = re.findall(r'\["(.*?)<br/>[^"]*"\]:::bottleneck', mermaid)
    dot = graph("quality", "--live", works.url, "--format", "dot").stdout
    assert dot.startswith('digraph "quality (running)" {\n')
    filled = re.findall(r'label="(.*?)\\n[^"]*", style=filled', dot)
    assert (len(marked), len(filled)) == (1, 1)
    assert bottleneck == "map_async(analyse)"
    assert "map_async(analyse)" in (*marked, *filled)


def test_with_a_token(guarded: ServerProcess) -> None:
    refused = graph("--live", guarded.url)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith(f"error: {guarded.url}/stats: 401 Unauthorized")
    assert refused.stderr.endswith("; give --token, or set PENSTOCK_TOKEN\n")
    token = issue(penstock={**RIGHTS, "operate": True})
    for shown in (
        graph("--live", guarded.url, "--token", token),
        graph("--live", guarded.url, PENSTOCK_TOKEN=token),
        graph("--live", guarded.url, "-H", f"Authorization: Bearer {token}"),
    ):
        assert shown.returncode == 1
        assert shown.stderr == f"error: {guarded.url}: no topic has a pipeline\n"


def test_what_can_not_be_drawn_is_one_line(works: ServerProcess) -> None:
    missing = graph("depth", "--live", works.url)
    there = "flow, level, quality, weather"
    assert missing.stderr == f"error: {works.url}: no pipeline of depth; it has {there}\n"
    wrong = graph("--live", f"{works.url}/console")
    assert wrong.stderr.startswith(f"error: {works.url}/console/stats: 404 Not Found")
    assert "is it the URL of a penstock server" in wrong.stderr
    nobody = graph("--live", "http://127.0.0.1:1")
    assert nobody.stderr == "error: http://127.0.0.1:1/stats: Connection refused\n"
    assert {missing.returncode, wrong.returncode, nobody.returncode} == {1}
    bad = graph("--live", "127.0.0.1:1")
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
