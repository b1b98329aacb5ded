"""Does memory stay flat?

*Buffers*: along a million items of an endless producer, before a sink that is slower than it: a
pipeline is bounded by its buffers. *Windows*: along ten million events of 10,000 keys in windows
that end: what is over is forgotten. Each in a process of its own, whose memory in use is looked at
at each tenth. Target: growth of at most 2 MiB after the first tenth.
"""

from __future__ import annotations

import gc
from itertools import count

import trio

import penstock as ps

from ..figures import Figure
from ..rows import Effort, Row
from .measuring import in_a_process, resident_mib
from .work import KEYS, WINDOW, add, events, key_of, time_of

BUFFERED = 1_000_000
EVENTS = 10_000_000
GROWTH_MIB = 2.0


class Samples:
    """Memory in use at each tenth of the items: call it for each of them."""

    def __init__(self, items: int) -> None:
        self.taken: list[float] = []
        self._every = items // 10
        self._seen = 0

    def __call__(self, _: object) -> None:
        self._seen += 1
        if self._seen % self._every == 0:
            gc.collect()
            self.taken.append(resident_mib())


def along_buffers(items: int) -> list[float]:
    samples = Samples(items)

    async def slower_than_its_producer(n: int) -> None:
        samples(n)
        if n % 64 == 0:
            await trio.lowlevel.checkpoint()

    ps.run(
        ps.from_iterable(count())
        .map(hundred_digits)
        .buffer(1024)
        .map(int)
        .take(items)
        .to(ps.for_each(slower_than_its_producer))
    )
    return samples.taken


def hundred_digits(n: int) -> str:
    return f"{n:0100}"


def along_windows(items: int) -> list[float]:
    samples = Samples(items)
    counted = ps.run(
        ps.from_iterable(events(items))
        .tap(samples)
        .key_by(key_of, max_keys=KEYS)
        .window(ps.tumbling(WINDOW), time=time_of)
        .count()
        .to(ps.fold(0, add_count))
    )
    if counted != items:
        raise AssertionError(f"{counted} events counted instead of {items}")
    return samples.taken


def add_count(total: int, window: ps.Window[str, int]) -> int:
    return add(total, window.value)


def measure(effort: Effort) -> list[Figure]:
    """Both, once."""
    return [
        growth("along buffers", in_a_process(along_buffers, int(BUFFERED * effort.scale))),
        growth("along windows", in_a_process(along_windows, int(EVENTS * effort.scale))),
    ]


def growth(name: str, samples: list[float]) -> Figure:
    """How much more than at the first tenth it ever was; shown with the samples' range."""
    grown = max(samples[1:]) - samples[0]
    shown = " ".join(f"{sample:.1f}" for sample in samples)
    return Figure(
        f"growth {name}, MiB (in use at each tenth: {shown})",
        grown,
        min(samples[1:]) - samples[0],
        grown,
        f"at most {GROWTH_MIB:g}",
        grown <= GROWTH_MIB,
    )


ROW = Row("Memory along many items", measure)
