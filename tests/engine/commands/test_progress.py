"""What is shown of a running pipeline: rows, a plain line, a live table."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock import BufferStats, RunStats, StageStats
from penstock._commands.progress import PlainProgress, plain_line, stage_rows


def stage(name: str, items_in: int, items_out: int, **counts: Any) -> StageStats:
    counts = {"task": 0, "errors": 0, "skipped": 0, "dropped": 0, "abandoned": 0} | counts
    return StageStats(
        name=name, items_in=items_in, items_out=items_out, busy=0.0, where=None, **counts
    )


def stats(seconds: float, read: int, written: int, **counts: Any) -> RunStats:
    return RunStats(
        seconds=seconds,
        outcome="running",
        stages=(
            stage("read", 0, read),
            stage("map(f)", read, written, **counts),
            stage("write", written, 0),
        ),
        buffers=(
            BufferStats(
                before="write",
                after=("map(f)",),
                capacity=200,
                held=50,
                peak=60,
                passed=written,
                dropped=0,
                send_wait=0.0,
                receive_wait=0.0,
            ),
        ),
        bottleneck="map(f)",
    )


def test_rates_are_those_since_the_snapshot_before() -> None:
    rows = stage_rows(stats(4.0, 1000, 600), stats(2.0, 400, 300))
    assert [row.rate for row in rows] == [300, 300, 150]
    assert [row.rate for row in stage_rows(stats(4.0, 1000, 600))] == [250, 250, 150]
    assert [row.rate for row in stage_rows(stats(0.0, 0, 0))] == [0, 0, 0]


def test_rows_show_the_bottleneck_and_how_full_buffers_are() -> None:
    rows = stage_rows(stats(1.0, 10, 10))
    assert [row.is_bottleneck for row in rows] == [False, True, False]
    assert [row.fill for row in rows] == [None, None, 0.25]


def test_a_plain_line_says_it_all() -> None:
    assert plain_line("sums", stats(2.0, 12_000, 800)) == (
        "sums: 2 s, 12,000 in, 800 out, 400/s, bottleneck map(f)"
    )
    lossy = stats(2.0, 12_000, 800, skipped=1000, dropped=2)
    assert ", 1,002 skipped or dropped, bottleneck " in plain_line("sums", lossy)


def test_plain_progress_is_a_line_a_second() -> None:
    lines: list[str] = []
    progress = PlainProgress("sums", lines.append)
    for tenth in range(1, 31):
        progress.show(stats(tenth / 10, tenth * 100, tenth * 10))
    assert lines == [
        f"sums: {second} s, {second * 1000:,} in, {second * 100} out, 100/s, bottleneck map(f)"
        for second in (1, 2, 3)
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_a_live_table(tmp_path: Path) -> None:
    (tmp_path / "ticks.py").write_text(
        "import penstock as ps\n"
        "ticks = ps.every(0.01, 60).map(lambda n: n).buffer(10).to(ps.count())\n"
    )
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli", "run", "ticks.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    )
    os.close(terminal)
    shown = ""
    try:
        while piece := os.read(ours, 65536):
            shown += piece.decode()
    except OSError:
        pass  # how Linux says that nobody has the terminal open any more
    out, _ = process.communicate(timeout=30)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert process.returncode == 0
    assert 0 < int(out) <= 60  # the table is not on stdout
    assert text.count("rate/s") >= 4  # drawn again and again
    assert "◀ bottleneck" in text
    assert "▯▯▯▯▯▯▯▯   0%" in text
    assert "done after" in text
