from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps


@ps.producer
async def from_async_generator(n: int, *, step: int = 1) -> AsyncIterator[int]:
    """Count."""
    for item in range(0, n, step):
        yield item


@ps.producer
def from_generator(n: int, *, step: int = 1) -> Iterator[int]:
    yield from range(0, n, step)


@ps.producer
async def from_sender(send: ps.Sender[int], n: int, *, step: int = 1) -> None:
    for item in range(0, n, step):
        await send(item)


@ps.producer(chunked=True)
async def from_chunk_sender(send: ps.Sender[int], n: int, *, step: int = 1) -> None:
    await send.chunk(list(range(0, n, step)))


PRODUCERS: list[Any] = [from_async_generator, from_generator, from_sender, from_chunk_sender]
each_form = pytest.mark.parametrize("produce", PRODUCERS, ids=lambda f: f.__name__)


class TestProducer:
    @each_form
    def test_it_is_called_without_what_it_sends_with(self, produce: Any) -> None:
        assert list(inspect.signature(produce).parameters) == ["n", "step"]

    def test_a_sender_among_any_arguments_is_not_asked_for(self) -> None:
        @ps.producer
        async def produce(*arguments: Any) -> None:
            await arguments[0](arguments[1:])

        assert str(inspect.signature(produce)).startswith("(*arguments")
        assert ps.run(produce(1, 2).to(ps.collect())) == [(1, 2)]

    @each_form
    @pytest.mark.parametrize("n", [0, 1, 1024, 1025, 5000])
    async def test_all_forms_give_all_items(self, produce: Any, n: int) -> None:
        assert await produce(n).to(ps.collect()).run() == list(range(n))

    @each_form
    async def test_the_function_is_called_anew_for_each_run(self, produce: Any) -> None:
        pipeline = produce(6, step=2).map(str).to(ps.collect())
        assert await pipeline.run() == ["0", "2", "4"]
        assert await pipeline.run() == ["0", "2", "4"]

    @each_form
    def test_stage_and_function_keep_their_name(self, produce: Any) -> None:
        stream = produce(1)
        assert repr(stream) == f"<Stream {produce.__name__}>"

    def test_the_docstring_is_kept(self) -> None:
        assert from_async_generator.__doc__ == "Count."

    @pytest.mark.parametrize("blocking_after", [None, 3])
    async def test_a_failing_producer_is_named(self, blocking_after: int | None) -> None:
        @ps.producer
        async def broken(send: ps.Sender[int]) -> None:
            await send(1)
            raise OSError("gone")

        with pytest.raises(ps.StageError, match=r"^broken failed: OSError: gone"):
            await broken().map(str).to(ps.collect()).run()

    async def test_errors_of_fused_stages_come_out_of_a_chunked_send(self) -> None:
        caught = []

        @ps.producer(chunked=True)
        async def watchful(send: ps.Sender[int]) -> None:
            try:
                await send.chunk([1, 0])
            except ps.StageError as error:
                caught.append(error.stage)
                raise

        with pytest.raises(ps.StageError, match=r"map\(<lambda>\) failed on item 0"):
            await watchful().map(lambda n: 1 // n).to(ps.collect()).run()
        assert caught == ["map(<lambda>)"]

    async def test_a_generator_function_is_closed(self) -> None:
        log = []

        @ps.producer
        def endless() -> Iterator[int]:
            try:
                while True:
                    yield 1
            finally:
                log.append("closed")

        assert await endless().take(3).to(ps.collect()).run() == [1, 1, 1]
        assert log == ["closed"]

    def test_an_ordinary_function_is_refused(self) -> None:
        def answer() -> int:
            return 3

        function: Any = answer
        with pytest.raises(ps.PipelineError, match="producer: answer must be a generator"):
            ps.producer(function)


@ps.transform
async def pairs(receive: ps.Receiver[int], send: ps.Sender[tuple[int, int]]) -> None:
    async for first in receive:
        try:
            await send((first, await anext(aiter(receive))))
        except StopAsyncIteration:
            return


@ps.transform
async def times(receive: ps.Receiver[int], send: ps.Sender[int], factor: int) -> None:
    async for items in receive.chunks():
        await send.chunk([item * factor for item in items])


@ps.transform
async def plus(receive: ps.Receiver[int], send: ps.Sender[int], amount: int = 1) -> None:
    async for items in receive.chunks():
        await send.chunk([item + amount for item in items])


class TestTransform:
    async def test_without_options(self) -> None:
        stream = ps.from_iterable(range(5)).via(pairs)
        assert await stream.to(ps.collect()).run() == [(0, 1), (2, 3)]

    async def test_with_options(self) -> None:
        stream = ps.from_iterable(range(2000)).via(times(3)).via(times(factor=2))
        assert await stream.to(ps.collect()).run() == [n * 6 for n in range(2000)]

    async def test_with_options_that_all_have_defaults(self) -> None:
        called: Any = plus
        stream = ps.from_iterable([0]).via(plus).via(called(2)).via(called(amount=3)).via(called())
        assert await stream.to(ps.collect()).run() == [7]

    def test_one_with_options_must_be_called_first(self) -> None:
        uncalled: Any = times
        with pytest.raises(ps.PipelineError, match="must give a Stream"):
            ps.from_iterable([1]).via(uncalled)

    async def test_returning_early_ends_the_stages_before_it(self) -> None:
        log = []

        @ps.producer
        async def endless() -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
            finally:
                log.append("closed")

        @ps.transform
        async def first_only(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
            async for item in receive:
                await send(item)
                return

        assert await endless().via(first_only).to(ps.collect()).run() == [1]
        assert log == ["closed"]

    async def test_cleanup_runs_when_cancelled(self) -> None:
        log = []

        @ps.transform
        async def careful(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
            try:
                async for item in receive:
                    await send(item)
            finally:
                log.append("cleaned up")

        with trio.CancelScope() as scope:
            async with ps.every(3600).via(careful).to(ps.count()).open():
                await wait_all_tasks_blocked()
                scope.cancel()
        assert log == ["cleaned up"]

    async def test_its_error_is_named(self) -> None:
        @ps.transform
        async def broken(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
            raise OSError("gone")

        with pytest.raises(ps.StageError, match=r"^broken failed: OSError: gone"):
            await ps.from_iterable([1]).via(broken).to(ps.collect()).run()

    def test_it_takes_a_stream(self) -> None:
        not_a_stream: Any = [1]
        with pytest.raises(ps.PipelineError, match=r"pairs: takes a Stream, got \[1\]"):
            pairs(not_a_stream)

    def test_it_must_be_async(self) -> None:
        def plain(receive: Any, send: Any) -> None: ...

        function: Any = plain
        with pytest.raises(ps.PipelineError, match="transform: plain must be an async function"):
            ps.transform(function)


@ps.sink
async def total(receive: ps.Receiver[int], start: int = 0) -> int:
    async for items in receive.chunks():
        start += sum(items)
    return start


class TestSink:
    async def test_what_it_returns_is_the_result(self) -> None:
        assert await ps.from_iterable(range(5)).to(total()).run() == 10
        assert await ps.from_iterable(range(5)).to(total(start=5)).run() == 15
        assert await ps.from_iterable([]).to(total()).run() == 0

    async def test_returning_early_ends_the_pipeline(self) -> None:
        @ps.sink
        async def first(receive: ps.Receiver[int]) -> int:
            return await anext(aiter(receive))

        assert await ps.every(3600).to(first()).run() == 0

    async def test_its_error_is_named(self) -> None:
        @ps.sink
        async def broken(receive: ps.Receiver[int]) -> None:
            raise OSError("gone")

        with pytest.raises(ps.StageError, match=r"^broken failed: OSError: gone"):
            await ps.from_iterable([1]).to(broken()).run()

    def test_it_must_be_async(self) -> None:
        def plain(receive: Any) -> None: ...

        function: Any = plain
        with pytest.raises(ps.PipelineError, match="sink: plain must be an async function"):
            ps.sink(function)
