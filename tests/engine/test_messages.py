"""What is said to those who gave a function for what it gives, or the other way round."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import penstock as ps
from penstock import testing


@ps.producer
async def numbers() -> AsyncIterator[int]:
    yield 1


@ps.producer
async def sent(send: ps.Sender[int], count: int = 2) -> None:
    for n in range(count):
        await send(n)


@ps.transform
async def pairs(receive: ps.Receiver[int], send: ps.Sender[int]) -> None:
    async for item in receive:
        await send(item)


async def up(n: int) -> int:
    return n + 1


async def stream_of() -> AsyncIterator[int]:
    yield 1


def generator() -> Iterator[int]:
    yield 1


one: ps.Stream[Any] = ps.from_iterable([1])
untyped: Any = one
uncalled: Any = numbers

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "a called transform": (
        lambda: one.via(untyped_pairs()),
        "pairs: takes no options: .via(pairs)",
    ),
    "an uncalled producer": (lambda: ps.merge(uncalled, one), "; call it: numbers()"),
    "a called async function": (lambda: one.map_async(untyped_up(1), 2), "; give up, not up(…)"),
    "a called async generator": (
        lambda: ps.from_async(untyped_stream_of()),
        "; give stream_of, not stream_of(…)",
    ),
    "a called generator": (
        lambda: one.flat_map(untyped_generator()),
        "; give generator, not generator(…)",
    ),
    "no seconds": (lambda: ps.every(0), "seconds must be more than 0 seconds, got 0"),
}

untyped_pairs: Any = pairs
untyped_up: Any = up
untyped_stream_of: Any = stream_of
untyped_generator: Any = generator


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_the_message_says_what_to_write(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ps.PipelineError) as caught:
        make()
    assert said in str(caught.value)


class TestAnUncalledProducer:
    def test_a_method_of_a_stream_says_to_call_it(self) -> None:
        with pytest.raises(AttributeError, match=r"numbers has no attribute 'map'; call it: num"):
            uncalled.map(str)
        with pytest.raises(AttributeError, match=r"numbers has no attribute 'mop'$"):
            _ = uncalled.mop

    def test_it_is_like_a_function_otherwise(self) -> None:
        assert uncalled.__name__ == "numbers"
        assert repr(numbers) == "<producer numbers>"
        assert pickle.loads(pickle.dumps(numbers)) is numbers
        assert copy.deepcopy(numbers) is numbers
        assert str(inspect.signature(sent)) == "(count: 'int' = 2) -> 'None'"

    async def test_it_can_be_a_method(self) -> None:
        class Sensors:
            count = 3

            @ps.producer
            async def readings(self) -> AsyncIterator[int]:
                for n in range(self.count):
                    yield n

        stream: ps.Stream[int] = Sensors().readings()
        assert await stream.to(ps.collect()).run() == [0, 1, 2]


def test_sinks_are_shown_by_their_names() -> None:
    collected: ps.Sink[int, list[int]] = ps.collect()
    assert repr(collected) == "<Sink collect>"
    assert repr(ps.for_each(print)) == "<Sink for_each(print)>"
    assert repr(ps.dead_letter(ps.collect())) == "dead_letter(<Sink collect>)"


class TestRecordings:
    async def test_a_recorder_is_a_transform_itself(self) -> None:
        recording: list[testing.Recorded[int]] = []
        assert await one.via(testing.Recorder(recording)).to(ps.collect()).run() == [1]
        assert [list(each.items) for each in recording] == [[], [1], []]
        assert await testing.replay(recording).to(ps.collect()).run() == [1]

    async def test_a_run_that_is_not_there(self) -> None:
        recording: list[testing.Recorded[int]] = []
        await one.via(testing.Recorder(recording)).to(ps.drain()).run()
        for run in (3, -2):
            with pytest.raises(ps.StageError, match=f"holds 1 run; run={run} is not there"):
                await testing.replay(recording, run=run).to(ps.drain()).run()

    async def test_a_list_of_something_else(self) -> None:
        items: Any = [1, 2]
        with pytest.raises(ps.StageError, match=r"a list of Recorded entries, .* got 1"):
            await testing.replay(items).to(ps.drain()).run()
