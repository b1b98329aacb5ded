from __future__ import annotations

from math import nan
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps


@ps.producer(chunked=True)
async def in_chunks(send: ps.Sender[Any], *chunks: list[Any]) -> None:
    for chunk in chunks:
        await send.chunk(chunk)


def length(text: str) -> int:
    if text == "bad":
        raise ValueError("no length")
    return len(text)


async def test_sorted_streams_become_one() -> None:
    streams = (in_chunks([1, 4], [4, 9]), ps.from_iterable(range(0, 12, 5)), in_chunks([3]))
    assert await ps.merge_sorted(*streams).to(ps.collect()).run() == [0, 1, 3, 4, 4, 5, 9, 10]


async def test_equal_items_keep_the_order_of_the_streams() -> None:
    one = in_chunks([(1, "a"), (2, "a")], [(2, "b")], [(2, "c"), (3, "a")])
    two = in_chunks([(1, "A"), (2, "A")], [(2, "B"), (2, "C")], [(4, "A")])
    merged = await one.merge_sorted(two, key=lambda pair: pair[0]).to(ps.collect()).run()
    assert [name for number, name in merged if number == 2] == ["a", "b", "c", "A", "B", "C"]
    assert [number for number, _ in merged] == [1, 1, 2, 2, 2, 2, 2, 2, 3, 4]


async def test_items_without_an_order_of_their_own_need_only_a_key() -> None:
    one, two = in_chunks([{"n": 1}, {"n": 3}]), in_chunks([{"n": 1}, {"n": 2}])
    merged = await one.merge_sorted(two, key=lambda item: item["n"]).to(ps.collect()).run()
    assert [item["n"] for item in merged] == [1, 1, 2, 3]


@pytest.mark.parametrize("chunks", [([5, 7, 3],), ([5, 7], [3]), ([5], [7], [3])])
@pytest.mark.parametrize("key", [None, lambda n: n])
async def test_an_item_out_of_order_is_named(chunks: tuple[list[int], ...], key: Any) -> None:
    with pytest.raises(ps.StageError) as caught:
        await ps.merge_sorted(in_chunks([1]), in_chunks(*chunks), key=key).to(ps.drain()).run()
    assert caught.value.item_repr == "3"
    assert str(caught.value.cause) == "stream 2 isn't sorted: 3 comes after 7"


@pytest.mark.parametrize("errors", ["raise", "skip"])
@pytest.mark.parametrize("key", [None, lambda item: item])
@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([[1]], [["a"]]),
        ([[1, 2]], [[1, 3, "a", "b"]]),
        ([[1, 2]], [[1], ["a"]]),
        ([[1, 2], ["a"]], [[3]]),
        ([[1, "a"]], []),
    ],
)
async def test_an_item_that_cannot_be_compared_is_named(
    one: list[list[Any]], two: list[list[Any]], key: Any, errors: Any
) -> None:
    merged = ps.merge_sorted(in_chunks(*one), in_chunks(*two), key=key, errors=errors)
    with pytest.raises(
        ps.StageError, match=r"merge_sorted.* failed on item 'a': TypeError: '<' not supported"
    ) as caught:
        await merged.to(ps.drain()).run()
    (note,) = caught.value.cause.__notes__
    assert note.startswith("'a' of stream ")
    assert " can't be compared with " in note


