from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps
from penstock import testing


class Broken(Exception):
    pass


async def test_items_come_when_the_test_sends_them(autojump_clock: MockClock) -> None:
    numbers, source = testing.probe_source(int)
    seen: list[tuple[float, int]] = []
    pipeline = numbers.tap(lambda n: seen.append((trio.current_time(), n))).to(ps.collect())
    start = trio.current_time()
    assert source.state == "waiting"
    async with pipeline.open() as run:
        await source.send(1)
        await trio.sleep(5)
        await source.send_chunk([2, 3])
        assert [(at - start, n) for at, n in seen] == [(0, 1), (5, 2), (5, 3)]
        assert (source.state, source.taken) == ("open", 3)
        await source.end()
        assert source.state == "ended"
        assert await run.result() == [1, 2, 3]


async def test_a_chunk_reaches_a_task_operator_whole(autojump_clock: MockClock) -> None:
    chunks: list[list[int]] = []

    @ps.transform
    async def note(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
        chunks.extend([list(items) async for items in receive.chunks()])

    numbers, source = testing.probe_source(int)
    async with numbers.via(note).to(ps.drain()).open():
        given = [1, 2, 3]
        for chunk in (given, [4], [5, 6]):
            await source.send_chunk(chunk)
            await wait_all_tasks_blocked()
        await source.end()
    assert chunks == [[1, 2, 3], [4], [5, 6]]
    assert given == [1, 2, 3]


async def test_sending_waits_while_the_stages_behind_are_busy(autojump_clock: MockClock) -> None:
    numbers, source = testing.probe_source(int)
    end, sink = testing.probe_sink(int)
    async with numbers.buffer(2).map_async(slow, 1).to(end).open(), trio.open_nursery() as nursery:
        for n in range(20):
            nursery.start_soon(source.send, n)
        await wait_all_tasks_blocked()
        assert source.is_blocked
        first = source.taken
        assert 2 <= first < 10
        await sink.take(20 - 10)
        await trio.sleep(100)
        assert first < source.taken < 20
        await sink.take(10)
        await wait_all_tasks_blocked()
        assert not source.is_blocked
        assert source.taken == 20
        await source.end()


async def slow(item: int) -> int:
    await trio.sleep(1)
    return item


async def test_a_source_that_is_told_to_fails_in_its_name() -> None:
    numbers, source = testing.probe_source(int)
    with pytest.raises(ps.StageError) as caught:
        async with numbers.to(ps.collect()).open():
            await source.send(1)
            await source.fail(Broken())
    assert caught.value.stage == "probe_source"
    assert type(caught.value.cause) is Broken
    assert caught.value.where is not None
    assert caught.value.where.file == __file__
    assert source.state == "failed"


@pytest.mark.parametrize("how", ["take", "stop", "cancel", "fail"])
async def test_it_is_told_when_the_run_lets_go_of_it(how: str) -> None:
    numbers, source = testing.probe_source(int)

    def fail(_item: int) -> None:
        raise Broken

    behind = {"take": numbers.take(1), "fail": numbers.map(fail)}.get(how, numbers)
    states: list[str] = []

    async def look() -> None:
        await source.wait_closed()
        states.append(source.state)

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await source.send(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        raises = pytest.raises(ps.StageError, match="map") if how == "fail" else nullcontext()
        with raises, trio.CancelScope() as scope:
            async with behind.to(ps.drain()).open() as run:
                if how in ("take", "fail"):
                    nursery.start_soon(send)
                    await run.result()
                elif how == "stop":
                    await wait_all_tasks_blocked()
                    await run.stop()
                else:
                    await wait_all_tasks_blocked()
                    scope.cancel()
    assert states == ["cancelled"]
    with pytest.raises(trio.BrokenResourceError, match="cancelled"):
        await source.send(3)


async def test_what_waits_for_room_is_told_that_the_source_is_over() -> None:
    numbers, source = testing.probe_source(int)
    end, sink = testing.probe_sink(int)
    broken: list[int] = []

    async def send(n: int) -> None:
        try:
            await source.send(n)
        except trio.BrokenResourceError:
            broken.append(n)

    async with trio.open_nursery() as nursery, numbers.buffer(1).to(end).open():
        for n in range(9):
            nursery.start_soon(send, n)
        await wait_all_tasks_blocked()
        assert source.is_blocked
        sink.end()
    assert len(broken) == 9 - source.taken
    assert not source.is_blocked


async def test_it_waits_for_the_run_to_start() -> None:
    numbers, source = testing.probe_source(int)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.send, 7)
        await wait_all_tasks_blocked()
        async with numbers.to(ps.collect()).open() as run:
            await source.end()
            assert await run.result() == [7]


async def test_it_serves_one_run_only() -> None:
    numbers, source = testing.probe_source(int)
    pipeline: ps.Pipeline[Any] = numbers.to(ps.drain())
    async with pipeline.open():
        await source.end()
    with pytest.raises(ps.StageError, match="serves one run"):
        await pipeline.run()
    assert source.state == "ended"
