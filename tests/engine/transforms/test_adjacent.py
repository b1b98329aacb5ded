from __future__ import annotations

from itertools import groupby, pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps

SIZES = pytest.mark.parametrize("size", [0, 1, 2, 1023, 1024, 1025, 2049])


def items_of(stream: ps.Stream[Any]) -> list[Any]:
    return ps.run(stream.to(ps.collect()))


def numbers(size: int) -> ps.Stream[int]:
    return ps.from_iterable(range(size))


async def evicted(stream: ps.Stream[Any]) -> tuple[list[Any], int, int]:
    """The items, and what the last operator left out and let go of."""
    async with stream.to(ps.collect()).open() as run:
        items = await run.result()
    stage = run.report().stages[-2]
    assert stage.items_in == stage.items_out + stage.absorbed
    return items, stage.absorbed, stage.evicted


@SIZES
def test_enumerate(size: int) -> None:
    letters = numbers(size).map(str)
    assert items_of(letters.enumerate()) == [(n, str(n)) for n in range(size)]
    assert items_of(letters.enumerate(-5)) == [(n - 5, str(n)) for n in range(size)]


@SIZES
def test_pairwise(size: int) -> None:
    assert items_of(numbers(size).pairwise()) == list(pairwise(range(size)))


@SIZES
def test_dedupe(size: int) -> None:
    halves = [n // 2 for n in range(size)]
    assert items_of(ps.from_iterable(halves).dedupe()) == [key for key, _ in groupby(halves)]


@SIZES
def test_dedupe_by_a_key(size: int) -> None:
    expected = [next(group) for _, group in groupby(range(size), lambda n: n // 3)]
    assert items_of(numbers(size).dedupe(lambda n: n // 3)) == expected


def test_dedupe_leaves_out_adjacent_repeats_only() -> None:
    assert items_of(ps.from_iterable("aabbbaac").dedupe()) == list("abac")
    assert items_of(ps.from_iterable([None, None, 0, False, 1, True]).dedupe()) == [None, 0, 1]
    assert items_of(ps.from_iterable([[1], [1], [2]]).dedupe()) == [[1], [2]]


class Size:
    """It can be compared with its like only, and not with any of a negative size."""

    __hash__ = object.__hash__

    def __init__(self, size: int) -> None:
        self.size = size

    def __eq__(self, other: object) -> bool:
        if self.size < 0:
            raise ValueError(self.size)
        return bool(self.size == vars(other)["size"])


@pytest.mark.parametrize("keyed", [False, True], ids=["adjacent", "of a key"])
def test_dedupe_compares_items_with_each_other_only(keyed: bool) -> None:
    stream = ps.from_iterable([Size(1), Size(1), Size(2)])
    deduped = stream.key_by(type).dedupe() if keyed else stream.dedupe()
    assert [item.size for item in items_of(deduped)] == [1, 2]


@pytest.mark.parametrize("keyed", [False, True], ids=["adjacent", "of a key"])
@pytest.mark.parametrize(
    ("sizes", "passed"),
    [([1, -1, 1, 2], [1, 2]), ([-1, 1, 1, 2], [-1, 1, 2]), ([-1, -1], [-1])],
)
async def test_an_item_that_cannot_be_compared_leaves_no_trace(
    keyed: bool, sizes: list[int], passed: list[int]
) -> None:
    stream = ps.from_iterable(sizes).map(Size)
    deduped = stream.key_by(type).dedupe(errors="skip") if keyed else stream.dedupe(errors="skip")
    async with deduped.map(lambda item: item.size).to(ps.collect()).open() as run:
        assert await run.result() == passed, "the first is compared with nothing"
    assert run.report().stages[2].skipped == sizes[1:].count(-1)


@SIZES
@pytest.mark.parametrize("max_keys", [1000, None])
def test_distinct(size: int, max_keys: int | None) -> None:
    expected = list(range(min(size, 700)))
    stream = numbers(size).map(lambda n: n % 700)
    assert items_of(stream.distinct(max_keys=max_keys)) == expected
    assert items_of(numbers(size).distinct(lambda n: n % 700, max_keys)) == expected


async def test_distinct_forgets_the_key_seen_longest_ago() -> None:
    stream = ps.from_iterable("abacbdadca").distinct(max_keys=2)
    # a b; a is seen again; c pushes out b; b pushes out a; d pushes out c; …
    assert await evicted(stream) == (list("abcbdaca"), 2, 6)


async def test_distinct_counts_nothing_evicted_within_its_bound() -> None:
    assert await evicted(ps.from_iterable([1, 2, 1, 2, 3]).distinct(max_keys=3)) == (
        [1, 2, 3],
        2,
        0,
    )


def test_distinct_without_a_bound_says_that_it_grows() -> None:
    assert "number of keys" in ps.from_iterable([1]).distinct(max_keys=None)._node.traits.grows
    assert not ps.from_iterable([1]).distinct()._node.traits.grows


def test_a_key_that_is_not_hashable_is_named() -> None:
    with pytest.raises(ps.StageError, match=r"^distinct failed on item \[2\]: TypeError"):
        items_of(ps.from_iterable([[2]]).distinct())


async def test_a_key_that_is_not_hashable_can_be_left_out() -> None:
    letters: list[ps.DeadLetter[Any]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    stream = ps.from_iterable([1, [2], 1, 3]).distinct(errors=errors)
    assert await stream.to(ps.collect()).run() == [1, 3]
    assert [letter.item for letter in letters] == [[2]]


def test_state_starts_anew_with_each_run() -> None:
    stream = ps.from_iterable([1, 1, 2]).dedupe().distinct().enumerate().pairwise()
    assert items_of(stream) == items_of(stream) == [((0, 1), (1, 2))]


@pytest.mark.parametrize("operator", ["dedupe", "distinct"])
async def test_a_key_is_asked_for_again(operator: str, autojump_clock: MockClock) -> None:
    failed: list[int] = []

    def key(n: int) -> int:
        if n == 2 and not failed:
            failed.append(n)
            raise OSError
        return n // 2

    errors = ps.retry(2, ps.Backoff(1, jitter=False))
    stream = getattr(numbers(6), operator)(key, errors=errors)
    assert await stream.to(ps.collect()).run() == [0, 2, 4]
    assert trio.current_time() == 1


async def slow_key(item: int) -> int:
    return item


@pytest.mark.parametrize(
    ("operator", "arguments", "problem"),
    [
        ("enumerate", {"start": 1.5}, "start must be a whole number, got 1.5"),
        ("dedupe", {"key": 3}, "key must be a function"),
        ("dedupe", {"key": slow_key}, "key must be an ordinary function"),
        ("dedupe", {"errors": "ignore"}, "errors must be"),
        ("distinct", {"max_keys": 0}, "max_keys must be a whole number of at least 1"),
        ("distinct", {"key": slow_key}, "key must be an ordinary function"),
        ("take_while", {"keep": slow_key}, "keep must be an ordinary function"),
        ("skip_while", {"drop": slow_key}, "drop must be an ordinary function"),
    ],
)
def test_wrong_options(operator: str, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=f"^{operator}: {problem}"):
        getattr(numbers(3), operator)(**arguments)
