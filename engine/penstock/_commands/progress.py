"""A running pipeline as it is seen: a live table on a terminal, else a line a second."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock._stats import Report, RunStats

Show: TypeAlias = Callable[[RunStats], object]

_RATE_SNAPSHOTS = 10  # of a tenth of a second each: rates are those of the last second


@dataclass(frozen=True, slots=True)
class StageRow:
    """What the table says of one stage; ``rate`` in items a second, ``fill`` from 0 to 1."""

    name: str
    items_in: int
    items_out: int
    rate: float
    skipped: int
    dropped: int
    fill: float | None
    is_bottleneck: bool


def stage_rows(now: RunStats, before: RunStats | None = None) -> list[StageRow]:
    """A row for each stage; rates are those since ``before``, or since the start."""
    fills = {buffer.before: buffer.held / buffer.capacity for buffer in now.buffers}
    earlier = {stage.name: stage for stage in before.stages} if before else {}
    seconds = now.seconds - (before.seconds if before else 0.0)
    rows: list[StageRow] = []
    for stage in now.stages:
        was = earlier.get(stage.name)
        # A sink gives nothing on: its pace is that of what it takes.
        moved = max(stage.items_out, stage.items_in)
        moved -= max(was.items_out, was.items_in) if was else 0
        rows.append(
            StageRow(
                name=stage.name,
                items_in=stage.items_in,
                items_out=stage.items_out,
                rate=moved / seconds if seconds > 0 else 0.0,
                skipped=stage.skipped,
                dropped=stage.dropped,
                fill=fills.get(stage.name),
                is_bottleneck=stage.name == now.bottleneck,
            )
        )
    return rows


def plain_line(title: str, now: RunStats, before: RunStats | None = None) -> str:
    """The pipeline in one line: items that went in and came out, their rate, the bottleneck."""
    rows = stage_rows(now, before)
    out_of_source, into_sink = rows[0], rows[-1]
    line = (
        f"{title}: {now.seconds:.0f} s, {out_of_source.items_out:,} in, "
        f"{into_sink.items_in:,} out, {into_sink.rate:,.0f}/s"
    )
    lost = sum(row.skipped + row.dropped for row in rows)
    line += f", {lost:,} skipped or dropped" if lost else ""
    return line + (f", bottleneck {now.bottleneck}" if now.bottleneck else "")


@contextmanager
def progress_on_stderr(title: str) -> Generator[Show, None, None]:
    """What shows a run's progress while the block lasts; to be called ten times a second."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainProgress(title).show
        return
    recent: deque[RunStats] = deque(maxlen=_RATE_SNAPSHOTS)
    # What the pipeline prints must go where it belongs, so a piped stdout is left alone.
    with Live(
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as live:

        def show(now: RunStats) -> None:
            live.update(_table(title, now, recent[0] if recent else None), refresh=True)
            recent.append(now)

        yield show


class PlainProgress:
    """A line a second, by the run's own clock."""

    def __init__(self, title: str, write: Callable[[str], object] | None = None) -> None:
        self._title = title
        self._write = write or _write_line
        self._shown: RunStats | None = None

    def show(self, now: RunStats) -> None:
        """Write a line if a second has passed since the last one and the run goes on."""
        since = self._shown.seconds if self._shown else 0.0
        if now.outcome == "running" and now.seconds >= since + 1:
            self._write(plain_line(self._title, now, self._shown))
            self._shown = now


def show_report(title: str, report: Report) -> None:
    """Write the report to standard error, as a table; its error is told elsewhere."""
    click.echo(f"{click.style(title, bold=True)}\n{replace(report, error=None)}", err=True)


def _write_line(line: str) -> None:
    click.echo(line, err=True)


_OUTCOME_STYLES = {"running": "cyan", "done": "green", "failed": "red"}


def _table(title: str, now: RunStats, before: RunStats | None) -> Table:
    style = _OUTCOME_STYLES.get(now.outcome, "yellow")
    heading = Text.assemble((title, "bold"), f"  {now.seconds:.1f} s  ", (now.outcome, style))
    table = Table(title=heading, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("stage", overflow="fold")  # the only one to give way on a narrow terminal
    for column in ("in", "out", "rate/s", "skipped", "dropped"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("buffer", no_wrap=True)
    for row in stage_rows(now, before):
        table.add_row(
            Text(row.name + (" ◀ bottleneck" if row.is_bottleneck else "")),
            f"{row.items_in:,}" if row.items_in else "",
            f"{row.items_out:,}" if row.items_out else "",
            f"{row.rate:,.0f}",
            f"{row.skipped:,}" if row.skipped else "",
            f"{row.dropped:,}" if row.dropped else "",
            _bar(row.fill),
            style="bold yellow" if row.is_bottleneck else None,
        )
    return table


def _bar(fill: float | None) -> str:
    if fill is None:
        return ""
    full = round(fill * 8)
    return "▮" * full + "▯" * (8 - full) + f" {fill:4.0%}"
