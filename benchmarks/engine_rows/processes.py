"""`map_blocking` on two processes against `ProcessPoolExecutor.map` with its best chunk size.

The function is about a millisecond of pure computing. The best chunk size is looked for first, with
a part of the items. Each run makes its processes and waits for their end; both spawn them, since a
program with threads must not fork. Target: at least 0.9 of its speed. Beside it, without a target,
`map` over processes that are forked, as is the default on Linux before Python 3.14, and which need
not import anything.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from time import perf_counter

import penstock as ps

from ..figures import Figure, in_turn, ratio, summary
from ..rows import Effort, Row

ITEMS = 4_000
WORKERS = 2
SHARE = 0.9
CHUNK_SIZES = (1, 10, 30, 100, 300)
STEPS = 18_000
"""Of the function: about a millisecond."""


def compute(n: int) -> int:
    state = n
    for _ in range(STEPS):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return state


def mapped(number: int) -> list[int]:
    stream = ps.from_iterable(range(number)).map_blocking(compute, WORKERS, on="process")
    return ps.run(stream.to(ps.collect()))


def by_executor(number: int, chunk_size: int, start: str) -> list[int]:
    with ProcessPoolExecutor(WORKERS, get_context(start)) as processes:
        return list(processes.map(compute, range(number), chunksize=chunk_size))


def measure(effort: Effort) -> list[Figure]:
    """All in turn."""
    rounds, number = -(-effort.rounds // 3), int(ITEMS * effort.scale)
    chunk_size = _best_chunk_size(number // 4)
    works = {
        "executor": partial(by_executor, number, chunk_size, "spawn"),
        "penstock": partial(mapped, number),
        "forking executor": partial(by_executor, number, chunk_size, "fork"),
    }
    expected = mapped(number)
    rates = in_turn({name: partial(_rate, work, expected) for name, work in works.items()}, rounds)
    named = {"executor": f"executor, chunks of {chunk_size}"}
    return [
        *(summary(f"{named.get(name, name)}, k items/s", rates[name]) for name in rates),
        ratio("penstock / executor", rates["penstock"], rates["executor"], SHARE),
        ratio("penstock / forking executor", rates["penstock"], rates["forking executor"]),
    ]


def _best_chunk_size(number: int) -> int:
    expected = mapped(number)
    works = {
        str(size): partial(_rate, partial(by_executor, number, size, "fork"), expected)
        for size in CHUNK_SIZES
    }
    rates = in_turn(works, 3)
    return int(max(rates, key=lambda size: max(rates[size])))


def _rate(work: partial[list[int]], expected: list[int]) -> float:
    """Thousands of items a second of the clock: more than one processor works."""
    started = perf_counter()
    results = work()
    seconds = perf_counter() - started
    if results != expected:
        raise AssertionError("wrong results")
    return len(expected) / seconds / 1_000


ROW = Row("map_blocking on 2 processes, items of 1 ms, against ProcessPoolExecutor.map", measure)
