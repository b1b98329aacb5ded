from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import penstock as ps


@pytest.mark.parametrize("size", [0, 1, 2, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("blocking", [False, True])
async def test_from_iterable_gives_all_items_in_order(size: int, blocking: bool) -> None:
    stream = ps.from_iterable(range(size), blocking=blocking)
    assert await stream.to(ps.collect()).run() == list(range(size))


class Backwards(list[int]):
    """Iterates in a way of its own."""

    def __iter__(self) -> Iterator[int]:
        return reversed(self)


@pytest.mark.parametrize("kind", [list, tuple, iter, Backwards])
async def test_from_iterable_iterates_as_python_does(kind: Callable[..., Iterable[int]]) -> None:
    items = kind(range(3000))
    expected = [*kind(range(3000))]
    assert await ps.from_iterable(items).to(ps.collect()).run() == expected


async def test_a_list_gives_what_is_put_into_it_on_the_way() -> None:
    items = [1]

    def put_more(item: int) -> int:
        if item < 5:
            items.append(item + 1)
        return item

    assert await ps.from_iterable(items).map(put_more).to(ps.collect()).run() == [1, 2, 3, 4, 5]


async def test_a_generator_is_closed_when_enough_was_taken() -> None:
    log = []

    def endless() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            log.append("closed")

    assert await ps.from_iterable(endless()).take(2000).to(ps.count()).run() == 2000
    assert log == ["closed"]


async def test_a_blocking_iterable_is_read_in_a_thread() -> None:
    def threads() -> Iterator[int]:
        yield threading.get_ident()

    (ident,) = await ps.from_iterable(threads(), blocking=True).to(ps.collect()).run()
    assert ident != threading.get_ident()


async def test_an_endless_iterable_lets_others_run() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    def slow(item: int) -> int:
        return sum(range(2000)) and item

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await ps.from_iterable(range(3000)).map(slow).to(ps.drain()).run()
        nursery.cancel_scope.cancel()
    assert turns > 20


@pytest.mark.parametrize("items", [3, None])
def test_from_iterable_refuses_what_is_not_iterable(items: Any) -> None:
    with pytest.raises(ps.PipelineError, match="from_iterable: items must be iterable, got"):
        ps.from_iterable(items)


def test_from_iterable_tells_who_takes_an_async_iterable() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    items: Any = numbers()
    with pytest.raises(ps.PipelineError, match="from_async takes async ones"):
        ps.from_iterable(items)


class TestFromAsync:
    async def test_gives_all_items_in_order(self) -> None:
        async def numbers() -> AsyncIterator[int]:
            for n in range(2000):
                yield n

        assert await ps.from_async(numbers).to(ps.collect()).run() == list(range(2000))

    async def test_takes_any_async_iterable(self) -> None:
        send, receive = trio.open_memory_channel[int](5)
        for n in range(3):
            send.send_nowait(n)
        send.close()
        assert await ps.from_async(lambda: receive).to(ps.collect()).run() == [0, 1, 2]

    async def test_an_empty_one(self) -> None:
        async def nothing() -> AsyncIterator[int]:
            return
            yield

        assert await ps.from_async(nothing).to(ps.collect()).run() == []

    def test_refuses_an_async_function_that_is_no_generator(self) -> None:
        async def answer() -> list[int]:
            return []

        factory: Any = answer
        with pytest.raises(ps.PipelineError, match="from_async: factory must be an ordinary"):
            ps.from_async(factory)

    async def test_a_deadline_across_a_yield_is_thrown_in_at_the_yield(
        self, autojump_clock: MockClock
    ) -> None:
        log = []

        async def impatient() -> AsyncIterator[str]:
            yield "first"
            with trio.move_on_after(1) as scope:
                try:
                    yield "held up"
                    yield "never asked for"
                except trio.Cancelled:
                    log.append("cancelled at the yield")
                    raise
            assert scope.cancelled_caught
            yield "last"

        async def slow(_item: str) -> None:
            await trio.sleep(10)

        # A capacity of 1 before the sink, so that the second item waits in the generator's task.
        stream = ps.from_async(impatient).buffer(1)
        seen: list[str] = []
        await stream.to(ps.for_each(_in_turn(seen.append, slow))).run()
        assert log == ["cancelled at the yield"]
        assert seen == ["first", "held up", "last"]

    async def test_a_nursery_across_a_yield(self, autojump_clock: MockClock) -> None:
        async def with_helper() -> AsyncIterator[int]:
            send, receive = trio.open_memory_channel[int](0)

            async def count() -> None:
                async with send:
                    for n in range(3):
                        await trio.sleep(1)
                        await send.send(n)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                async for n in receive:
                    yield n

        assert await ps.from_async(with_helper).to(ps.collect()).run() == [0, 1, 2]
        assert await ps.from_async(with_helper).take(1).to(ps.collect()).run() == [0]

    async def test_cleanup_that_awaits_is_finished_when_cancelled(
        self, autojump_clock: MockClock
    ) -> None:
        log = []

        async def polite() -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                log.append("said goodbye")

        with trio.CancelScope() as scope:
            async with ps.from_async(polite).to(ps.for_each(_stuck)).open():
                await wait_all_tasks_blocked()
                scope.cancel()
        assert log == ["said goodbye"]

    async def test_it_is_closed_when_its_item_is_refused(self) -> None:
        log = []

        async def careful() -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
            finally:
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                log.append("closed")

        with pytest.raises(ps.StageError, match="buffer failed"):
            await ps.from_async(careful).buffer(1, "fail").to(ps.for_each(_stuck)).run()
        assert log == ["closed"]

    async def test_cleanup_that_raises_is_told(self) -> None:
        async def rude() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                raise OSError("no goodbye")

        with pytest.raises(ps.StageError, match=r"from_async\(rude\) failed: OSError: no goodbye"):
            await ps.from_async(rude).take(1).to(ps.collect()).run()


class TestFromChannel:
    async def test_reads_to_the_end_and_closes(self) -> None:
        send, receive = trio.open_memory_channel[int](3000)
        for n in range(3000):
            send.send_nowait(n)
        send.close()
        assert await ps.from_channel(receive).to(ps.collect()).run() == list(range(3000))
        with pytest.raises(trio.ClosedResourceError):
            receive.receive_nowait()

    async def test_items_are_passed_on_as_they_come(self) -> None:
        send, receive = trio.open_memory_channel[int](0)
        async with ps.from_channel(receive).open() as items:
            for n in range(3):
                await send.send(n)
                assert await items.chunk() == [n]

    @pytest.mark.parametrize("started", [False, True])
    async def test_closes_when_cancelled(self, started: bool) -> None:
        send, receive = trio.open_memory_channel[int](0)
        with trio.CancelScope() as scope:
            async with ps.from_channel(receive).to(ps.count()).open():
                if started:
                    await wait_all_tasks_blocked()
                scope.cancel()
        with pytest.raises(trio.BrokenResourceError):
            send.send_nowait(1)


async def _stuck(_item: Any) -> None:
    await trio.sleep_forever()


def _in_turn(first: Any, then: Any) -> Any:
    async def both(item: Any) -> None:
        first(item)
        await then(item)

    return both


USED_UP = r"from_iterable failed: .*the iterator was used up by an earlier run; give a list, or"


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_iterator_is_not_empty_the_second_time(blocking: bool) -> None:
    for items in (iter([1, 2]), (n for n in (1, 2)), map(int, "12")):
        pipeline = ps.from_iterable(items, blocking=blocking).to(ps.collect())
        assert await pipeline.run() == [1, 2]
        for _ in range(2):
            with pytest.raises(ps.StageError, match=USED_UP):
                await pipeline.run()


async def test_a_generator_whose_run_did_not_read_all_of_it_is_used_up() -> None:
    stream = ps.from_iterable(n for n in range(10_000))
    assert await stream.take(1).to(ps.collect()).run() == [0]
    with pytest.raises(ps.StageError, match=USED_UP):
        await stream.to(ps.collect()).run()


async def test_two_stages_that_read_one_iterator_are_told() -> None:
    stream = ps.from_iterable(iter([1, 2]))
    with pytest.raises(ps.StageError, match=USED_UP):
        await ps.concat(stream, stream).to(ps.collect()).run()


async def test_an_iterator_that_has_more_is_read_on() -> None:
    numbers = iter(range(3000))
    stream = ps.from_iterable(numbers)
    first = await stream.take(1).to(ps.collect()).run()
    rest = await stream.to(ps.collect()).run()
    assert first == [0]
    assert rest
    assert rest[-1] == 2999


async def test_an_iterator_that_had_nothing_may_have_something_later() -> None:
    class Odd:
        def __init__(self) -> None:
            self.turn = 0

        def __iter__(self) -> Odd:
            return self

        def __next__(self) -> int:
            self.turn += 1
            if self.turn % 2:
                return self.turn
            raise StopIteration

    pipeline = ps.from_iterable(Odd()).to(ps.collect())
    assert [await pipeline.run() for _ in range(3)] == [[1], [3], [5]]


class FailsAtTheEnd:
    """An iterator whose last step fails."""

    def __init__(self) -> None:
        self.left = 3

    def __iter__(self) -> FailsAtTheEnd:
        return self

    def __next__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        if not self.left:
            raise OSError("for a restart")
        return self.left


async def test_an_iterator_that_failed_is_read_on_when_it_is_started_anew(
    autojump_clock: MockClock,
) -> None:
    stream = ps.from_iterable(FailsAtTheEnd()).restart()
    assert await stream.to(ps.collect()).run() == [2, 1]


def test_a_generator_cannot_be_started_anew() -> None:
    with pytest.raises(ps.PipelineError, match="restart: from_iterable has a generator, which is"):
        ps.from_iterable(n for n in range(3)).restart()


async def test_two_stages_that_read_one_iterator_at_a_time_are_told() -> None:
    stream = ps.from_iterable(n for n in range(3))
    gathered = ps.gather(stream.to(ps.collect()), stream.to(ps.collect()))
    with pytest.raises(ps.StageError, match=USED_UP):
        await gathered.run()
