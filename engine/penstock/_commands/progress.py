"""A running pipeline as it is seen: a live table on a terminal, else a line a second, or JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live

from penstock._stats import Report, RunStats

from .table import as_table, notes, rate_text, sinks_of, sources_of

if sys.platform != "win32":
    import termios

_LOCAL_FLAGS = 3  # of the list that `termios` deals in


class Show(Protocol):
    """What a run is shown by."""

    def progress(self, now: RunStats, /) -> None:
        """Show the run as it is now; called ten times a second, and at its end."""
        ...

    def stopping(self, text: str, /) -> None:
        """Show that a signal came, and what that leads to."""
        ...

    def report(self, report: Report, /) -> None:
        """Show what was done; its errors are told elsewhere."""
        ...


class LiveTable:
    """A table on a terminal that is drawn anew all the while, and stays at the end."""

    def __init__(self, title: str, console: Console, live: Live) -> None:
        self._title = title
        self._console = console
        self._live = live
        self._state: str | None = None

    def progress(self, now: RunStats) -> None:
        """See `Show`."""
        state = self._state if now.outcome == "running" else None
        table = as_table(self._title, now, state, width=self._console.width)
        self._live.update(table, refresh=True)

    def stopping(self, text: str) -> None:
        """See `Show`."""
        self._state = "stopping"
        self._console.print(text)

    def report(self, report: Report) -> None:
        """See `Show`."""
        self._live.stop()
        self._console.print(as_table(self._title, report, width=self._console.width))


class PlainLines:
    """A line a second, by the run's own clock, and the report at the end."""

    def __init__(self, title: str, write: Callable[[str], object]) -> None:
        self._title = title
        self._write = write
        self._shown = 0.0

    def progress(self, now: RunStats) -> None:
        """Write a line if a second has passed since the last one and the run goes on."""
        if now.outcome == "running" and now.seconds >= self._shown + 1:
            self._shown = now.seconds
            self._write(plain_line(self._title, now))

    def stopping(self, text: str) -> None:
        """See `Show`."""
        self._write(text)

    def report(self, report: Report) -> None:
        """See `Show`."""
        self._write(f"{click.style(self._title, bold=True)}\n{replace(report, error=None)}")


class Silent:
    """Nothing."""

    def progress(self, now: RunStats) -> None:
        """See `Show`."""

    def stopping(self, text: str) -> None:
        """See `Show`."""

    def report(self, report: Report) -> None:
        """See `Show`."""


def plain_line(title: str, now: RunStats) -> str:
    """The pipeline in one line: what came in and went out, the rate, what was lost, the bottleneck.

    ``sums: 2 s, 12,000 in, 800 out, 400/s, map(f): 3 skipped, bottleneck map(f) at 425/s``

    The bottleneck has a rate of its own, which shows that there is progress where nothing comes out
    for a while, because a stage gathers.
    """
    read = sum(stage.items_out for stage in sources_of(now))
    sinks = sinks_of(now)
    written = sum(stage.absorbed for stage in sinks)
    rate = sum(stage.rate for stage in sinks)
    line = f"{title}: {now.seconds:.0f} s, {read:,} in, {written:,} out, {rate_text(rate)}/s"
    for stage in now.stages:
        noted = ", ".join(notes(stage))
        line += f", {stage.name}: {noted}" if noted else ""
    if now.bottleneck is None:
        return line
    return f"{line}, bottleneck {now.bottleneck} at {rate_text(_pace_of(now.bottleneck, now))}/s"


def _pace_of(name: str, now: RunStats) -> float:
    """Items a second that a stage gives on, or takes where it is the one that gathers."""
    given = next((stage.rate for stage in now.stages if stage.name == name), 0.0)
    return max(given, sum(buffer.rate for buffer in now.buffers if buffer.before == name))


@contextmanager
def on_stderr(title: str) -> Generator[Show]:
    """What shows a run on standard error while the block lasts."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainLines(title, _write_line)
        return
    # What the pipeline prints must go where it belongs, so a piped stdout is left alone.
    with (
        _no_echo_of_ctrl_c(),
        Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        ) as live,
    ):
        yield LiveTable(title, console, live)


@contextmanager
def _no_echo_of_ctrl_c() -> Generator[None]:
    """The terminal's own ``^C`` would move the cursor, and the table is drawn from where it is."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    without = termios.tcgetattr(terminal)
    without[_LOCAL_FLAGS] &= ~termios.ECHOCTL
    termios.tcsetattr(terminal, termios.TCSANOW, without)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _write_line(line: str) -> None:
    click.echo(line, err=True)
