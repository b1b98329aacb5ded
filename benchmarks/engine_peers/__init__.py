"""Other engines' ways of doing the work of the engine's rows, each as its own manual has it.

A module here has the name of the library that it uses, and is imported only where that is
installed. It has ``sum_of(numbers)``, which is map, filter, map and fold with the functions of
`benchmarks.engine_rows.work`, and may have ``count_windows(events)``, which counts the events of
each key in each window.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

PEERS = ("aiostream", "bytewax", "reactivex", "streamz")


def installed(names: tuple[str, ...] = PEERS) -> dict[str, Any]:
    """The modules of this package whose libraries are there."""
    return {name: import_module(f"{__name__}.{name}") for name in names if find_spec(name)}
