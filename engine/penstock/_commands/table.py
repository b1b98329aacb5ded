"""A run as rows, for people: a stage a row, with what there is to say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from rich.table import Table
from rich.text import Text

from penstock._stats import BufferStats, RunStats, StageStats

_BAR = 8
_PERCENT = 5
_GAP = 2
_NAME = 14
_FEW = 6
_NOTES = 20
_MARK = "◀ bottleneck"
_FILL = ("buffer", "peak")
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
    Where there is little room, names are cut, and what can be spared is left out: first the bars,
    then how full the buffers are, the rates and the busy seconds. The counts stay.
    """
    rows = stage_rows(stats)
    names = [("  " if row.is_fused else "") + row.name for row in rows]
    told = [_notes_text(row) for row in rows]
    columns = _columns(rows, stats)
    spare = _spared(columns, rows, stats)
    for_names, for_notes = min(_NAME, _widest(names)), min(_NOTES, _widest(told))
    while _width(columns) + for_names + _GAP + for_notes + _GAP > width and spare:
        spare.pop(0)()
    heading = _heading(title, stats.seconds, state or stats.outcome)
    table = Table(title=heading, title_justify="left", box=None, padding=(0, _GAP, 0, 0))
    # What the other columns leave, at least a few letters.
    room = max(_FEW, width - _width(columns) - for_notes - 2 * _GAP)
    fits_mark = room > _FEW or width - _width(columns) - room - 2 * _GAP >= len(_MARK)
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=room)
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in _FILL else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    table.add_column("", overflow="fold")
    for name, *cells, row in zip(names, *columns.values(), rows, strict=True):
        table.add_row(
            name,
            *cells,
            _notes_text(row, _MARK if fits_mark else _MARK[:1]),
            style="bold" if row.is_bottleneck else None,
        )
    return table


def _heading(title: str, seconds: float, state: str) -> Text:
    style = _OUTCOME_STYLES.get(state, "yellow")
    return Text.assemble((title, "bold"), f"  {seconds:.1f} s  ", (state, style))


def _columns(rows: list[StageRow], stats: RunStats) -> dict[str, list[Text]]:
    """The columns between the names and the notes, by their headings."""
    columns = {
        "in": [Text(_number(row.items_in)) for row in rows],
        "out": [Text(_number(row.items_out)) for row in rows],
        "rate/s": [Text(rate_text(row.rate)) for row in rows],
    }
    if stats.outcome != "running":
        columns["busy s"] = [Text(f"{stage.busy:.2f}") for stage in stats.stages]
    if stats.buffers:
        columns[_fill_heading(stats)] = [_bar_text(row.fill) for row in rows]
    return columns


def _spared(
    columns: dict[str, list[Text]], rows: list[StageRow], stats: RunStats
) -> list[Callable[[], object]]:
    """What makes the columns narrower, step by step."""
    fill = _fill_heading(stats)

    def no_bars() -> None:
        if fill in columns:
            columns[fill] = [_fill_text(row.fill) for row in rows]

    return [no_bars, *(partial(columns.pop, name, None) for name in (fill, "rate/s", "busy s"))]


def _fill_heading(stats: RunStats) -> str:
    return _FILL[stats.outcome != "running"]


def _width(columns: dict[str, list[Text]]) -> int:
    return sum(max(len(name), _widest(cells)) + _GAP for name, cells in columns.items())


def _widest(cells: Sequence[str | Text]) -> int:
    return max(map(len, cells), default=0)


def rate_text(rate: float) -> str:
    """A number a second: whole, or with one digit where it is small."""
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _notes_text(row: StageRow, mark: str = _MARK) -> Text:
    marked = [(mark, "bold yellow")] if row.is_bottleneck else []
    parts = [*marked, *((note, "red" if "error" in note else "yellow") for note in row.notes)]
    return Text(", ").join(Text(*part) for part in parts)


def _bar_text(fill: float | None) -> Text:
    if fill is None:
        return Text("")
    style = "red" if fill >= _NEARLY_FULL else "green"
    return Text.assemble((bar(fill), style), f"{fill:{_PERCENT}.0%}")


def _fill_text(fill: float | None) -> Text:
    return Text("" if fill is None else f"{fill:{_PERCENT}.0%}")


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
