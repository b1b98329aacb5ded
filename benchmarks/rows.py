"""Rows of a benchmark, found in a package, and the command line that runs them.

A row is a module of the package that has a `ROW`; a new row is a new file and nothing else::

    def measure(effort: Effort) -> list[Figure]: ...

    ROW = Row("What is compared, in a line", measure)

`figures` has what rows need: `in_turn`, `summary`, `ratio`. A row that checks that its results are
right raises where they aren't.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from types import ModuleType

from .figures import Figure, as_dict, table


@dataclass(frozen=True)
class Effort:
    """How much is asked for.

    Attributes:
        rounds: how often what is compared takes its turn.
        scale: the share of the full load.
    """

    rounds: int
    scale: float


@dataclass(frozen=True)
class Row:
    """One comparison: what it answers, and how it is measured."""

    title: str
    measure: Callable[[Effort], list[Figure]]


FULL = Effort(rounds=9, scale=1.0)
QUICK = Effort(rounds=3, scale=0.2)


def rows_in(package: ModuleType) -> dict[str, Row]:
    """All rows of a package by their names, those of their modules."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names}
    return {name: module.ROW for name, module in modules.items() if hasattr(module, "ROW")}


def run(package: ModuleType, description: str | None) -> int:
    """Measure the rows that the command line asks for, and print them; gives the exit status."""
    found = rows_in(package)
    options = _parser(found, description).parse_args()
    effort = QUICK if options.quick else FULL
    effort = Effort(options.runs or effort.rounds, options.scale or effort.scale)
    results = {}
    for name in options.only or found:
        started = perf_counter()
        print(f"{name}: {found[name].title} …", file=sys.stderr, flush=True)
        results[name] = found[name].measure(effort)
        print(f"{name}: took {perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        if not options.json:
            print(f"\n{found[name].title} ({name})\n{table(results[name])}", flush=True)
    if options.json:
        print(json.dumps({name: [*map(as_dict, each)] for name, each in results.items()}, indent=2))
    missed = any(figure.met is False for each in results.values() for figure in each)
    return int(options.check and missed)


def _parser(found: dict[str, Row], description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(description or "").partition("\n\n")[0])
    parser.add_argument(
        "--only", action="append", choices=[*found], help="this row; may be given again"
    )
    parser.add_argument("--quick", action="store_true", help="fewer turns, smaller loads")
    parser.add_argument("--runs", type=_at_least_one, help="turns of what is compared")
    parser.add_argument("--scale", type=_share, help="a share of the full load, such as 0.1")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("more than 0, at most 1")
    return share
