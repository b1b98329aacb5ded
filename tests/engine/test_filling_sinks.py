"""Sinks that are fused into the task that makes their items, and have to be emptied at times."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps
from penstock._errors import ItemFailed
from penstock._spec import Chunk, Filling, FillingSink, Sink, StepControl


class Tank:
    """Is full with ten items, and waits for a gate whenever it is emptied."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.emptied: list[Any] = []
        self.gate = trio.Event()
        self.left: list[str] = []
        self.fails_at: Callable[[str], None] = lambda _: None

    def sink(self) -> Sink[Any, int]:
        return Sink("tank", FillingSink(self.open))

    @asynccontextmanager
    async def open(self, control: StepControl) -> AsyncIterator[Filling]:
        self.fails_at("open")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._beside)
                yield self
                nursery.cancel_scope.cancel()
            self.fails_at("close")
        except BaseException as error:
            self.left.append(type(error).__name__)
            raise
        self.left.append("well")

    async def _beside(self) -> None:
        self.fails_at("beside")
        await trio.sleep_forever()

    def consume(self, items: Chunk) -> None:
        assert len(self.held) < 10 + 1024
        try:
            self.fails_at("consume")
        except ValueError as error:
            raise ItemFailed(items[0]) from error
        self.held += items

    def is_full(self) -> bool:
        return len(self.held) >= 10

    async def empty(self) -> None:
        held, self.held = self.held, []
        self.emptied += held
        await self.gate.wait()
        self.fails_at("empty")

    async def end(self) -> int:
        await self.empty()
        self.fails_at("end")
        return len(self.emptied)


def failing(where: str) -> Callable[[str], None]:
    def fail(at: str) -> None:
        if at == where:
            raise ValueError(f"at {at}")

    return fail


async def test_all_items_come_and_its_result_is_that_of_the_run() -> None:
    tank = Tank()
    tank.gate.set()
    assert await ps.from_iterable(range(5000)).map(lambda n: n + 1).to(tank.sink()).run() == 5000
    assert tank.emptied == list(range(1, 5001))
    assert tank.left == ["well"]


async def test_while_it_is_being_emptied_nothing_is_made_and_the_time_is_its_own() -> None:
    tank, made = Tank(), list[int]()
    pipeline = ps.from_iterable(range(5000)).tap(made.append).to(tank.sink())
    async with pipeline.open() as run:
        await wait_all_tasks_blocked()
        waiting = len(made)
        assert 10 <= waiting < 100
        await wait_all_tasks_blocked()
        assert len(made) == waiting
        tank.gate.set()
        assert await run.result() == 5000
    (tank_stats,) = (stage for stage in run.report().stages if stage.name == "tank")
    assert (tank_stats.items_in, tank_stats.absorbed) == (5000, 5000)


@pytest.mark.parametrize("where", ["open", "beside", "consume", "empty", "end", "close"])
async def test_what_fails_anywhere_in_it_is_raised_in_its_name(where: str) -> None:
    tank = Tank()
    tank.gate.set()
    tank.fails_at = failing(where)
    with pytest.raises(ps.StageError, match=rf"^tank failed.*at {where}") as caught:
        await ps.from_iterable(range(100)).to(tank.sink()).run()
    assert isinstance(caught.value.cause, ValueError)
    assert tank.left in ([], ["ExceptionGroup"], ["ValueError"], ["StageError"])


async def test_a_failure_of_the_head_is_the_heads_and_the_sink_is_left_with_it() -> None:
    tank = Tank()
    tank.gate.set()
    with pytest.raises(ps.StageError, match=r"^map\(fail\) failed on item 50: ValueError: at 50"):

        def fail(n: int) -> int:
            failing("50")(str(n))
            return n

        await ps.from_iterable(range(100)).map(fail).to(tank.sink()).run()
    assert tank.left == ["ExceptionGroup"]


async def test_cancelled_while_it_is_emptied_it_is_left_so() -> None:
    tank = Tank()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ps.from_iterable(range(5000)).to(tank.sink()).run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert tank.left == ["BaseExceptionGroup"]  # its own Cancelled, and that of its nursery


async def test_stopped_it_gets_what_was_made_and_ends_well() -> None:
    tank = Tank()

    @ps.producer
    async def endless(send: ps.Sender[int]) -> None:
        number = 0
        while True:
            await send(number)
            number += 1

    async with endless().to(tank.sink()).open() as run:
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.stop)
            await wait_all_tasks_blocked()
            tank.gate.set()
        made = await run.result()
    assert tank.emptied == list(range(made))
    assert tank.left == ["well"]


async def test_beside_the_stream_it_takes_the_dead_letters() -> None:
    tank = Tank()
    tank.gate.set()
    stream = ps.from_iterable(range(-30, 30)).map(
        lambda n: 1 // max(0, n), errors=ps.dead_letter(tank.sink())
    )
    assert await stream.to(ps.count()).run() == 29
    assert [letter.item for letter in tank.emptied] == list(range(-30, 1))
    assert tank.left == ["well"]


def record(n: int) -> dict[str, Any]:
    return {"id": n, "where": {"line": n}, "arguments": [[n], [n], [n]], "bases": []}


def test_records_that_are_let_go_of_do_not_wake_the_collector() -> None:
    woken = 0

    def count(phase: str, _: object) -> None:
        nonlocal woken
        woken += phase == "start"

    numbers = ps.from_iterable(range(50_000))
    pipeline = numbers.map(record).filter(lambda each: each["id"] % 4 == 0).to(ps.count())
    gc.callbacks.append(count)
    try:
        assert ps.run(pipeline) == 12_500
    finally:
        gc.callbacks.remove(count)
    # A piece of 1,024 holds over 7,000 objects at a time, which wakes it ten times and more.
    assert woken < 50