class Grade:
    """It has an order, and nothing else."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __lt__(self, other: Grade) -> bool:
        return self.number < other.number


async def test_items_in_hand_when_a_comparison_fails_are_abandoned() -> None:
    with pytest.raises(ps.StageError, match="failed on item 'a': TypeError"):
        async with (
            in_chunks([1, 2]).merge_sorted(in_chunks(["a", "b"])).to(ps.collect()).open() as run
        ):
            await run.result()
    (stage,) = [stage for stage in run.report().stages if stage.name == "merge_sorted"]
    assert (stage.items_in, stage.items_out, stage.abandoned) == (4, 0, 4)


@pytest.mark.parametrize("errors", ["raise", "skip"])
@pytest.mark.parametrize("key", [None, lambda item: item])
@pytest.mark.parametrize(
    "chunks", [([nan],), ([1.0, nan, 0.0],), ([1.0], [nan]), ([1.0, 1.0, nan, 2.0],)]
)
async def test_what_is_not_equal_to_itself_has_no_place(
    chunks: tuple[list[float], ...], key: Any, errors: Any
) -> None:
    merged = ps.merge_sorted(in_chunks([1.0]), in_chunks(*chunks), key=key, errors=errors)
    with pytest.raises(ps.StageError) as caught:
        await merged.to(ps.drain()).run()
    assert caught.value.item_repr == "nan"
    assert str(caught.value.cause) == (
        "stream 2 isn't sorted: nan isn't equal to itself, so it has no place in an order"
    )


async def test_things_that_only_have_an_order_can_be_merged() -> None:
    one, two = in_chunks([Grade(1), Grade(3)]), in_chunks([Grade(2)])
    merged = await one.merge_sorted(two).to(ps.collect()).run()
    assert [grade.number for grade in merged] == [1, 2, 3]


async def test_an_item_goes_on_when_no_smaller_one_can_come(autojump_clock: MockClock) -> None:
    @ps.producer
    async def at(send: ps.Sender[int], *times: tuple[float, int]) -> None:
        for time, item in times:
            await trio.sleep_until(time)
            await send(item)

    def now(item: int) -> tuple[float, int]:
        return round(trio.current_time(), 6), item

    merged = at((1, 1), (2, 5), (3, 7)).merge_sorted(at((4, 6), (9, 8))).map(now)
    assert await merged.to(ps.collect()).run() == [(4, 1), (4, 5), (4, 6), (9, 7), (9, 8)]


async def test_a_failing_key_fails_the_stage_on_the_item() -> None:
    merged = in_chunks(["a", "bad"]).merge_sorted(in_chunks(["bb"]), key=length)
    with pytest.raises(ps.StageError, match=r"merge_sorted\(length\) failed on item 'bad': Value"):
        await merged.to(ps.drain()).run()


async def test_or_the_item_is_skipped_counted() -> None:
    merged = in_chunks(["bad", "a", "bad"], ["bad"], ["bad", "ccc"]).merge_sorted(
        in_chunks(["bb", "bad"]), key=length, errors="skip"
    )
    async with merged.to(ps.collect()).open() as run:
        assert await run.result() == ["a", "bb", "ccc"]
    (stage,) = [stage for stage in run.report().stages if stage.name == "merge_sorted(length)"]
    assert (stage.items_in, stage.items_out, stage.skipped, stage.errors) == (8, 3, 5, 5)


async def test_or_sent_aside_or_tried_again(autojump_clock: MockClock) -> None:
    letters: list[ps.DeadLetter[str]] = []
    asked = 0

    def moody(text: str) -> int:
        nonlocal asked
        asked += text == "moody"
        if text == "moody" and asked < 3:
            raise ValueError("not now")
        return length(text)

    errors = ps.retry(3, ps.Backoff(1, 1), then=ps.dead_letter(ps.for_each(letters.append)))
    merged = in_chunks(["a", "bad", "moody"]).merge_sorted(
        in_chunks(["bb"]), key=moody, errors=errors
    )
    assert await merged.to(ps.collect()).run() == ["a", "bb", "moody"]
    assert [(letter.item, letter.attempts) for letter in letters] == [("bad", 3)]


async def test_a_slow_key_gives_the_event_loop_its_turn() -> None:
    def slow(item: int) -> int:
        return sum(range(5000)) and item

    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    numbers = ps.from_iterable(range(1000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        assert await numbers.merge_sorted(numbers, key=slow).to(ps.count()).run() == 2000
        nursery.cancel_scope.cancel()
    assert turns > 10


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"key": 3}, "merge_sorted: key must be a function, got 3"),
        ({"errors": "ignore"}, "merge_sorted: errors must be 'raise', 'skip', retry"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ps.PipelineError, match=problem):
        ps.from_iterable([1]).merge_sorted(ps.from_iterable([2]), **options)
