"""How much of a plain Python loop's speed a pipeline keeps, how soon a lone item arrives, and
whether memory stays flat.

- *fused*: map, filter, map over a million ints through ``from_iterable … .to(fold)``, items a
  second, as a share of a plain ``for`` loop that calls the same four functions. It answers what
  the engine itself costs where all stages share a task. Target: at least 0.65.
- *buffered*: the same with a task boundary, ``buffer(1024)``, between each two of map, filter, map
  and fold. It answers what hops between tasks cost a busy pipeline. Target: at least 0.55.
- *latency*: milliseconds from sending one item into an idle pipeline of three tasks until it
  arrives. It answers whether chunks buy speed with delay. Target: at most 1 ms at the median.
- *memory*: resident and traced memory along a million items of an endless producer before a sink
  that is slower than it. It answers whether a pipeline is bounded by its buffers. Target: growth
  of at most 2 MiB after the first tenth.

Loop, fused and buffered take turns, so that what else the machine does hits all three; a ratio is
that of neighbours in time. Medians are shown with the smallest and the largest value.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from time import perf_counter

import trio

import penstock as ps

ITEMS = 1_000_000
FUSED_SHARE = 0.65
BUFFERED_SHARE = 0.55
LATENCY_MS = 1.0
GROWTH_MIB = 2.0
MIB = 1 << 20


@dataclass(frozen=True)
class Figure:
    """One measured quantity, and whether it is what it should be."""

    name: str
    median: float
    least: float
    most: float
    target: str = ""
    met: bool | None = None


def double(n: int) -> int:
    return n * 2


def no_multiple_of_three(n: int) -> bool:
    return n % 3 != 0


def plus_one(n: int) -> int:
    return n + 1


def add(total: int, n: int) -> int:
    return total + n


def loop() -> int:
    total = 0
    for n in range(ITEMS):
        doubled = double(n)
        if no_multiple_of_three(doubled):
            total = add(total, plus_one(doubled))
    return total


def fused() -> int:
    return ps.run(
        ps.from_iterable(range(ITEMS))
        .map(double)
        .filter(no_multiple_of_three)
        .map(plus_one)
        .to(ps.fold(0, add))
    )


def buffered() -> int:
    return ps.run(
        ps.from_iterable(range(ITEMS))
        .map(double)
        .buffer(1024)
        .filter(no_multiple_of_three)
        .buffer(1024)
        .map(plus_one)
        .buffer(1024)
        .to(ps.fold(0, add))
    )


def throughput(runs: int) -> list[Figure]:
    """Items a second of the three, and what share of the loop's the pipelines reach."""
    expected = loop()
    rates: dict[str, list[float]] = {"loop": [], "fused": [], "buffered": []}
    for _ in range(runs):
        for work in (loop, fused, buffered):
            gc.collect()
            started = perf_counter()
            if work() != expected:
                raise AssertionError(f"{work.__name__} gave a wrong result")
            rates[work.__name__].append(ITEMS / (perf_counter() - started))
    figures = [summary(f"{name}, M items/s", [r / 1e6 for r in rates[name]]) for name in rates]
    for name, share in (("fused", FUSED_SHARE), ("buffered", BUFFERED_SHARE)):
        ratios = [rate / base for rate, base in zip(rates[name], rates["loop"], strict=True)]
        met = statistics.median(ratios) >= share
        figures.append(summary(f"{name} / loop", ratios, f"at least {share}", met))
    return figures


def latency(runs: int) -> Figure:
    """Milliseconds of a lone item through three idle tasks."""
    delays = trio.run(lone_items, 200 * runs)
    met = statistics.median(delays) <= LATENCY_MS
    return summary("lone item through three tasks, ms", delays, f"at most {LATENCY_MS:g}", met)


async def lone_items(number: int) -> list[float]:
    send, receive = trio.open_memory_channel[float](0)
    delays: list[float] = []
    stream = ps.from_channel(receive).buffer(1024).map(plus_nothing).buffer(1024)
    async with stream.open() as items:
        for _ in range(number):
            await trio.sleep(0.002)  # idle: everything waits again
            await send.send(perf_counter())
            (sent,) = await items.chunk()
            delays.append((perf_counter() - sent) * 1000)
    return delays


def plus_nothing(sent: float) -> float:
    return sent


def memory() -> list[Figure]:
    """Memory at each tenth of a million items that come faster than they are taken."""
    resident: list[float] = []
    traced: list[float] = []

    def sample(n: int) -> None:
        if n % (ITEMS // 10) == 0:
            gc.collect()
            resident.append(resident_mib())
            traced.append(tracemalloc.get_traced_memory()[0] / MIB)

    async def slower_than_its_producer(n: int) -> None:
        sample(n)
        if n % 64 == 0:
            await trio.lowlevel.checkpoint()

    tracemalloc.start()
    ps.run(
        ps.from_iterable(endless())
        .map(hundred_digits)
        .buffer(1024)
        .map(int)
        .take(ITEMS + 1)
        .to(ps.for_each(slower_than_its_producer))
    )
    tracemalloc.stop()
    return [growth("resident memory, MiB", resident), growth("traced memory, MiB", traced)]


def endless() -> Iterator[int]:
    return count()


def hundred_digits(n: int) -> str:
    return f"{n:0100}"


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB


def growth(name: str, samples: list[float]) -> Figure:
    grown = max(samples[1:]) - samples[1]
    shown = " ".join(f"{sample:.1f}" for sample in samples)
    print(f"{name} at each {ITEMS // 10:,} items: {shown}", file=sys.stderr)
    return Figure(
        f"growth of {name}", grown, grown, grown, f"at most {GROWTH_MIB:g}", grown <= GROWTH_MIB
    )


def summary(name: str, values: list[float], target: str = "", met: bool | None = None) -> Figure:
    return Figure(name, statistics.median(values), min(values), max(values), target, met)


def table(figures: list[Figure]) -> str:
    rows = [("", "median", "min … max", "target", "")]
    rows += [
        (
            figure.name,
            f"{figure.median:.3f}",
            f"{figure.least:.3f} … {figure.most:.3f}",
            figure.target,
            {None: "", True: "pass", False: "MISS"}[figure.met],
        )
        for figure in figures
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="turns of loop, fused and buffered")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    figures = [*throughput(options.runs), latency(options.runs), *memory()]
    if options.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
    else:
        print(table(figures))
    return int(options.check and any(figure.met is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
