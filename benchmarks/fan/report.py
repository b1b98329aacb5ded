"""The results as text: tables on the screen, and the page benchmarks/RESULTS.md."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence

from .contenders import BENCHMARKS, INSTALLED, versions
from .machine import description
from .results import RowResult

PAGE = BENCHMARKS / "RESULTS.md"
KEPT = INSTALLED / "results.json"
"""The latest result of each row, so that one row can be measured again without the others."""

INTRODUCTION = """\
# Results of the fan-out benchmark

Written by `scripts/bench fanout --write-results`. The server runs on one core and the client, a C
program on epoll that checks every event of every reader, on the other. The servers of a row run in
turn, several rounds in one go, and the figures are medians over the rounds. All servers send the
same events of 100 bytes of JSON at the same times; each is counted with all its processes.

- A latency runs from when an event was due to right after the reader's `recv`. All events count
  that were due in the measured time or received in it.
- "CPU" is the server's share of its core in the measured time; "others" is what other processes
  took of that core: where it is more than a few per cent, latencies can't be trusted.
- "events a write" counts HTTP chunks or WebSocket frames.
- "memory a connection" is resident memory of the server's processes, not the kernel's buffers.
- nchan gets its events over HTTP from a process on the client's core, which sends each when it is
  due; the other servers make theirs themselves. Those of the peers start once all readers are
  connected.
- "events/s" are those that a reader received. A server that reaches fewer than were asked for is
  saturated: its CPU share can't be compared then, its CPU a delivery can.
"""


def as_text(result: RowResult) -> str:
    """A result for the screen."""
    widths = [
        max(len(line[column]) for line in [result.header, *result.lines])
        for column in range(len(result.header))
    ]

    def laid_out(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(
        [
            f"\n{result.title} ({result.name}): {result.load}",
            laid_out(result.header),
            *(laid_out(line) for line in result.lines),
            *result.ratios,
            *(f"{'pass' if check.met else 'MISS'}  {check.text}" for check in result.checks),
            *(f"note: {note}" for note in result.notes),
        ]
    )


def _as_markdown(result: RowResult) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    lines = [f"## {result.title}", "", f"{result.load}.", ""]
    lines += [row(result.header), row(["---"] + ["---:"] * (len(result.header) - 1))]
    lines += [row(line) for line in result.lines]
    lines.append("")
    lines += [f"- {ratio}" for ratio in result.ratios]
    lines += [f"- {'met' if check.met else '**missed**'}: {check.text}" for check in result.checks]
    lines += [f"- note: {note}" for note in result.notes]
    lines += ["", f"Again: `scripts/bench fanout --only {result.name}`", ""]
    return "\n".join(lines)


def write_page(results: Sequence[RowResult], order: Sequence[str]) -> None:
    """Write RESULTS.md from these results, and from kept ones of the rows that are not among them.

    `order` is the names of all rows.
    """
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    for result in results:
        kept[result.name] = {"date": today, "result": result.as_dict()}
    KEPT.write_text(json.dumps(kept))
    machine = [f"- {fact}" for fact in [*description(), *versions()]]
    parts = [INTRODUCTION, "## Machine and versions\n", *machine, ""]
    for name in order:
        if name in kept:
            text = _as_markdown(RowResult.from_dict(kept[name]["result"]))
            parts.append(text.rstrip() + f" (measured {kept[name]['date']})\n")
    PAGE.write_text("\n".join(parts).rstrip() + "\n")
