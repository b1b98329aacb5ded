"""Bounds of state per key: how many keys may have state, and for how long without an item."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Any

from .._spec import StepControl

NUMBERED = 1 << 15
"""See `Recency`."""


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

    To keep keys in the order of their last items costs more than to number those items. So as long
    as nobody asks which is the oldest they are numbered, and then put in order by a sort: of at
    most ``numbered`` keys, which takes a few milliseconds. From there on, and of more keys, and
    with ``idle``, the order is kept all the time, until few are left.
    """

    __slots__ = ("_bounds", "_few", "_in_order", "_numbered", "_numbers", "_touched")

    def __init__(self, bounds: KeyBounds, numbered: int = NUMBERED) -> None:
        self._bounds = bounds
        self._numbered = numbered
        most = numbered if bounds.max_keys is None else min(numbered, bounds.max_keys)
        self._few = most // 2 if bounds.idle is None else -1
        self._numbers = count()
        # By key: the number of the last item, or, in order, when that came.
        self._touched: dict[Any, float] = {}
        self._in_order: OrderedDict[Any, float] | None = None
        if bounds.idle is not None:
            self._put_in_order()

    def __len__(self) -> int:
        return len(self._touched)

    def __contains__(self, key: object) -> bool:
        return key in self._touched

    def touch(self, key: Any, now: float) -> None:
        """An item of ``key`` came at ``now``."""
        in_order = self._in_order
        if in_order is not None:
            in_order[key] = now
            in_order.move_to_end(key)
            return
        touched = self._touched
        touched[key] = next(self._numbers)
        if len(touched) > self._numbered:
            self._put_in_order()

    def touch_all(self, keys: list[Any], now: float) -> None:
        """Items of these keys came at ``now``, in this order."""
        if self._in_order is None:
            self._touched.update(zip(keys, self._numbers))  # noqa: B905 - they have no end
            if len(self._touched) > self._numbered:
                self._put_in_order()
            return
        in_order = self._in_order
        move_to_end = in_order.move_to_end
        for key in keys:
            in_order[key] = now
            move_to_end(key)

    def _put_in_order(self) -> OrderedDict[Any, float]:
        numbers = self._touched
        self._in_order = OrderedDict.fromkeys(sorted(numbers, key=numbers.__getitem__), 0.0)
        self._touched = self._in_order
        return self._in_order

    def forget(self, key: Any) -> None:
        """The key has no state any more."""
        self._touched.pop(key, None)
        if self._in_order is not None and len(self._touched) <= self._few:
            self._numbers = count()
            self._touched = dict(zip(self._in_order, self._numbers))  # noqa: B905 - the same
            self._in_order = None

    @property
    def oldest(self) -> Any:
        """The key touched longest ago; only where there is one."""
        in_order = self._put_in_order() if self._in_order is None else self._in_order
        return next(iter(in_order))

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
    """A state for each key, within bounds. It looks at a clock in `tidy` only."""

    __slots__ = ("_clock", "_evicted", "_now", "_recency", "_states")

    def __init__(self, bounds: KeyBounds, control: StepControl) -> None:
        self._recency = Recency(bounds) if bounds.are_set else None
        self._states: dict[Any, Any] = {}
        self._evicted = control.evicted
        self._clock = None if bounds.idle is None else control.waiting_clock()
        self._now = 0.0

    def tidy(self) -> None:
        """Forget the keys that were left alone for too long; items come now."""
        if self._clock is None or self._recency is None:
            return
        self._now = self._clock.now
        while self._recency.next_idle <= self._now:
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
