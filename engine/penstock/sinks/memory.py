"""Sinks whose result is a value in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import length_hint
from typing import Any, TypeVar

from .. import _options as options
from .._errors import ItemFailed
from .._spec import Chunk, Sink, StepControl, StepSink, stage_name

T = TypeVar("T")
R = TypeVar("R")

_Started = tuple[Callable[[Chunk], None], Callable[[], Any]]


def collect() -> Sink[T, list[T]]:
    """All items as a list. Memory grows with the stream: for streams that end, and are small."""
    return Sink("collect", StepSink(_start_collect))


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


def fold(initial: R, f: Callable[[R, T], R]) -> Sink[T, R]:
    """``f(f(f(initial, a), b), c)``: the result of the whole stream, in constant memory.

    ``initial`` is shared by all runs of the pipeline: give a value that ``f`` doesn't change in
    place (a tuple or a number rather than a list).
    """
    options.function("fold", "f", f, instead="for_each or a @sink of your own")
    return Sink(stage_name("fold", f), StepSink(partial(_start_fold, initial, f)))


def _start_fold(initial: Any, f: Callable[[Any, Any], Any], control: StepControl) -> _Started:
    state = initial

    def consume(items: Chunk) -> None:
        nonlocal state
        waiting = iter(items)
        result = state
        try:
            for item in waiting:
                result = f(result, item)
            state = result
        except Exception as error:
            raise ItemFailed(items[len(items) - length_hint(waiting) - 1]) from error

    return consume, lambda: state
