"""Element operators that know what came before: numbers, pairs, repeats.

Those that call a function do it as in `element`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

from .._failing import first_checked
from .._spec import Chunk, Step, StepControl
from .element import AtOnce, start_filter

_NOTHING: Any = object()
"""Before the first item. No user's ``==`` sees it."""


def start_enumerate(first: int, control: StepControl) -> Step:
    """``(number, item)``."""
    number = first

    def step(items: Chunk) -> Chunk:
        nonlocal number
        numbered = list(enumerate(items, number))
        number += len(items)
        return numbered

    return step


def start_pairwise(control: StepControl) -> Step:
    """Each item with the one before it."""
    last: Chunk = []

    def step(items: Chunk) -> Chunk:
        nonlocal last
        pairs = list(pairwise(chain(last, items)))
        last = items[-1:]
        return pairs

    return step


def start_dedupe(key: Callable[[Any], object] | None, errors: AtOnce, control: StepControl) -> Step:
    """The items whose key is another than that of the item before."""
    last: object = _NOTHING

    def is_new(value: object) -> bool:
        nonlocal last
        if last is not _NOTHING and value == last:
            return False
        last = value
        return True

    return start_filter(_of_key(key, is_new), errors, control)


def start_distinct(
    key: Callable[[Any], object] | None,
    max_keys: int | None,
    errors: AtOnce,
    control: StepControl,
) -> Step:
    """The items whose key has not been seen, as far as can be remembered."""
    is_new = _unbounded_memory() if max_keys is None else _bounded_memory(max_keys, control)
    return start_filter(_of_key(key, is_new), errors, control)


def _of_key(
    key: Callable[[Any], object] | None, is_new: Callable[[Any], bool]
) -> Callable[[Any], bool]:
    return is_new if key is None else _of_checked_key(key, is_new)


def _of_checked_key(
    key: Callable[[Any], object], is_new: Callable[[Any], bool]
) -> Callable[[Any], bool]:
    def use(function: Callable[[Any], object]) -> None:
        nonlocal key
        key = function

    key = first_checked(key, use, "map_async first, and a key of its answers")
    return lambda item: is_new(key(item))


def _unbounded_memory() -> Callable[[Any], bool]:
    seen: set[object] = set()

    def is_new(key: object) -> bool:
        if key in seen:
            return False
        seen.add(key)
        return True

    return is_new


def _bounded_memory(max_keys: int, control: StepControl) -> Callable[[Any], bool]:
    seen: OrderedDict[object, None] = OrderedDict()

    def is_new(key: object) -> bool:
        if key in seen:
            seen.move_to_end(key)
            return False
        seen[key] = None
        if len(seen) > max_keys:
            seen.popitem(last=False)
            control.evicted(1)
        return True

    return is_new
