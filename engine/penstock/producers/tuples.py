"""Producers that combine streams into one of tuples."""

# ruff: noqa: A001 - the field calls it zip, and this module doesn't use the builtin

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar, overload

from ..stream import Stream, join_streams, joining

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
def zip(a: Stream[A], b: Stream[B], /, *, strict: bool = False) -> Stream[tuple[A, B]]: ...


@overload
def zip(
    a: Stream[A], b: Stream[B], c: Stream[C], /, *, strict: bool = False
) -> Stream[tuple[A, B, C]]: ...


@overload
def zip(
    a: Stream[A], b: Stream[B], c: Stream[C], d: Stream[D], /, *, strict: bool = False
) -> Stream[tuple[A, B, C, D]]: ...


@overload
def zip(*streams: Stream[Any], strict: bool = False) -> Stream[tuple[Any, ...]]: ...


def zip(*streams: Stream[Any], strict: bool = False) -> Stream[Any]:
    """Tuples of one item of each stream; ends with the shortest, whose end cancels the others.

    With ``strict`` a difference in length is a `StageError` that names the first item too many;
    so it is where `Run.stop` ends the streams at different items.

    What the others had sent ahead by then is abandoned, counted. At most a chunk of each stream is
    in hand.
    """
    return join_streams("zip", partial(joining.zip_nodes, strict), streams)


@overload
def combine_latest(a: Stream[A], b: Stream[B], /) -> Stream[tuple[A, B]]: ...


@overload
def combine_latest(a: Stream[A], b: Stream[B], c: Stream[C], /) -> Stream[tuple[A, B, C]]: ...


@overload
def combine_latest(
    a: Stream[A], b: Stream[B], c: Stream[C], d: Stream[D], /
) -> Stream[tuple[A, B, C, D]]: ...


@overload
def combine_latest(*streams: Stream[Any]) -> Stream[tuple[Any, ...]]: ...


def combine_latest(*streams: Stream[Any]) -> Stream[Any]:
    """A tuple of the newest item of each stream at every new item, once all have one.

    Every change is given: while the stages behind are busy the streams wait (``buffer`` with
    ``"conflate"`` behind it leaves changes out). Ends with the last stream, or with the first that
    ends without an item. At most a chunk of each stream is in hand.
    """
    return join_streams("combine_latest", joining.combine_latest, streams)
