"""Merging inputs that are each sorted: the work of ``merge_sorted``."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter, length_hint, lt, ne
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
    inputs = [_Input(number, receive, pace, key) for number, receive in enumerate(receivers, 1)]
    send.holds(lambda: sum(each.held for each in inputs))
    live = list(inputs)
    yielded = perf_counter()
    while True:
        for each in [each for each in live if not each.ready]:
            if not await each.fill(errors, send):
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
    due: Chunk = []
    counts: list[int] = []
    try:
        first = min(live, key=lambda each: each.last)
        find = bisect_right
        for each in live:
            counts.append(find(each.ready, first.last, key=key))
            due += each.ready[: counts[-1]]
            if each is first:
                find = bisect_left  # more items that equal the last may come, and go before these
        due.sort(key=key)
    except Exception as error:
        offender, what = _incomparable(live)
        error.add_note(what)
        raise ItemFailed(offender) from error
    for each, count in zip(live, counts, strict=True):
        each.ready = each.ready[count:]
    return due


def _incomparable(live: list[_Input]) -> tuple[Any, str]:
    """An item that can't be compared with one of a stream before its own, and what to say of it."""
    for number, each in enumerate(live):
        for before in live[:number]:
            for at, key in enumerate(each.keys):
                if not _can_compare(key, before.last):
                    said = _no_order(key, each.number, before.last, before.number)
                    return each.item(at), said
    return live[-1].item(-1), "or another of those that wait can't be compared"


def _can_compare(key: Any, other: Any) -> bool:
    try:
        _ = key < other, other < key
    except Exception:  # noqa: BLE001 - a key's own < may raise anything
        return False
    return True


def _no_order(key: Any, number: int, other: Any, of: int) -> str:
    return (
        f"{short_repr(key)} of stream {number} can't be compared with {short_repr(other)} of"
        f" stream {of}"
    )


class _Input:
    """What is in hand of one input: items not yet looked at, and those that are ready to go.

    ``ready`` are items where there is no key, else pairs of key and item. ``last`` is the key of
    the newest of them.
    """

    __slots__ = ("_is_first", "_key", "_pace", "_receive", "_waiting", "last", "number", "ready")

    def __init__(
        self,
        number: int,
        receive: Receiver[Any],
        pace: Pace,
        key: Callable[[Any], Any] | None,
    ) -> None:
        self.number = number
        self._receive = receive
        self._pace = pace
        self._key = key
        self._waiting: Iterator[Any] = iter(())
        self._is_first = True
        self.ready: Chunk = []
        self.last: Any = None

    @property
    def held(self) -> int:
        """The items in hand."""
        return length_hint(self._waiting) + len(self.ready)

    @property
    def keys(self) -> Chunk:
        """What those that are ready are sorted by."""
        return self.ready if self._key is None else [key for key, _ in self.ready]

    def item(self, at: int) -> Any:
        """One of those that are ready."""
        return self.ready[at] if self._key is None else self.ready[at][1]

    async def fill(self, errors: Errors, send: CountingSender[Any]) -> bool:
        """Get items ready, about a millisecond's worth; False at the end of the input."""
        while not self.ready:
            if not length_hint(self._waiting):
                try:
                    self._waiting = iter(await self._receive.chunk())
                except trio.EndOfChannel:
                    return False
            piece = islice(self._waiting, self._pace.size)
            if self._key is None:
                self.ready = list(piece)
            else:
                await self._pair(piece, self._key, errors, send)
        keys = self.keys
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
        """Raises `ItemFailed` for the first item whose key belongs elsewhere, or nowhere."""
        earlier = keys if self._is_first else [self.last, *keys]
        later = keys[1:] if self._is_first else keys
        try:
            if later and all(map(lt, earlier, later)):
                return
            if not (any(map(lt, later, earlier)) or any(map(ne, keys, keys))):
                return
        except Exception:  # noqa: BLE001, S110 - it is raised again below, with its item
            pass
        before = () if self._is_first else (self.last,)
        for at, key in enumerate(keys):
            self._check_place(at, key, *before)
            before = (key,)

    def _check_place(self, at: int, key: Any, *before: Any) -> None:
        problem = ""
        try:
            if ne(key, key):
                problem = "isn't equal to itself, so it has no place in an order"
            elif before and key < before[0]:
                problem = f"comes after {short_repr(before[0])}"
        except Exception as error:
            if before:
                error.add_note(_no_order(key, self.number, before[0], self.number))
            raise ItemFailed(self.item(at)) from error
        if problem:
            raise ItemFailed(self.item(at)) from ValueError(
                f"stream {self.number} isn't sorted: {short_repr(key)} {problem}"
            )
