"""Producers that combine streams."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from ..stream import Stream, merge_streams

T = TypeVar("T")


def merge(*streams: Stream[T]) -> Stream[T]:
    """The items of all streams as they come; ends with the last of them.

    Each stream keeps its own order; a waiting stream is served before one that comes later.
    """
    return cast("Stream[T]", merge_streams(cast("tuple[Stream[Any], ...]", streams)))
