"""Bounds of state per key: how many keys may have state, and for how long without an item."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import trio


@dataclass(frozen=True, slots=True)
class KeyBounds:
    """At most ``max_keys`` keys have state, and none that was not touched for ``idle`` seconds.

    None for no bound.
    """

    max_keys: int | None
    idle: float | None

    @property
    def are_set(self) -> bool:
        """Whether any state is let go of."""
        return self.max_keys is not None or self.idle is not None


class Recency:
    """The keys that have state, the one touched longest ago first. Pure.

    Who keeps the state calls `touch` for each item that it takes into a key's state, and `forget`
    when that is gone.

    As long as no key is in danger, with no ``idle`` and less than half of ``max_keys`` in use, only
    a key's first item counts: to keep keys in the order of their last items costs more than to
    count those items.
    """

    __slots__ = ("_bounds", "_safe", "_touched")

    def __init__(self, bounds: KeyBounds) -> None:
        self._bounds = bounds
        self._safe = 0 if bounds.idle is not None else (bounds.max_keys or 0) // 2
        self._touched: OrderedDict[Any, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._touched)

    def __contains__(self, key: object) -> bool:
        return key in self._touched

    def touch(self, key: Any, now: float) -> None:
        """An item of ``key`` came at ``now``."""
        touched = self._touched
        if key not in touched:
            touched[key] = now
        elif len(touched) > self._safe:
            touched[key] = now
            touched.move_to_end(key)

    def touch_all(self, keys: list[Any], now: float) -> None:
        """Items of these keys came at ``now``, in this order."""
        touched, safe = self._touched, self._safe
        if len(touched) + len(keys) <= safe:
            for key in [key for key in keys if key not in touched]:
                touched[key] = now
            return
        move_to_end = touched.move_to_end
        for key in keys:
            if key not in touched:
                touched[key] = now
            elif len(touched) > safe:
                touched[key] = now
                move_to_end(key)

    def forget(self, key: Any) -> None:
        """The key has no state any more."""
        self._touched.pop(key, None)

    @property
    def oldest(self) -> Any:
        """The key touched longest ago; only where there is one."""
        return next(iter(self._touched))

    def is_full_for(self, key: Any) -> bool:
        """Whether a key must go before ``key`` may have state."""
        most = self._bounds.max_keys
        return most is not None and len(self._touched) >= most and key not in self._touched

    def is_full_for_any(self, keys: list[Any]) -> bool:
        """Whether a key must go before all of these may have state."""
        most = self._bounds.max_keys
        touched = self._touched
        if most is None or len(touched) + len(keys) <= most:
            return False
        return len(touched) + sum(key not in touched for key in set(keys)) > most

    @property
    def next_idle(self) -> float:
        """When the first key will have been left alone for too long."""
        if self._bounds.idle is None or not self._touched:
            return inf
        return self._touched[self.oldest] + self._bounds.idle


class BoundedStates:
    """A state for each key, within bounds. It looks at Trio's clock in `tidy` only."""

    __slots__ = ("_evicted", "_now", "_recency", "_states")

    def __init__(self, bounds: KeyBounds, evicted: Callable[[int], None]) -> None:
        self._recency = Recency(bounds) if bounds.are_set else None
        self._states: dict[Any, Any] = {}
        self._evicted = evicted
        self._now = 0.0

    def tidy(self) -> None:
        """Forget the keys that were left alone for too long; items come now."""
        self._now = trio.current_time()
        while self._recency is not None and self._recency.next_idle <= self._now:
            self._evict(self._recency)

    def get(self, key: Any, otherwise: Any) -> Any:
        """The state of a key, or ``otherwise`` where it has none."""
        return self._states.get(key, otherwise)

    def put(self, key: Any, state: Any) -> None:
        """Keep the state of a key that an item came for; another's may go."""
        recency = self._recency
        if recency is not None:
            if recency.is_full_for(key):
                self._evict(recency)
            recency.touch(key, self._now)
        self._states[key] = state

    def _evict(self, recency: Recency) -> None:
        key = recency.oldest
        recency.forget(key)
        del self._states[key]
        self._evicted(1)
