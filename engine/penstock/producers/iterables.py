"""Producers over things of Python's and Trio's own: iterables, async iterables, channels."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import trio

from .. import _options as options
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


def from_iterable(items: Iterable[T], *, blocking: bool = False) -> Stream[T]:
    """The items of an iterable, by the chunk: about a millisecond's worth at a time.

    Args:
        items: anything iterable; an endless one is fine. An iterator or a generator object can
            only be run once; a list, a range, or an object with ``__iter__`` any number of times.
        blocking: iterate in a worker thread, for an iterable that waits or reads files.

    Cancelled, a generator is closed (its ``finally`` runs).
    """
    if not isinstance(items, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        hint = "; from_async takes async ones" if hasattr(items, "__aiter__") else ""
        raise options.refuse("from_iterable", f"items must be iterable, got {items!r}{hint}")
    op = PullSource(partial(_open, items), blocking)
    traits = Traits(endless=type(items) in (itertools.count, itertools.cycle))
    return Stream(Node("from_iterable", op, where=caller(), traits=traits))


def _open(items: Iterable[Any]) -> Puller:
    # By type: a class of the user's that inherits from them may iterate in its own way.
    if type(items) in (list, tuple, range):
        return _SlicePuller(cast("Sequence[Any]", items))
    return IterablePuller(items)


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
