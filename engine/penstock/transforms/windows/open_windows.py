"""How the task of a stage meets the windows that are open: it hands items in, and is told what to
do by the events that come out.

The generators are to be run to their ends, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from .window import Window


class Closed(NamedTuple):
    """Windows that have ended, in order, and how many items are held no more.

    Their values are what `OpenWindows.complete` is still to be called with, where there is one.
    """

    windows: list[Window[Any, Any]]
    items: int


class Late(NamedTuple):
    """Items whose windows have ended before."""

    items: list[Any]


class Failed(NamedTuple):
    """The aggregate's functions failed on an item, which was left out; ``again`` tries again."""

    item: Any
    error: Exception
    again: Callable[[], object]


Event: TypeAlias = Closed | Late | Failed
Events: TypeAlias = Iterator[Event]


class OpenWindows(Protocol):
    """The windows of one run that are open."""

    @property
    def watermark(self) -> float:
        """The time until which windows have ended."""
        ...

    @property
    def next_end(self) -> float | None:
        """The earliest end; None where no window is open, or none ends by time."""
        ...

    @property
    def next_idle(self) -> float:
        """When, by the clock of `admit` and `let_go`, the first key is to be let go of."""
        ...

    @property
    def complete(self) -> Callable[[Any], Any] | None:
        """Makes the value of a window of what `Closed` holds; a function of the user's."""
        ...

    def admit(self, keys: list[Any], times: list[float], items: list[Any], now: float) -> Events:
        """Take items, their keys and their times; it is ``now`` by the clock of the task."""
        ...

    def advance(self, time: float) -> Events:
        """Move the watermark on to ``time``, if it isn't there yet."""
        ...

    def let_go(self, now: float) -> Events:
        """Close the windows of keys that were left alone for too long."""
        ...

    def end(self) -> Events:
        """Close all windows."""
        ...
