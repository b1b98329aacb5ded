"""A run as rows, for people: a stage a row, with what there is to say about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from penstock._stats import BufferStats, RunStats, StageStats

_BAR = 8
_PERCENT = 5
_GAP = 2
_NAME = 14
_NOTES = 20
_NEARLY_FULL = 0.8
_OUTCOME_STYLES = {"running": "cyan", "stopping": "yellow", "done": "green", "failed": "red"}
_NOTED = ("skipped", "retried", "dead_lettered", "late", "dropped", "abandoned", "evicted")


@dataclass(frozen=True, slots=True)
class StageRow:
    """What is shown of one stage.

    Attributes:
        name: the stage's name.
        is_fused: whether it shares the task of the stage above it.
        items_in, items_out: items so far; None where a source takes or a sink gives none.
        rate: items a second.
        fill: how full the buffer in front of it is, or, of a run that is over, was at the most,
            from 0 to 1; None where it has none.
        notes: what else was counted, in words.
        is_bottleneck: whether it sets the pace.
    """

    name: str
    is_fused: bool
    items_in: int | None
    items_out: int | None
    rate: float
    fill: float | None
    notes: tuple[str, ...]
    is_bottleneck: bool


def stage_rows(stats: RunStats) -> list[StageRow]:
    """A row for each stage."""
    buffers = _buffers(stats)
    sources = {stage.name for stage in sources_of(stats)}
    sinks = {stage.name for stage in sinks_of(stats)}
    return [
        StageRow(
            name=stage.name,
            is_fused=not is_first,
            items_in=None if stage.name in sources else stage.items_in,
            items_out=None if stage.name in sinks else stage.items_out,
            rate=stage.rate,
            fill=_fill(buffers.get(stage.name, []), at_most=stats.outcome != "running"),
            notes=tuple(notes(stage)),
            is_bottleneck=stage.name == stats.bottleneck,
        )
        for stage, is_first in _with_tasks(stats)
    ]


def sources_of(stats: RunStats) -> list[StageStats]:
    """The stages that items come from: the first of their tasks, with no buffer before them."""
    buffers = _buffers(stats)
    return [
        stage for stage, is_first in _with_tasks(stats) if is_first and stage.name not in buffers
    ]


def sinks_of(stats: RunStats) -> list[StageStats]:
    """The stages that items go into: the last of their tasks, with no buffer behind them."""
    senders = {name for buffer in stats.buffers for name in buffer.after}
    last = {stage.task: stage for stage in stats.stages}
    return [stage for stage in last.values() if stage.name not in senders]


def notes(stage: StageStats) -> Iterator[str]:
    """What was counted of a stage that doesn't always happen: ``3 skipped``, ``2 retried``."""
    fatal = stage.errors - stage.skipped - stage.retried - stage.dead_lettered
    if fatal > 0:
        yield _count(fatal, "error")
    for name in _NOTED:
        number = getattr(stage, name)
        if number:
            yield f"{number:,} {name.replace('_', '-')}"
    if stage.held_the_loop:
        times = f"{stage.held_the_loop:,} times, " if stage.held_the_loop > 1 else ""
        yield f"held the loop {times}{stage.held_the_loop_longest:.2f} s"


def bar(fill: float) -> str:
    """``▮▮▯▯▯▯▯▯``: the share that is full, from 0 to 1."""
    full = min(_BAR, round(fill * _BAR))
    return "▮" * full + "▯" * (_BAR - full)


def as_table(title: str, stats: RunStats, state: str | None = None, *, width: int) -> Table:
    """A run as a table of at most ``width`` columns; ``state`` stands in for its outcome.

    Of a run that is over it shows how full the buffers were at the most, and the busy seconds.
    """
    rows = stage_rows(stats)
    numbers = _numbers(rows, stats)
    bars = [_bar_text(row.fill) for row in rows] if stats.buffers else []
    told = [_notes_text(row) for row in rows]
    heading = _heading(title, stats.seconds, state or stats.outcome)
    table = Table(title=heading, title_justify="left", box=None, padding=(0, _GAP, 0, 0))
    room = _room_for_names(width, numbers, bars, told)
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=room)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    if bars:
        table.add_column("buffer" if stats.outcome == "running" else "peak", no_wrap=True)
    table.add_column("", overflow="fold")
    for number, row in enumerate(rows):
        table.add_row(
            ("  " if row.is_fused else "") + row.name,
            *(cells[number] for cells in numbers.values()),
            *bars[number : number + 1],
            told[number],
            style="bold" if row.is_bottleneck else None,
        )
    return table


def _heading(title: str, seconds: float, state: str) -> Text:
    style = _OUTCOME_STYLES.get(state, "yellow")
    return Text.assemble((title, "bold"), f"  {seconds:.1f} s  ", (state, style))


def _numbers(rows: list[StageRow], stats: RunStats) -> dict[str, list[str]]:
    """The columns of numbers by their names."""
    numbers = {
        "in": [_number(row.items_in) for row in rows],
        "out": [_number(row.items_out) for row in rows],
        "rate/s": [rate_text(row.rate) for row in rows],
    }
    if stats.outcome != "running":
        numbers["busy s"] = [f"{stage.busy:.2f}" for stage in stats.stages]
    return numbers


def _room_for_names(
    width: int, numbers: dict[str, list[str]], bars: list[Text], told: list[Text]
) -> int:
    """What the other columns leave to the names, which give way first, but not altogether."""
    taken = sum(max(map(len, (name, *cells))) + _GAP for name, cells in numbers.items())
    taken += _BAR + _PERCENT + _GAP if bars else 0
    taken += min(_NOTES, max(map(len, told))) + _GAP
    return max(_NAME, width - taken)


def rate_text(rate: float) -> str:
    """A number a second: whole, or with one digit where it is small."""
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _notes_text(row: StageRow) -> Text:
    marked = [("◀ bottleneck", "bold yellow")] if row.is_bottleneck else []
    parts = [*marked, *((note, "red" if "error" in note else "yellow") for note in row.notes)]
    return Text(", ").join(Text(*part) for part in parts)


def _bar_text(fill: float | None) -> Text:
    if fill is None:
        return Text("")
    style = "red" if fill >= _NEARLY_FULL else "green"
    return Text.assemble((bar(fill), style), f"{fill:{_PERCENT}.0%}")


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _buffers(stats: RunStats) -> dict[str, list[BufferStats]]:
    found: dict[str, list[BufferStats]] = {}
    for buffer in stats.buffers:
        found.setdefault(buffer.before, []).append(buffer)
    return found


def _fill(buffers: list[BufferStats], *, at_most: bool) -> float | None:
    """How full the fullest of the buffers in front of a stage is, or was ``at_most``."""
    return max(
        ((each.peak if at_most else each.held) / each.capacity for each in buffers), default=None
    )


def _with_tasks(stats: RunStats) -> Iterator[tuple[StageStats, bool]]:
    """Each stage, and whether it is the first of its task."""
    seen: set[int] = set()
    for stage in stats.stages:
        yield stage, stage.task not in seen
        seen.add(stage.task)
