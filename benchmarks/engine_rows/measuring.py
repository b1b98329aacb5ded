"""Rates of works whose results are checked, and works in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MIB = 1 << 20
_PAGE = 4096


def rate(work: Callable[[], R], items: int, expected: R) -> float:
    """Thousands of items a second; for work that never waits.

    Seconds are those of the processor, so other processes count for nothing. Raises where the
    result is not the expected one.
    """
    started = process_time()
    result = work()
    seconds = process_time() - started
    if result != expected:
        raise AssertionError(f"{work} gave a wrong result")
    return items / seconds / 1_000


def in_a_process(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What ``work`` gives in a fresh process; it is imported there by its name."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(work, *args, **kwargs).result()


def resident_mib() -> float:
    """Memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / MIB


def peak_mib() -> float:
    """The most memory this process ever had in use.

    Not ``ru_maxrss``: that of a process starts with what its parent had in use.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024 / MIB
