"""``penstock run`` in processes of its own: signals, statuses, JSON, and a live table."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .processes import PATIENCE, on_terminal, started

PIPELINES = """
import time
import penstock as ps, trio

def show(x):
    print("began", flush=True)

def parse(n):
    if n % 10 == 3:
        raise ValueError(n)
    return n

def hog(n):
    time.sleep(0.15)  # holds the event loop
    return n

async def stuck(x):
    await trio.sleep_forever()

async def slow(x):
    await trio.sleep(0.05)
    return x

async def nap(x):
    await trio.sleep(0.01)
    return x

endless = ps.every(0.01).tap(show).to(ps.count())
stuck_one = ps.every(0.01).tap(show).map_async(stuck, 4).to(ps.count())
never = ps.from_iterable([1]).to(ps.count())
lossy = (
    ps.every(0.001)
    .map(parse, errors="skip")
    .buffer(4, "drop_oldest")
    .map_async(slow, 1)
    .to(ps.count())
)
ticks = (
    ps.from_iterable(range(150))
    .map_async(nap, 1)
    .map(parse, errors="skip")
    .buffer(10)
    .to(ps.count())
)
hogging = ps.from_iterable([1]).map(hog).to(ps.collect())
printing = ps.from_iterable(range(100_000)).to(ps.for_each(print))

def write_to_nobody(x):
    raise BrokenPipeError(32, "Broken pipe")

piping = ps.from_iterable([1]).to(ps.for_each(write_to_nobody))
failing = ps.from_iterable(range(10)).map(parse).to(ps.collect())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipelines_to_run.py").write_text(PIPELINES)
    return tmp_path


