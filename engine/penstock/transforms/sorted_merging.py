"""Merging inputs that are each sorted: the work of ``merge_sorted``."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter, length_hint, lt
from time import perf_counter
from typing import Any

import trio

from .._errors import ItemFailed, short_repr
from .._failing import LEFT_OUT, Errors, settle
from .._pace import BUDGET, Pace
from .._spec import Chunk, CountingSender, Receiver

_first_of: Callable[[Any], Any] = itemgetter(0)


async def merge_sorted(
    key: Callable[[Any], Any] | None,
    errors: Errors,
    receivers: tuple[Receiver[Any], ...],
    send: CountingSender[Any],
) -> None:
    """The items of all inputs in the order of their keys; equal ones in the order of the inputs.

    What is in hand of each input is sorted, so all up to the smallest of their last keys can go on
    at once: runs that ``list.sort`` merges. The input that had that key is then asked for more.
    """
    pace = Pace()
    inputs = [_Input(number, receive, pace) for number, receive in enumerate(receivers, 1)]
    send.holds(lambda: sum(each.held for each in inputs))
    live = list(inputs)
    yielded = perf_counter()
    while True:
        for each in [each for each in live if not each.ready]:
            if not await each.fill(key, errors, send):
                live.remove(each)
        if not live:
            return
        begun = perf_counter()
        due = _due(live, None if key is None else _first_of)
        pace.record(len(due), perf_counter() - begun)
        await send.chunk(due if key is None else [item for _, item in due])
        if perf_counter() - yielded >= BUDGET:
            await trio.lowlevel.checkpoint()
            yielded = perf_counter()


def _due(live: list[_Input], key: Callable[[Any], Any] | None) -> Chunk:
    """Take all items that nothing can come before any more."""
    first = min(live, key=lambda each: each.last)
    due: Chunk = []
    find = bisect_right
    for each in live:
        due += each.take(find(each.ready, first.last, key=key))
        if each is first:
            find = bisect_left  # more items that equal the last may come, and go before these
    due.sort(key=key)
    return due


class _Input:
    """What is in hand of one input: items not yet looked at, and those that are ready to go.

    ``ready`` are items where there is no key, else pairs of key and item. ``last`` is the key of
    the newest of them.
    """

    __slots__ = ("_is_first", "_number", "_pace", "_receive", "_waiting", "last", "ready")

    def __init__(self, number: int, receive: Receiver[Any], pace: Pace) -> None:
        self._number = number
        self._receive = receive
        self._pace = pace
        self._waiting: Iterator[Any] = iter(())
        self._is_first = True
        self.ready: Chunk = []
        self.last: Any = None

    @property
    def held(self) -> int:
        """The items in hand."""
        return length_hint(self._waiting) + len(self.ready)

    def take(self, count: int) -> Chunk:
        """The first ``count`` of those that are ready."""
        taken, self.ready = self.ready[:count], self.ready[count:]
        return taken

    async def fill(
        self, key: Callable[[Any], Any] | None, errors: Errors, send: CountingSender[Any]
    ) -> bool:
        """Get items ready, about a millisecond's worth; False at the end of the input."""
        while not self.ready:
            if not length_hint(self._waiting):
                try:
                    self._waiting = iter(await self._receive.chunk())
                except trio.EndOfChannel:
                    return False
            piece = islice(self._waiting, self._pace.size)
            if key is None:
                self.ready = list(piece)
            else:
                await self._pair(piece, key, errors, send)
        keys = self.ready if key is None else [key for key, _ in self.ready]
        self._check_order(keys)
        self._is_first = False
        self.last = keys[-1]
        return True

    async def _pair(
        self,
        items: Iterator[Any],
        key: Callable[[Any], Any],
        errors: Errors,
        send: CountingSender[Any],
    ) -> None:
        async def again(item: Any) -> Any:
            return key(item)

        item: Any = None
        begun, before = perf_counter(), len(self.ready)
        while True:
            try:
                for item in items:
                    self.ready.append((key(item), item))
            except Exception as error:  # noqa: BLE001 - the user's function may raise anything
                found = await settle(errors, item, error, again, send)
                if found is not LEFT_OUT:
                    self.ready.append((found, item))
                begun, before = perf_counter(), len(self.ready)
            else:
                self._pace.record(len(self.ready) - before, perf_counter() - begun)
                return

    def _check_order(self, keys: Chunk) -> None:
        earlier = keys if self._is_first else [self.last, *keys]
        later = keys[1:] if self._is_first else keys
        if not any(map(lt, later, earlier)):
            return
        for position, (one, two) in enumerate(zip(earlier, later, strict=False)):
            if two < one:
                offender = self.ready[position + len(self.ready) - len(later)]
                raise ItemFailed(offender if keys is self.ready else offender[1]) from ValueError(
                    f"stream {self._number} isn't sorted: {short_repr(two)} comes after"
                    f" {short_repr(one)}"
                )
