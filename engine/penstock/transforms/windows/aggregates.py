"""What is made of the items of a window: ``zero``, ``add``, ``merge`` and ``finish``.

In a bucket of `panes`, the state of a key is an *entry*: ``[number of items, accumulator]``; where
the accumulator is the number of items, just that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any, TypeAlias

from .window import Window

Bucket: TypeAlias = dict[Any, Any]
AddAll: TypeAlias = Callable[[Bucket, Iterator[Any], Iterator[Any]], None]

_NOTHING: Any = object()
"""The sum of no items."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """See `WindowedStream.aggregate`.

    Attributes:
        add_all: adds items to a bucket, given their keys and themselves. Where it raises, all
            items before the failing one are added and nothing of that.
        is_count: whether the accumulator is the number of items.
    """

    name: str
    zero: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any]
    finish: Callable[[Any], Any] | None
    add_all: AddAll
    is_count: bool = False

    def new_bucket(self) -> Bucket:
        """An empty bucket."""
        return Counter() if self.is_count else {}

    def size(self, entries: Iterable[Any]) -> int:
        """How many items some entries are of."""
        return sum(entries) if self.is_count else sum(entry[0] for entry in entries)

    def windows(
        self, entries: Iterable[tuple[Any, Any]], start: float, end: float
    ) -> list[Window[Any, Any]]:
        """A window for each entry, given by its key."""
        if self.is_count:
            return [Window(key, start, end, count) for key, count in entries]
        return [Window(key, start, end, entry[1]) for key, entry in entries]

    def gather(self, entries: Iterable[tuple[Any, Any]], gathered: dict[Any, Any]) -> None:
        """Put the entries of a pane, by their keys, to those of the panes before it.

        What is gathered for a key is the list of its accumulators, for `of_panes`; where these are
        numbers of items, their sum.
        """
        get = gathered.get
        if self.is_count:
            for key, count in entries:
                gathered[key] = get(key, 0) + count
            return
        for key, entry in entries:
            accumulators = get(key)
            if accumulators is None:
                gathered[key] = [entry[1]]
            else:
                accumulators.append(entry[1])

    @property
    def of_panes(self) -> Callable[[Any], Any] | None:
        """Makes the value of a window of what was gathered from its panes; None if it is that."""
        return None if self.is_count else self._merged

    def _merged(self, accumulators: list[Any]) -> Any:
        merged = reduce(self.merge, accumulators, self.zero())
        return merged if self.finish is None else self.finish(merged)


def custom(
    zero: Callable[[], Any],
    add: Callable[[Any, Any], Any],
    merge: Callable[[Any, Any], Any],
    finish: Callable[[Any], Any] | None,
) -> Aggregate:
    """The user's own."""
    return Aggregate("aggregate", zero, add, merge, finish, partial(_add_each, zero, add))


def counting() -> Aggregate:
    """The number of items."""
    return Aggregate("count", int, _add_one, add, None, _count_each, is_count=True)


def summing(f: Callable[[Any], Any] | None) -> Aggregate:
    """The sum of the items, or of ``f`` of each. It begins with the first: no zero is needed."""
    plus = _plus if f is None else partial(_plus_value, f)
    add_all = _sum_each if f is None else partial(_sum_values, f)
    return Aggregate("sum", _nothing, plus, _plus, None, add_all)


def collecting() -> Aggregate:
    """The items as a list."""
    return Aggregate("collect", list, _append, _extend, None, _collect_each)


def _add_each(
    zero: Callable[[], Any],
    add: Callable[[Any, Any], Any],
    bucket: Bucket,
    keys: Iterator[Any],
    items: Iterator[Any],
) -> None:
    get = bucket.get
    for key, item in zip(keys, items, strict=True):
        entry = get(key)
        if entry is None:
            bucket[key] = [1, add(zero(), item)]
        else:
            entry[1] = add(entry[1], item)
            entry[0] += 1


def _count_each(bucket: Bucket, keys: Iterator[Any], items: Iterator[Any]) -> None:
    bucket.update(keys)


def _sum_each(bucket: Bucket, keys: Iterator[Any], items: Iterator[Any]) -> None:
    get = bucket.get
    for key, item in zip(keys, items, strict=True):
        entry = get(key)
        if entry is None:
            bucket[key] = [1, item]
        else:
            entry[1] = entry[1] + item  # += would change an item in place
            entry[0] += 1


def _sum_values(
    f: Callable[[Any], Any], bucket: Bucket, keys: Iterator[Any], items: Iterator[Any]
) -> None:
    get = bucket.get
    for key, item in zip(keys, items, strict=True):
        entry = get(key)
        if entry is None:
            bucket[key] = [1, f(item)]
        else:
            entry[1] = entry[1] + f(item)
            entry[0] += 1


def _collect_each(bucket: Bucket, keys: Iterator[Any], items: Iterator[Any]) -> None:
    get = bucket.get
    for key, item in zip(keys, items, strict=True):
        entry = get(key)
        if entry is None:
            bucket[key] = [1, [item]]
        else:
            entry[1].append(item)
            entry[0] += 1


def _add_one(count: int, item: Any) -> int:
    return count + 1


def _nothing() -> Any:
    return _NOTHING


def _plus(total: Any, value: Any) -> Any:
    return value if total is _NOTHING else total + value


def _plus_value(f: Callable[[Any], Any], total: Any, item: Any) -> Any:
    return _plus(total, f(item))


def _append(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _extend(items: list[Any], more: list[Any]) -> list[Any]:
    items += more
    return items
