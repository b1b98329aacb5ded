"""The keys by which a conflating buffer knows which of its items a newer one replaces.

They are found by an element operator, once for each item, which gives pairs of the key and the
item; the buffer behind it calls no function of the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._failing import first_checked
from .._spec import Step, StepControl
from .element import AtOnce, start_map


def start_pair_with_key(key: Callable[[Any], object], errors: AtOnce, control: StepControl) -> Step:
    """``(key(item), item)`` for each item whose key can be hashed."""

    def use(function: Callable[[Any], object]) -> None:
        nonlocal key
        key = function

    def paired(item: Any) -> tuple[object, Any]:
        of = key(item)
        hash(of)
        return of, item

    key = first_checked(key, use, "map_async first, and a key of its answers")
    return start_map(paired, errors, control)
