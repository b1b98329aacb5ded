"""The rows of the clients' benchmark: every module here that has a `ROW`.

A new row is a new file and nothing else::

    def measure(effort: Effort) -> list[Figure]: ...

    ROW = Row("What is compared, in a line", measure)

`figures` has what rows need: `in_turn`, `summary`, `ratio`. A row that checks that its results are
right raises where they aren't.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from .figures import Figure


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


def rows() -> dict[str, Row]:
    """All rows by their names, those of their modules."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return {name: module.ROW for name, module in modules.items() if hasattr(module, "ROW")}
