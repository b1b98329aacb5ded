"""How a few items can be cut into chunks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, product
from random import Random
from typing import TypeVar

T = TypeVar("T")

_ALL_UP_TO = 6
_AT_RANDOM = 6


def cut(items: Sequence[T], sizes: Sequence[int]) -> list[list[T]]:
    """Chunks of the given sizes, again and again."""
    chunks: list[list[T]] = []
    start = 0
    for size in cycle(sizes):
        if start >= len(items):
            return chunks
        chunks.append(list(items[start : start + size]))
        start += size
    return chunks


def chunkings(number: int) -> Iterator[list[int]]:
    """Sizes of chunks for ``number`` items: all ways, or of many items some different ones."""
    if number <= _ALL_UP_TO:
        for ends in product((False, True), repeat=number - 1):
            yield _between(ends)
        return
    yield [number]
    yield [1, number - 1]
    yield [number - 1, 1]
    yield from ([size] for size in (1, 2, 3) if size < number)
    chance = Random(number)  # noqa: S311 - the same ones each time
    for _ in range(_AT_RANDOM):
        yield _between(tuple(chance.random() < 0.4 for _ in range(number - 1)))


def _between(ends: tuple[bool, ...]) -> list[int]:
    """The sizes, from whether a chunk ends behind each item but the last."""
    sizes = [1]
    for ended in ends:
        if ended:
            sizes.append(1)
        else:
            sizes[-1] += 1
    return sizes


def spread(number: int, most: int) -> list[int]:
    """Up to ``most`` + 1 whole numbers from 0 to ``number``, both included, evenly spread."""
    if number <= most:
        return list(range(number + 1))
    return [round(step * number / most) for step in range(most + 1)]
