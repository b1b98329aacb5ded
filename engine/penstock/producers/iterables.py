"""Producers over things of Python's and Trio's own: iterables, async iterables, channels."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

import trio

from .. import _options as options
from .._errors import PenstockError
from .._forwarding import forward_async_iterable
from .._spec import (
    Chunk,
    Node,
    Puller,
    PullSource,
    PushSource,
    Sender,
    Traits,
    caller,
    stage_name,
)
from ..stream import Stream
from .custom import IterablePuller

T = TypeVar("T")

_OVER_WHEN_FAILED: Final = (
    "has a generator, which is over when it has failed; give the function that makes it, as a"
    " @producer"
)


def from_iterable(items: Iterable[T], *, blocking: bool = False) -> Stream[T]:
    """The items of an iterable, by the chunk: about a millisecond's worth at a time.

    Args:
        items: anything iterable; an endless one is fine. A list, a range, or an object with
            ``__iter__`` can be run any number of times, an iterator or a generator object once: a
            later run for which it has nothing left raises `StageError`.
        blocking: iterate in worker threads, for an iterable that waits or reads files. All of it
            is done there, one step after the other: ``__iter__``, the steps, closing a generator.

    Cancelled, a generator is closed (its ``finally`` runs); with ``blocking`` that is waited for.
    """
    if not isinstance(items, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        hint = "; from_async takes async ones" if hasattr(items, "__aiter__") else ""
        raise options.refuse("from_iterable", f"items must be iterable, got {items!r}{hint}")
    open_ = _Once(items).open if isinstance(items, Iterator) else partial(_open, items)
    op = PullSource(open_, blocking)
    traits = Traits(
        endless=type(items) in (itertools.count, itertools.cycle),
        once=_OVER_WHEN_FAILED if isinstance(items, Generator) else "",
    )
    return Stream(Node("from_iterable", op, where=caller(), traits=traits))


def _open(items: Iterable[Any]) -> Puller:
    # By type: a class of the user's that inherits from them may iterate in its own way.
    if type(items) in (list, tuple, range):
        return _SlicePuller(cast("Sequence[Any]", items))
    return IterablePuller(items)


class _Once:
    """An iterator, and whether a run has read from it: the next one is to find something.

    After a failure it may have nothing left: `Stream.restart` reads it on.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self.was_read = False
        self._items = items

    def open(self) -> Puller:
        puller = _OncePuller(self, IterablePuller(self._items), must_find_some=self.was_read)
        self.was_read = True
        return puller


class _OncePuller:
    def __init__(self, once: _Once, puller: IterablePuller, *, must_find_some: bool) -> None:
        self._once = once
        self._puller = puller
        self._must_find_some = must_find_some
        self.close = puller.close

    def pull(self, at_most: int) -> Chunk:
        try:
            items = self._puller.pull(at_most)
        except Exception:
            self._once.was_read = False
            raise
        if not items and self._must_find_some:
            raise PenstockError(
                "the iterator was used up by an earlier run; give a list, or a @producer"
            )
        self._must_find_some = False
        return items


class _SlicePuller:
    """A list, tuple or range, read by slices: cheaper than a step for each item."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self._taken = 0

    def pull(self, at_most: int) -> Chunk:
        items = list(self._items[self._taken : self._taken + at_most])
        self._taken += len(items)
        return items

    def close(self) -> None:
        """Nothing is held."""


def from_async(factory: Callable[[], AsyncIterable[T]]) -> Stream[T]:
    """The items of ``factory()``, an async iterable, driven by a task of its own.

    An async generator may hold nurseries and cancel scopes across its ``yield``: nothing else
    runs in its task (PEP 789), and it is closed there (PEP 533).
    """
    options.function("from_async", "factory", factory, instead="an async generator function")
    op = PushSource(partial(_from_factory, factory))
    return Stream(Node(stage_name("from_async", factory), op, where=caller()))


async def _from_factory(factory: Callable[[], AsyncIterable[Any]], send: Sender[Any]) -> None:
    await forward_async_iterable(factory(), send)


def from_channel(receive: trio.MemoryReceiveChannel[T]) -> Stream[T]:
    """What comes out of a Trio memory channel, until it ends; in the end it is closed.

    Each time all that is there is taken. A channel can be run once; clone it to share it.
    Cancelled, it is closed too, and items taken out and not yet passed on are abandoned.
    """
    op = PushSource(partial(_from_channel, receive), by_item=False)
    return Stream(Node("from_channel", op, where=caller()))


async def _from_channel(receive: trio.MemoryReceiveChannel[Any], send: Sender[Any]) -> None:
    with receive:
        async for item in receive:
            items = [item]
            try:
                while len(items) < 1024:
                    items.append(receive.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                pass
            await send.chunk(items)
