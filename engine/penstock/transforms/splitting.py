"""How a stream's items are dealt to several branches.

`partition` and `route` find an item's branch in an element operator, which gives pairs of the
number of the branch and the item; the split behind it only deals them out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._failing import first_checked
from .._spec import Chunk, SplitOp, Step, StepControl
from .element import AtOnce, start_map

DROPPED = -1
"""The number of the branch of an item that is thrown away."""


def copied(branches: int) -> SplitOp:
    """Each item to each branch."""
    return SplitOp(branches, partial(_copies, branches), copies=True)


def _copies(branches: int, items: Chunk) -> list[Chunk]:
    return [items, *(items.copy() for _ in range(branches - 1))]


def dealt(branches: int) -> SplitOp:
    """Each pair's item to the branch that the pair names."""
    return SplitOp(branches, partial(_parts, branches))


def _parts(branches: int, pairs: Chunk) -> list[Chunk]:
    parts: list[Chunk] = [[] for _ in range(branches)]
    for branch, item in pairs:
        parts[branch].append(item)
    return parts


def start_partition(matches: Callable[[Any], object], errors: AtOnce, control: StepControl) -> Step:
    """Branch 0 where ``matches(item)`` is true, else branch 1."""

    def use(function: Callable[[Any], object]) -> None:
        nonlocal matches
        matches = function

    def label(item: Any) -> tuple[int, Any]:
        return (0 if matches(item) else 1), item

    matches = first_checked(matches, use, "map_async and partition its answers")
    return start_map(label, errors, control)


def start_route(
    key: Callable[[Any], object],
    branches: dict[object, int],
    otherwise: int | None,
    errors: AtOnce,
    control: StepControl,
) -> Step:
    """The branch that stands for ``key(item)``, or ``otherwise``; None refuses the item."""

    def use(function: Callable[[Any], object]) -> None:
        nonlocal key
        key = function

    def label(item: Any) -> tuple[int, Any]:
        of = key(item)
        branch = branches.get(of, otherwise)
        if branch is None:
            raise LookupError(f'no route for {of!r}, and otherwise="raise"')
        return branch, item

    key = first_checked(key, use, "map_async and route its answers")
    step = start_map(label, errors, control)
    if otherwise != DROPPED:
        return step

    def step_and_drop(items: Chunk) -> Chunk:
        pairs = step(items)
        kept = [pair for pair in pairs if pair[0] != DROPPED]
        control.dropped(len(pairs) - len(kept))
        return kept

    return step_and_drop
