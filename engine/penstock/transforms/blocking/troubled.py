"""An outcome for every item of a group, whatever becomes of the worker that has it.

An item that takes its worker down has failed, and the others of its group are called again: at
least once, that is, for those before it. A group in which it can't be told which item is to blame
(one can't be pickled) is called item by item.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..._spec import Chunk
from .calls import Outcome
from .processes import Trouble


async def call_through_trouble(
    call: Callable[[Chunk], Awaitable[Outcome | Trouble]], items: Chunk, *, stop_at_failure: bool
) -> Outcome:
    """The outcome of a group; with ``stop_at_failure`` nothing is called again after one."""
    answer = await call(items)
    if isinstance(answer, Outcome):
        return answer
    results: list[Any] = [None] * len(items)
    failures: list[tuple[int, Exception]] = []
    everything = list(range(len(items)))
    parts = _after(answer, everything, failures)
    while parts and not (failures and stop_at_failure):
        part = parts.pop(0)
        answer = await call([items[position] for position in part])
        if isinstance(answer, Outcome):
            for position, result in zip(part, answer.results, strict=False):
                results[position] = result
            failures += [(part[at], error) for at, error in answer.failures]
        else:
            parts = _after(answer, part, failures) + parts
    failures.sort(key=lambda failure: failure[0])
    return Outcome(results, failures, 0.0)


def _after(
    trouble: Trouble, part: list[int], failures: list[tuple[int, Exception]]
) -> list[list[int]]:
    """Note the failure of the item to blame; the parts in which the others are called again."""
    if trouble.position is None and len(part) > 1:
        return [[position] for position in part]
    to_blame = part[trouble.position or 0]
    failures.append((to_blame, trouble.error))
    rest = [position for position in part if position != to_blame]
    return [rest] if rest else []
