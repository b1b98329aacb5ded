from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import trio

import penstock as ps

numbers = ps.from_iterable([1, 2, 3])
untyped: Any = numbers  # for mistakes that a type checker finds, too


async def coroutine_function(item: Any) -> Any:
    return item


def test_a_stream_is_a_description_that_can_be_run_again() -> None:
    pipeline = numbers.map(str).batch(2).to(ps.collect())
    assert ps.run(pipeline) == [["1", "2"], ["3"]]
    assert ps.run(pipeline) == [["1", "2"], ["3"]]


def test_a_stream_can_go_on_in_two_ways() -> None:
    doubled = numbers.map(lambda n: n * 2)
    assert ps.run(doubled.to(ps.collect())) == [2, 4, 6]
    assert ps.run(doubled.skip(1).to(ps.collect())) == [4, 6]


def test_a_stream_of_importable_functions_can_be_pickled() -> None:
    pipeline = numbers.map(str).take(2).to(ps.collect())
    assert ps.run(pickle.loads(pickle.dumps(pipeline))) == ["1", "2"]


def test_repr_says_what_it_is() -> None:
    assert repr(numbers.map(str)) == "<Stream map(str)>"
    assert repr(numbers.to(ps.count())) == "<Pipeline to count>"


def test_via_is_a_piece_of_a_pipeline_as_a_function() -> None:
    def odd_squares(stream: ps.Stream[int]) -> ps.Stream[int]:
        return stream.filter(lambda n: n % 2).map(lambda n: n * n)

    assert ps.run(numbers.via(odd_squares).to(ps.collect())) == [1, 9]


def test_to_takes_a_sink_factory_for_its_sink() -> None:
    assert ps.run(numbers.to(ps.count)) == 3  # type: ignore[arg-type]  # typed users call it


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "map an async function": (
        lambda: untyped.map(coroutine_function),
        "map: f must be an ordinary function, but coroutine_function is async; use map_async",
    ),
    "map no function": (lambda: untyped.map(3), "map: f must be a function"),
    "map errors": (
        lambda: untyped.map(str, errors="ignore"),
        r"map: errors must be 'raise', 'skip', retry\(attempts\) or .* got 'ignore'",
    ),
    "filter": (lambda: untyped.filter(coroutine_function), "filter: keep must be an ordinary"),
    "flat_map": (lambda: untyped.flat_map(coroutine_function), "flat_map: f must be an ordinary"),
    "scan": (lambda: untyped.scan(0, None), "scan: f must be a function, got None"),
    "tap": (lambda: untyped.tap(coroutine_function), "tap: f must be an ordinary function"),
    "take": (lambda: untyped.take(-1), "take: count must be a whole number of at least 0"),
    "skip": (lambda: untyped.skip(1.5), "skip: count must be a whole number of at least 0"),
    "batch size": (lambda: untyped.batch(0), "batch: size must be a whole number of at least 1"),
    "batch within": (lambda: untyped.batch(1, within=0), "batch: within must be more than 0"),
    "map_async f": (lambda: untyped.map_async(1, 2), "map_async: f must be a function"),
    "map_async concurrency": (
        lambda: untyped.map_async(coroutine_function, 0),
        "map_async: concurrency must be a whole number of at least 1",
    ),
    "map_async errors": (
        lambda: untyped.map_async(coroutine_function, 1, errors="drop"),
        "map_async: errors must be 'raise', 'skip',",
    ),
    "map_blocking async": (
        lambda: untyped.map_blocking(coroutine_function, 1),
        "map_blocking: f must be an ordinary function, but coroutine_function is async",
    ),
    "map_blocking workers": (
        lambda: untyped.map_blocking(str, 0),
        "map_blocking: workers must be a whole number of at least 1",
    ),
    "map_blocking on": (
        lambda: untyped.map_blocking(str, 1, on="gpu"),
        "map_blocking: on must be one of 'thread', 'process', got 'gpu'",
    ),
    "map_blocking lambda": (
        lambda: untyped.map_blocking(lambda n: n, 1, on="process"),
        "map_blocking: f must be importable by name",
    ),
    "buffer n": (lambda: untyped.buffer(0), "buffer: n must be a whole number of at least 1"),
    "buffer overflow": (
        lambda: untyped.buffer(1, "burst"),
        "buffer: overflow must be one of 'block'",
    ),
    "buffer key": (
        lambda: untyped.buffer(1, "drop_oldest", key=str),
        'buffer: key goes with overflow="conflate" only',
    ),
    "buffer key, async": (
        lambda: untyped.buffer(1, "conflate", key=trio.sleep),
        "buffer: key must be an ordinary function, but sleep is async; use map_async to look the",
    ),
    "buffer errors": (
        lambda: untyped.buffer(1, "conflate", key=str, errors="ignore"),
        "buffer: errors must be 'raise', 'skip', retry",
    ),
    "buffer errors, no key": (
        lambda: untyped.buffer(1, "conflate", errors="skip"),
        "buffer: errors is for failures of key, and there is none",
    ),
    "merge": (lambda: untyped.merge([1]), r"merge: takes Streams, got \[1\]"),
    "merge nothing": (lambda: ps.merge(), "merge: takes at least one Stream"),
    "via no function": (lambda: untyped.via(3), "via: f must be a function"),
    "via no stream": (lambda: untyped.via(lambda s: 3), "must give a Stream, but gave 3"),
    "to": (lambda: untyped.to([]), r"to: takes a sink such as collect\(\)"),
    "run a stream": (lambda: ps.run(untyped), r"run: takes a Pipeline, got <Stream from_iter"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_option_is_refused_at_once_with_stage_and_option(case: str) -> None:
    build, message = REFUSED[case]
    with pytest.raises(ps.PipelineError, match=message) as caught:
        build()
    assert caught.value.where is not None
    assert caught.value.where.file == __file__


class TestOpen:
    async def test_the_items_can_be_read_one_by_one(self) -> None:
        async with numbers.open() as items:
            assert [item async for item in items] == [1, 2, 3]

    async def test_leaving_the_block_ends_the_run(self) -> None:
        closed = []

        @ps.producer
        async def endless() -> Any:
            try:
                n = 0
                while True:
                    yield n
                    n += 1
            finally:
                closed.append(True)

        async with endless().map(str).open() as items:
            async for item in items:
                if item == "5":
                    break
        assert closed == [True]

    async def test_a_failure_interrupts_the_block_and_is_raised_from_it(self) -> None:
        seen = []
        with pytest.raises(ps.StageError, match=r"^map") as caught:
            async with numbers.map(lambda n: 1 // (n - 3)).open() as items:
                async for item in items:
                    seen.append(item)  # noqa: PERF401 - what was seen until it failed is kept
                raise AssertionError("a failed stream must not look like one that ended")
        assert caught.value.item_repr == "3"

    async def test_an_error_of_the_block_is_raised_as_itself(self) -> None:
        with pytest.raises(KeyError, match="mine"):
            async with numbers.open() as items:
                async for _ in items:
                    raise KeyError("mine")

    async def test_the_receiver_is_of_no_use_after_the_block(self) -> None:
        async with ps.every(1).open() as items:
            assert await anext(aiter(items)) == 0
        with pytest.raises(Exception, match="over"):
            await items.chunk()
