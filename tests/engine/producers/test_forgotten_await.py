"""A ``send`` that nobody awaits fails the stage: its items would be lost unnoticed."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps


@pytest.fixture(autouse=True)
def _pythons_own_warning_is_of_no_interest() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was never awaited", RuntimeWarning)
        yield


def forget(sent: Any) -> None:
    """What a statement ``send(item)`` does."""


@ps.producer
async def forgetful(send: ps.Sender[int]) -> None:
    await send(1)
    forget(send(2))
    await send(3)


@ps.producer(chunked=True)
async def forgetful_by_chunks(send: ps.Sender[int]) -> None:
    await send.chunk([1])
    forget(send.chunk([2, 3]))


@ps.transform
async def forgetful_transform(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for item in receive:
        forget(send(item))


@pytest.mark.parametrize(
    ("stream", "lost"),
    [
        (forgetful(), "1 item is"),
        (forgetful_by_chunks(), "2 items are"),
        (ps.from_iterable([1, 2, 3]).via(forgetful_transform), "3 items are"),
        (forgetful().restart(ps.Backoff(1), max_restarts=1), "1 item is"),
    ],
)
async def test_items_that_were_not_awaited_fail_the_stage(
    stream: ps.Stream[int], lost: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(ps.StageError, match=f"was not awaited, so {lost} lost: write await send"):
        await stream.to(ps.collect()).run()


async def test_a_send_by_another_task_or_one_that_was_given_up_is_no_lost_item(
    autojump_clock: MockClock,
) -> None:
    @ps.producer
    async def careful(send: ps.Sender[int]) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(send, n)
        with trio.move_on_after(1):
            while True:
                await send.chunk([7] * 100)

    async def slow(_: int) -> None:
        await trio.sleep(1)

    pipeline = careful().buffer(5).to(ps.for_each(slow))
    await pipeline.run()


async def test_a_producer_that_is_started_again_is_asked_anew(autojump_clock: MockClock) -> None:
    tries = iter(range(9))

    @ps.producer
    async def unsteady(send: ps.Sender[int]) -> None:
        attempt = next(tries)
        await send(attempt)
        if attempt < 2:
            raise ValueError

    stream = unsteady().restart(ps.Backoff(1))
    assert await stream.to(ps.collect()).run() == [0, 1, 2]


async def test_send_can_be_given_away(autojump_clock: MockClock) -> None:
    async def put(send: Callable[[int], Awaitable[None]]) -> None:
        await send(1)

    @ps.producer
    async def delegating(send: ps.Sender[int]) -> None:
        await put(send)

    assert await delegating().to(ps.collect()).run() == [1]
