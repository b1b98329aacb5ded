"""Sinks whose result is a value in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar, overload

from .._errors import PenstockError
from .._spec import Chunk, Sink, StepControl, StepSink, Traits

T = TypeVar("T")

_Started = tuple[Callable[[Chunk], None], Callable[[], Any]]

_MISSING: Final = object()


def collect() -> Sink[T, list[T]]:
    """All items as a list. Memory grows with the stream: for streams that end, and are small."""
    return Sink("collect", StepSink(_start_collect), Traits(grows="with the stream"))


def _start_collect(control: StepControl) -> _Started:
    items: Chunk = []
    return items.extend, lambda: items


def count() -> Sink[object, int]:
    """The number of items."""
    return Sink("count", StepSink(_start_count))


def _start_count(control: StepControl) -> _Started:
    number = 0

    def consume(items: Chunk) -> None:
        nonlocal number
        number += len(items)

    return consume, lambda: number


def drain() -> Sink[object, None]:
    """Nothing: runs the stream for its effects."""
    return Sink("drain", StepSink(_start_drain))


def _start_drain(control: StepControl) -> _Started:
    return lambda _: None, lambda: None


class EmptyStream(PenstockError):
    """A stream that ended without an item, where `first` or `last` had to give one."""

    def __init__(self, sink: str) -> None:
        self.sink = sink
        super().__init__(sink)

    def __str__(self) -> str:
        return f"{self.sink}: the stream ended without an item; {self.sink}(default=…) allows that"


@overload
def first() -> Sink[T, T]: ...


@overload
def first(default: None) -> Sink[T, T | None]: ...


@overload
def first(default: T) -> Sink[T, T]: ...


def first(default: Any = _MISSING) -> Sink[Any, Any]:
    """The first item; it ends the pipeline, with the cleanup of the stages before it.

    A stream without items gives ``default``; where there is none, it raises `EmptyStream`.
    """
    return Sink("first", StepSink(partial(_start_first, default)))


def _start_first(default: Any, control: StepControl) -> _Started:
    found = default
    wanted = True

    def consume(items: Chunk) -> None:
        nonlocal found, wanted
        if wanted:
            found = items[0]
            wanted = False
            control.finish()

    return consume, lambda: _there("first", found)


@overload
def last() -> Sink[T, T]: ...


@overload
def last(default: None) -> Sink[T, T | None]: ...


@overload
def last(default: T) -> Sink[T, T]: ...


def last(default: Any = _MISSING) -> Sink[Any, Any]:
    """The last item.

    A stream without items gives ``default``; where there is none, it raises `EmptyStream`.
    """
    return Sink("last", StepSink(partial(_start_last, default)))


def _start_last(default: Any, control: StepControl) -> _Started:
    found = default

    def consume(items: Chunk) -> None:
        nonlocal found
        found = items[-1]

    return consume, lambda: _there("last", found)


def _there(sink: str, found: Any) -> Any:
    if found is _MISSING:
        raise EmptyStream(sink)
    return found
