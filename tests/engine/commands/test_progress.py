"""What is shown of a running pipeline: rows, a table, a plain line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from penstock import BufferStats, Report, RunStats, StageStats
from penstock._commands.progress import PlainLines, plain_line
from penstock._commands.table import as_table, bar, notes, rate_text, stage_rows


def stage(name: str, task: int = 0, **counts: Any) -> StageStats:
    zero = {field: 0 for field in StageStats.__slots__ if field not in ("name", "task", "where")}
    return StageStats(name=name, task=task, where=None, **{**zero, **counts})


def buffer(before: str, *after: str, held: int = 0, peak: int = 0) -> BufferStats:
    return BufferStats(
        before=before,
        after=after,
        capacity=200,
        held=held,
        peak=peak,
        passed=0,
        rate=0.0,
        dropped=0,
        send_wait=0.0,
        receive_wait=0.0,
    )


def stats(seconds: float = 2.0, **counts: Any) -> RunStats:
    return RunStats(
        seconds=seconds,
        outcome="running",
        stages=(
            stage("read", made=12_000, items_out=12_000, rate=6000.0),
            stage("map(f)", items_in=12_000, items_out=850, rate=424.6, **counts),
            stage("write", 1, items_in=850, absorbed=800, held=50, rate=400.0),
        ),
        buffers=(buffer("write", "map(f)", held=50, peak=150),),
        bottleneck="map(f)",
    )


def shown(stats: RunStats, width: int = 80, state: str | None = None) -> list[str]:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(as_table("sums", stats, state, width=width))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_row_has_what_a_stage_takes_and_gives_and_how_full_its_buffer_is() -> None:
    read, mapped, write = stage_rows(stats())
    assert (read.items_in, read.items_out, read.fill) == (None, 12_000, None)
    assert (mapped.items_in, mapped.items_out, mapped.rate) == (12_000, 850, 424.6)
    assert (write.items_in, write.items_out, write.fill) == (850, None, 0.25)
    assert [row.is_fused for row in (read, mapped, write)] == [False, True, False]
    assert [row.is_bottleneck for row in (read, mapped, write)] == [False, True, False]


def test_of_several_buffers_in_front_of_a_stage_the_fullest_counts() -> None:
    joined = replace(
        stats(), buffers=(buffer("write", "a", held=20), buffer("write", "b", held=150))
    )
    assert stage_rows(joined)[-1].fill == 0.75


def test_once_it_is_over_the_peak_is_shown() -> None:
    assert stage_rows(replace(stats(), outcome="done"))[-1].fill == 0.75


def test_notes_are_what_does_not_always_happen() -> None:
    assert list(notes(stage("map(f)", items_in=5, items_out=5))) == []
    eventful = stage(
        "map(f)",
        errors=16,
        skipped=3,
        retried=2,
        dead_lettered=10,
        late=4,
        dropped=1000,
        abandoned=5,
        evicted=6,
    )
    assert list(notes(eventful)) == [
        "1 error",
        "3 skipped",
        "2 retried",
        "10 dead-lettered",
        "4 late",
        "1,000 dropped",
        "5 abandoned",
        "6 evicted",
    ]
    once = stage("map(f)", held_the_loop=1, held_the_loop_longest=0.153)
    often = stage("map(f)", held_the_loop=12, held_the_loop_longest=2.0)
    assert [*notes(once), *notes(often)] == [
        "held the loop 0.15 s",
        "held the loop 12 times, 2.00 s",
    ]


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "0"), (0.04, "0.0"), (9.96, "10.0"), (10.4, "10"), (1234.5, "1,234")]
)
def test_a_slow_rate_has_a_digit_more(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("fill", "drawn"),
    [(0.0, "▯▯▯▯▯▯▯▯"), (0.25, "▮▮▯▯▯▯▯▯"), (1.0, "▮▮▮▮▮▮▮▮"), (1.5, "▮▮▮▮▮▮▮▮")],
)
def test_a_bar_is_full_as_far_as_the_buffer_is(fill: float, drawn: str) -> None:
    assert bar(fill) == drawn


def test_the_table() -> None:
    assert shown(stats(skipped=30, errors=30)) == [
        "sums  2.0 s  running",
        "stage         in     out  rate/s  buffer",
        "read              12,000   6,000",
        "  map(f)  12,000     850     425                 ◀ bottleneck, 30 skipped",
        "write        850             400  ▮▮▯▯▯▯▯▯  25%",
    ]
    assert shown(stats(), state="stopping")[0] == "sums  2.0 s  stopping"


def test_the_table_of_a_run_that_is_over() -> None:
    over = Report(**{name: getattr(stats(), name) for name in RunStats.__slots__})
    lines = shown(replace(over, outcome="done"))
    assert lines[:2] == [
        "sums  2.0 s  done",
        "stage         in     out  rate/s  busy s  peak",
    ]
    assert lines[-1] == "write        850             400    0.00  ▮▮▮▮▮▮▯▯  75%"


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_narrow_terminal_names_give_way_and_notes_go_on_below(width: int) -> None:
    long = replace(stats().stages[1], name=f"map({'f' * 60})", skipped=30, dropped=20, late=1)
    wide = replace(stats(), stages=(stats().stages[0], long, stats().stages[2]))
    lines = shown(wide, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for expected in ("map(fff", "12,000", "30 skipped", "20 dropped", "1 late"):
        assert expected in text


def test_what_can_be_spared_gives_way_before_the_counts() -> None:
    over = replace(stats(), outcome="done")
    assert {width: shown(over, width)[1:3] for width in (66, 60, 50, 40, 30)} == {
        66: [
            "stage         in     out  rate/s  busy s  peak",
            "read              12,000   6,000    0.00",
        ],
        60: [
            "stage         in     out  rate/s  busy s",
            "read              12,000   6,000    0.00",
        ],
        50: ["stage         in     out  busy s", "read              12,000    0.00"],
        40: ["stage         in     out", "read              12,000"],
        30: ["stage       in     out", "read            12,000"],
    }
    assert shown(over, 66)[-1] == "write        850             400    0.00    75%"
    assert shown(over, 40)[3] == "  map(f)  12,000     850  ◀ bottleneck"
    assert shown(over, 30)[3] == "  map…  12,000     850  ◀"


@pytest.mark.parametrize("width", range(30, 110, 10))
@pytest.mark.parametrize("outcome", ["running", "done"])
def test_at_no_width_are_counts_cut(width: int, outcome: Any) -> None:
    long = replace(stats().stages[1], name="map_blocking(survey)", skipped=30, dropped=20)
    read, _, write = stats().stages
    between = (buffer("write", long.name, held=50, peak=150),)
    wide = replace(stats(), outcome=outcome, stages=(read, long, write), buffers=between)
    lines = shown(wide, width)
    assert max(map(len, lines)) <= width
    assert sum(line.count("12,000") for line in lines) == 2
    assert sum(line.count(" 850") for line in lines) == 2


def test_a_table_without_buffers_and_without_notes_has_no_columns_for_them() -> None:
    plain = replace(stats(), buffers=(), bottleneck=None)
    assert shown(plain)[1] == "stage         in     out  rate/s"


def test_a_plain_line_says_it_all() -> None:
    assert plain_line("sums", stats()) == (
        "sums: 2 s, 12,000 in, 800 out, 400/s, bottleneck map(f) at 425/s"
    )
    lossy = stats(skipped=1000, errors=1000, dropped=2)
    assert ", 400/s, map(f): 1,000 skipped, 2 dropped, bottleneck " in plain_line("sums", lossy)


def test_a_bottleneck_that_gathers_has_the_rate_at_which_it_takes() -> None:
    gathering = replace(
        stats(),
        stages=(*stats().stages[:2], stage("write", 1, items_in=850, held=850)),
        buffers=(replace(buffer("write", "map(f)"), rate=424.6),),
        bottleneck="write",
    )
    assert plain_line("sums", gathering) == (
        "sums: 2 s, 12,000 in, 0 out, 0/s, bottleneck write at 425/s"
    )


def test_plain_progress_is_a_line_a_second_while_it_runs() -> None:
    lines: list[str] = []
    show = PlainLines("sums", lines.append)
    for tenth in range(1, 36):
        show.progress(stats(tenth / 10))
    show.progress(replace(stats(9.0), outcome="done"))
    assert [line.split(",")[0] for line in lines] == ["sums: 1 s", "sums: 2 s", "sums: 3 s"]


def test_the_report_comes_last_without_the_error_which_is_told_elsewhere() -> None:
    lines: list[str] = []
    over = Report(**{name: getattr(stats(), name) for name in RunStats.__slots__}, error="no")
    PlainLines("sums", lines.append).report(replace(over, outcome="failed"))
    assert lines[0].endswith("failed after 2.00 s")
    assert "map(f)" in lines[0]
