"""Producers that combine streams item by item: as they come, in turn, in order, or in a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from .._failing import Errors
from ..stream import Stream, join_streams, joining

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
def merge(a: Stream[A], b: Stream[B], /) -> Stream[A | B]: ...


@overload
def merge(a: Stream[A], b: Stream[B], c: Stream[C], /) -> Stream[A | B | C]: ...


@overload
def merge(a: Stream[A], b: Stream[B], c: Stream[C], d: Stream[D], /) -> Stream[A | B | C | D]: ...


@overload
def merge(*streams: Stream[T]) -> Stream[T]: ...


def merge(*streams: Stream[Any]) -> Stream[Any]:
    """The items of all streams as they come; ends with the last of them.

    Each stream keeps its own order; a waiting stream is served before one that comes later.
    """
    return join_streams("merge", joining.merge, streams)


@overload
def concat(a: Stream[A], b: Stream[B], /) -> Stream[A | B]: ...


@overload
def concat(a: Stream[A], b: Stream[B], c: Stream[C], /) -> Stream[A | B | C]: ...


@overload
def concat(a: Stream[A], b: Stream[B], c: Stream[C], d: Stream[D], /) -> Stream[A | B | C | D]: ...


@overload
def concat(*streams: Stream[T]) -> Stream[T]: ...


def concat(*streams: Stream[Any]) -> Stream[Any]:
    """All items of the first stream, then all of the second, and so on.

    A stream's producer starts when the one before it has ended, unless other streams need it, too
    (it is the source of a `Stream.broadcast`).
    """
    return join_streams("concat", joining.concat, streams)


@overload
def interleave(a: Stream[A], b: Stream[B], /) -> Stream[A | B]: ...


@overload
def interleave(a: Stream[A], b: Stream[B], c: Stream[C], /) -> Stream[A | B | C]: ...


@overload
def interleave(
    a: Stream[A], b: Stream[B], c: Stream[C], d: Stream[D], /
) -> Stream[A | B | C | D]: ...


@overload
def interleave(*streams: Stream[T]) -> Stream[T]: ...


def interleave(*streams: Stream[Any]) -> Stream[Any]:
    """One item of each stream in turn; those that have ended are passed over.

    It waits for the stream whose turn it is, with at most a chunk of each other in hand.
    """
    return join_streams("interleave", joining.interleave, streams)


@overload
def merge_sorted(
    a: Stream[A],
    b: Stream[B],
    /,
    *,
    key: Callable[[A | B], Any] | None = None,
    errors: Errors = "raise",
) -> Stream[A | B]: ...


@overload
def merge_sorted(
    a: Stream[T],
    b: Stream[T],
    c: Stream[T],
    /,
    *streams: Stream[T],
    key: Callable[[T], Any] | None = None,
    errors: Errors = "raise",
) -> Stream[T]: ...


@overload
def merge_sorted(
    a: Stream[T], /, *, key: Callable[[T], Any] | None = None, errors: Errors = "raise"
) -> Stream[T]: ...


def merge_sorted(
    *streams: Stream[Any], key: Callable[[Any], Any] | None = None, errors: Errors = "raise"
) -> Stream[Any]:
    """Sorted streams as one sorted stream; equal items in the order of the streams.

    Args:
        streams: each sorted already.
        key: what they are sorted by: ``key(item)``, else the items themselves. Only ``<`` is used,
            and ``!=`` to find what isn't equal to itself.
        errors: what to do where ``key`` fails.

    Raises `StageError` naming the first item that is smaller than the one before it in its stream,
    that isn't equal to itself (NaN), or that ``<`` fails on, whatever ``errors`` says. An item goes
    on once every other stream has one that is no smaller, or has ended: a stream that is silent
    holds the others up. At most a chunk of each is in hand.
    """
    make = partial(joining.merge_sorted, key, errors)
    return join_streams("merge_sorted", make, streams)
