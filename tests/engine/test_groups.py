"""Errors that come in groups: a nursery's stand for what is in them, a user's own is kept."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

import penstock as ps
from penstock._errors import describe

one = ps.from_iterable([1])


class Refused(Exception):
    pass


class Mine(ExceptionGroup[Exception]):
    def derive(self, excs: Any, /) -> Any:
        return Mine(self.message, excs)


async def fetch(n: int) -> int:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.checkpoint)
        raise Refused("refused")


async def fetch_twice(n: int) -> int:
    async def fail() -> None:
        raise KeyError("second")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        raise Refused("refused")


async def stream_of(n: int) -> AsyncIterator[int]:
    async with trio.open_nursery():
        yield n
        raise Refused("refused")


def fetch_here(n: int) -> int:
    raise ExceptionGroup("Exceptions from Trio nursery", [Refused("refused")])


PIPELINES: dict[str, Callable[[], ps.Pipeline[Any]]] = {
    "map_async": lambda: one.map_async(fetch, 1).to(ps.collect()),
    "map_async by key": lambda: one.map_async(fetch, 2, key=str).to(ps.collect()),
    "map_async, retried": lambda: one.map_async(fetch, 1, errors=ps.retry(2, ps.Backoff(0.001))).to(
        ps.collect()
    ),
    "flat_map_async": lambda: one.flat_map_async(stream_of, 1).to(ps.collect()),
    "flat_map_async of a stream": lambda: one.flat_map_async(
        lambda n: ps.from_async(lambda: stream_of(n)), 1
    ).to(ps.collect()),
    "for_each": lambda: one.to(ps.for_each(fetch)),
    "for_each, concurrent": lambda: one.to(ps.for_each(fetch, 2)),
    "map": lambda: one.map(fetch_here).to(ps.collect()),
    "map_blocking": lambda: one.map_blocking(fetch_here, 1).to(ps.collect()),
    "producer": lambda: ps.producer(stream_of)(1).to(ps.collect()),
}


@pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
async def test_one_error_in_the_group_of_a_nursery_is_the_cause_itself(
    make: Callable[[], ps.Pipeline[Any]],
) -> None:
    with pytest.raises(ps.StageError) as caught:
        await make().run()
    assert type(caught.value.cause) is Refused
    assert caught.value.__cause__ is caught.value.cause
    assert "failed on item 1: Refused: refused" in str(caught.value) or (
        "failed: Refused: refused" in str(caught.value)
    )


async def test_a_dead_letter_holds_the_error_itself() -> None:
    letters: list[ps.DeadLetter[int]] = []
    aside = ps.dead_letter(ps.for_each(letters.append))
    await one.map_async(fetch, 1, errors=aside).to(ps.drain()).run()
    await one.map(fetch_here, errors=aside).to(ps.drain()).run()
    assert [type(each.error) for each in letters] == [Refused, Refused]
    assert str(letters[0]) == "map_async(fetch) failed on 1: Refused: refused"


async def test_the_note_of_a_retry_is_on_the_error_itself() -> None:
    with pytest.raises(ps.StageError) as caught:
        await one.map_async(fetch, 1, errors=ps.retry(2, ps.Backoff(0.001))).to(ps.drain()).run()
    assert caught.value.cause.__notes__ == ["this was attempt 2 of 2"]


async def test_several_errors_of_one_item_are_told_in_the_message() -> None:
    with pytest.raises(ps.StageError) as caught:
        await one.map_async(fetch_twice, 1).to(ps.collect()).run()
    assert isinstance(caught.value.cause, ExceptionGroup)
    assert "on item 1: 2 errors: " in str(caught.value)
    assert "Refused: refused" in str(caught.value)
    assert "KeyError: 'second'" in str(caught.value)


def test_describe_tells_of_the_first_errors_in_a_group() -> None:
    group = ExceptionGroup("mine", [ValueError(str(n)) for n in range(7)])
    assert describe(group) == (
        "ExceptionGroup: mine (7 sub-exceptions): ValueError: 0; ValueError: 1; ValueError: 2;"
        " ValueError: 3; ValueError: 4; and 2 more"
    )


@pytest.mark.parametrize("count", [1, 2])
async def test_a_group_of_the_users_own_is_one_cause(count: int) -> None:
    async def fail(n: int) -> int:
        raise Mine("mine", [Refused(str(number)) for number in range(count)])

    @ps.producer
    async def failing() -> AsyncIterator[int]:
        yield 1
        await fail(1)

    for pipeline in (one.map_async(fail, 1).to(ps.drain()), failing().to(ps.drain())):
        with pytest.raises(ps.StageError) as caught:
            await pipeline.run()
        assert type(caught.value.cause) is Mine
        assert "Mine: mine (" in str(caught.value)
        assert "Refused: 0" in str(caught.value)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_group_raised_in_the_block_of_open_comes_out_as_it_is(count: int) -> None:
    mine = Mine("mine", [Refused(str(number)) for number in range(count)])
    mine.add_note("a note")
    with pytest.raises(Mine) as caught:
        async with one.to(ps.drain()).open():
            raise mine
    assert caught.value.message == "mine"  # Trio's scopes make a copy of the group
    assert caught.value.exceptions == mine.exceptions
    assert caught.value.__notes__ == ["a note"]


async def test_an_error_from_a_nursery_in_the_block_is_shown_once() -> None:
    with pytest.raises(Refused) as caught:
        async with one.to(ps.drain()).open():
            await fetch(1)
    assert shown(caught.value).count("Refused: refused") == 1


async def fail_both(n: int) -> int:
    try:
        await trio.sleep(0 if n == 1 else 1000)
    finally:
        raise Refused(f"number {n}")


async def test_several_failures_are_shown_once_each() -> None:
    pipeline = ps.from_iterable([1, 2]).map_async(fail_both, 2).to(ps.drain())
    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.run()
    assert caught.value.message == "several stages failed"
    for number in (1, 2):
        text = f"StageError: map_async(fail_both) failed on item {number}"
        assert shown(caught.value).count(text) == 1


async def test_several_failures_that_interrupt_the_block_are_shown_once_each() -> None:
    pipeline = ps.from_iterable([1, 2]).map_async(fail_both, 2).to(ps.drain())
    with pytest.raises(ExceptionGroup) as caught:
        async with pipeline.open():
            await trio.sleep_forever()
    assert caught.value.message == "several stages failed"
    for number in (1, 2):
        text = f"StageError: map_async(fail_both) failed on item {number}"
        assert shown(caught.value).count(text) == 1


async def test_an_error_of_the_block_and_one_of_a_stage_are_shown_once_each() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with one.map_async(fetch, 1).to(ps.drain()).open():
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("body")
    assert caught.value.message == "several errors ended the run"
    assert shown(caught.value).count("StageError: map_async(fetch) failed") == 1
    assert shown(caught.value).count("KeyError: 'body'") == 1


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
