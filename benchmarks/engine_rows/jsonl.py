"""A file of JSON lines in, a part of its records out: against a plain loop with the same parser.

500 MB of what the standard library of this Python is made of, see `benchmarks.engine_rows.records`.
A pipeline of `read_jsonl`, `filter` and `write_jsonl` against one straight ``for`` loop over the
file; both decode and encode with msgspec and must write the same bytes. Each runs in a fresh
process, in turn. Targets: at least 0.9 of the loop's speed, and never more than 100 MB of memory.
The pipeline writes a file that is renamed when it is whole and on the disk; the loop just writes.

msgspec writes NaN as ``null``, and so the loop does. The pipeline of the targets is told to do so,
too; *checked* is one that looks for NaN and would refuse it, as it does unless told otherwise.
"""

from __future__ import annotations

import filecmp
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Literal, NamedTuple

import msgspec

import penstock as ps

from ..figures import Figure, at_most, in_turn, ratio, summary
from ..rows import Effort, Row
from .measuring import MIB, in_a_process, peak_mib
from .records import write_records

MEGABYTES = 500
LEAST_MEGABYTES = 20
SHARE = 0.9
MOST_MIB = 100_000_000 / MIB
_SPARE = 3
"""How many times the file's size must be free: for it, and for what three works write."""


class Measured(NamedTuple):
    """What one work took."""

    seconds: float
    peak_mib: float


def takes_three(record: Any) -> bool:
    """Keeps about a quarter."""
    return record["kind"] == "function" and len(record["arguments"]) >= 3


def by_loop(source: Path, target: Path) -> Measured:
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    started = perf_counter()
    with source.open("rb") as lines, target.open("wb") as out:
        for line in lines:
            record = decode(line)
            if takes_three(record):
                out.write(encode(record) + b"\n")
    return Measured(perf_counter() - started, peak_mib())


def by_pipeline(nan: Literal["raise", "null"], source: Path, target: Path) -> Measured:
    started = perf_counter()
    ps.run(ps.read_jsonl(source).filter(takes_three).to(ps.write_jsonl(target, nan=nan)))
    return Measured(perf_counter() - started, peak_mib())


def measure(effort: Effort) -> list[Figure]:
    """All in turn, as often as a third of the rounds, at least three times."""
    rounds = max(3, effort.rounds // 3)
    works: dict[str, Callable[[Path, Path], Measured]] = {
        "loop": by_loop,
        "penstock": partial(by_pipeline, "null"),
        "checked": partial(by_pipeline, "raise"),
    }
    peaks: dict[str, list[float]] = {work: [] for work in works}
    with TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        source = folder / "records.jsonl"
        write_records(source, _size(effort, folder))
        megabytes = source.stat().st_size / 1_000_000
        targets = {work: folder / f"{work}.jsonl" for work in works}

        def speed(work: str, function: Callable[[Path, Path], Measured]) -> float:
            measured = in_a_process(function, source, targets[work])
            peaks[work].append(measured.peak_mib)
            return megabytes / measured.seconds

        speeds = in_turn(
            {work: partial(speed, work, function) for work, function in works.items()}, rounds
        )
        for work, target in targets.items():
            if not filecmp.cmp(targets["loop"], target, shallow=False):
                raise AssertionError(f"{work} did not write what the loop wrote")
    return [
        *(summary(f"{work}, MB/s of {megabytes:.0f} MB", speeds[work]) for work in speeds),
        ratio("penstock / loop", speeds["penstock"], speeds["loop"], SHARE),
        ratio("checked / loop", speeds["checked"], speeds["loop"]),
        summary("loop, most memory, MiB", peaks["loop"]),
        at_most(
            "penstock, most memory, MiB",
            [max(peaks["penstock"] + peaks["checked"])],
            round(MOST_MIB, 1),
        ),
    ]


def _size(effort: Effort, folder: Path) -> int:
    """How many bytes the file is to have: less than asked for where the disk is full."""
    asked = MEGABYTES * effort.scale
    room = shutil.disk_usage(folder).free / 1_000_000 / _SPARE
    if room < LEAST_MEGABYTES:
        raise OSError(f"the disk of {folder} has too little room left")
    if room < asked:
        print(f"jsonl: {room:.0f} MB in place of {asked:.0f}: the disk is full", file=sys.stderr)
    return int(min(asked, room) * 1_000_000)


ROW = Row("JSON lines in, parsed, filtered, out, against a plain loop with msgspec", measure)