def run(
    name: str, *options: str, folder: Path, stderr: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    file = "pipelines_to_run.py"
    return started("run", f"{file}:{name}" if name else file, *options, cwd=folder, stderr=stderr)


def wait_for(process: subprocess.Popen[str], words: str, *, stream: str = "stderr") -> str:
    """Read lines until one has the words."""
    pipe = getattr(process, stream)
    while words not in (line := pipe.readline()):
        assert line, f"ended without {words!r}"
    return str(line)


# Signals and statuses


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_the_rest_is_not_run(folder: Path, number: int) -> None:
    process = run("", folder=folder)
    wait_for(process, "began", stream="stdout")
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    items = 1 + out.count("began\n")
    assert out.endswith(f"endless: {items}\n")  # what was in flight came through
    assert "stopping, draining for up to 10 s; once more to cancel\n" in err
    assert "stopped after" in err
    not_run = "stuck_one, never, lossy, ticks, hogging, printing, piping, failing"
    assert err.endswith(f"not run: {not_run}\n")
    assert process.returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_cancels_at_once(folder: Path, number: int, status: int) -> None:
    process = run("stuck_one", "--deadline", "600", folder=folder)
    wait_for(process, "began", stream="stdout")
    process.send_signal(signal.SIGINT)
    wait_for(process, "draining for up to 600 s; once more to cancel")
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert err.startswith("cancelled\n")
    assert "cancelled after" in err
    assert "error" not in err
    assert "Traceback" not in err


def test_what_does_not_drain_in_time_has_failed(folder: Path) -> None:
    process = run("stuck_one", "--deadline", "0.2", folder=folder)
    wait_for(process, "began", stream="stdout")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "draining for up to 0.2 s" in err
    last = err.splitlines()[-1]
    assert last.startswith("error: it was not drained in time, so its sink has no result; ")
    assert last.endswith(" items are abandoned; --deadline gives it more time")
    assert set(out.splitlines()) <= {"began"}


def test_a_deadline_below_zero_is_refused(folder: Path) -> None:
    process = run("never", "--deadline", "-1", folder=folder)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "--deadline" in err


# Where nobody looks: lines


def test_a_line_a_second(folder: Path) -> None:
    process = run("lossy", folder=folder)
    line = wait_for(process, "lossy: 2 s, ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert "map(parse): " in line
    assert " skipped, buffer: " in line
    assert re.search(r" dropped, bottleneck map_async\(slow\) at [\d.,]+/s\n$", line)
    assert "\x1b" not in err


def test_quiet_leaves_results_and_errors(folder: Path) -> None:
    process = run("ticks", "--quiet", folder=folder)
    assert process.communicate(timeout=PATIENCE) == ("135\n", "")
    process = run("failing", "-q", folder=folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: map(parse) failed on item 3: ValueError: 3 (stage written at ")


def test_a_stage_that_holds_the_loop_is_named(folder: Path) -> None:
    process = run("hogging", folder=folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "[1]\n")
    assert err.startswith("map(hog) held the event loop for 0.")
    process = run("hogging", "--no-watchdog", folder=folder)
    _, err = process.communicate(timeout=PATIENCE)
    assert "held the event loop" not in err


# For machines: JSON


def test_json_alone_is_on_stdout(folder: Path) -> None:
    process = run("endless", "--json", folder=folder)
    assert process.stdout is not None
    objects = [json.loads(process.stdout.readline())]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    objects += map(json.loads, out.splitlines())
    assert process.returncode == 0
    assert "began" in err  # what the pipeline prints
    *progress, stopping, report = objects
    assert {each["type"] for each in progress} == {"progress"}
    assert {each["name"] for each in objects} == {"endless"}
    assert progress[0]["seconds"] >= 1
    stage = progress[0]["stages"][0]
    assert (stage["name"], stage["held"], stage["held_the_loop"]) == ("every(0.01)", 0, 0)
    assert stage["items_out"] >= 1
    assert stage["rate"] > 0
    assert stopping == {"type": "stopping", "name": "endless", "signal": "SIGINT", "deadline": 10}
    assert (report["type"], report["outcome"], report["error"]) == ("report", "stopped", None)
    assert report["result"] == report["stages"][0]["items_out"] > 0


def test_json_of_a_run_that_was_cancelled(folder: Path) -> None:
    process = run("stuck_one", "--json", folder=folder, stderr=subprocess.DEVNULL)
    wait_for(process, '"progress"', stream="stdout")
    process.send_signal(signal.SIGTERM)
    wait_for(process, '"stopping"', stream="stdout")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    cancelled, report = [
        each for each in map(json.loads, out.splitlines()) if each["type"] != "progress"
    ]
    assert cancelled == {"type": "cancelled", "name": "stuck_one", "signal": "SIGINT"}
    assert (report["outcome"], report["result"]) == ("cancelled", None)
    assert process.returncode == 130


def test_json_and_quiet_is_the_report_alone(folder: Path) -> None:
    process = run("ticks", "--json", "--quiet", folder=folder)
    out, err = process.communicate(timeout=PATIENCE)
    (report,) = map(json.loads, out.splitlines())
    assert (report["type"], report["result"], err) == ("report", 135, "")
    skipped: dict[str, Any] = {each["name"]: each["skipped"] for each in report["stages"]}
    assert skipped["map(parse)"] == 15
    (buffer,) = [each for each in report["buffers"] if each["before"] == "buffer"]
    assert (buffer["capacity"], buffer["passed"]) == (10, 135)


# On a terminal: a live table

terminals = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@terminals
def test_a_live_table_and_its_last_state_stays(folder: Path) -> None:
    with on_terminal("run", "pipelines_to_run.py:ticks", cwd=folder) as terminal:
        terminal.read_all()
        out, _ = terminal.process.communicate(timeout=PATIENCE)
        assert terminal.process.returncode == 0
        assert out == "135\n"  # the table is not on stdout, and the result is as it was
        assert terminal.text.count("rate/s") >= 4  # drawn again and again
        assert "▯▯▯▯▯▯▯▯   0%" in terminal.text
        assert "◀ bottleneck" in terminal.text
        assert "  running" in terminal.text
        last = terminal.text.rpartition("ticks  ")[2].splitlines()
        assert last[0].rstrip().endswith("done")
        assert last[1].split() == ["stage", "in", "out", "rate/s", "busy", "s", "peak"]
        names = ["from_iterable", "map_async(nap)", "map(parse)", "buffer", "count"]
        assert [line.split()[0] for line in last[2:7]] == names
        assert "15 skipped" in last[4]


@terminals
@pytest.mark.parametrize("columns", [80, 120])
def test_ctrl_c_on_the_terminal_stops_and_the_table_says_so(folder: Path, columns: int) -> None:
    file = "pipelines_to_run.py:lossy"
    with on_terminal("run", file, cwd=folder, columns=columns) as terminal:
        terminal.read_until(" dropped")
        terminal.type("\x03")
        terminal.read_all()
        terminal.process.wait(PATIENCE)
        assert terminal.process.returncode == 0
        assert "stopping, draining for up to 10 s; once more to cancel" in terminal.text
        assert "^C" not in terminal.text  # would break the table
        assert "lossy" in terminal.text
        assert max(map(len, terminal.text.replace("\r", "\n").splitlines())) <= columns
        assert terminal.text.rstrip().splitlines()[0]
        assert "stopped" in terminal.text.rpartition("lossy  ")[2]


@terminals
def test_a_second_ctrl_c_cancels(folder: Path) -> None:
    with on_terminal("run", "pipelines_to_run.py:stuck_one", cwd=folder) as terminal:
        terminal.read_until("map_async(stuck)")
        terminal.type("\x03")
        terminal.read_until("  stopping")
        terminal.type("\x03")
        terminal.read_all()
        terminal.process.wait(PATIENCE)
        assert terminal.process.returncode == 130
        assert "Traceback" not in terminal.text
        assert "cancelled" in terminal.text.rpartition("stuck_one  ")[2]


# Output that nobody reads


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_whose_output_nobody_reads_any_more_just_ends(
    folder: Path, options: tuple[str, ...]
) -> None:
    with run("printing", *options, folder=folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()  # as head does
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0


def test_a_pipe_to_somebody_else_that_breaks_is_a_failure(folder: Path) -> None:
    out, err = run("piping", "-q", folder=folder).communicate(timeout=PATIENCE)
    place = f"{folder}/pipelines_to_run.py:{_line_of('piping = ')}"
    said = "for_each(write_to_nobody) failed on item 1: BrokenPipeError: [Errno 32] Broken pipe"
    assert (out, err) == ("", f"error: {said} (stage written at {place})\n")


def _line_of(start: str) -> int:
    lines = PIPELINES.splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith(start))
