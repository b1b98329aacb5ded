"""`check_transform` lets good transforms pass, and finds each kind of defect."""

from __future__ import annotations

import operator
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

import penstock as ps
from penstock import testing

GIVEN = [1, 2, 3, 4, 5]
PAIRS = [(1, 2), (3, 4), (5,)]

Receive = ps.Receiver[Any]
Send = ps.Sender[Any]
Transform = Callable[[ps.Stream[Any]], ps.Stream[Any]]


class Broken(Exception):
    pass


@ps.transform
async def pairs(receive: Receive, send: Send) -> None:
    held: list[int] = []
    async for item in receive:
        held.append(item)
        if len(held) == 2:
            await send(tuple(held))
            held = []
    if held:
        await send(tuple(held))


@ps.transform
async def one_a_second(receive: Receive, send: Send) -> None:
    async for item in receive:
        await trio.sleep(1)
        await send(item)


@ps.transform
async def patient(receive: Receive, send: Send) -> None:
    """Has a time-out of its own, whose cancellation is its own business."""
    while True:
        items: list[Any] = []
        with trio.move_on_after(1):
            try:
                items = await receive.chunk()
            except trio.EndOfChannel:
                return
        if items:
            await send.chunk(items)


@ps.transform
async def impatient(receive: Receive, send: Send) -> None:
    """Its time-out cuts off what it sends, too."""
    while True:
        with trio.move_on_after(1):
            try:
                await send.chunk(await receive.chunk())
            except trio.EndOfChannel:
                return


@ps.transform
async def through_a_nursery(receive: Receive, send: Send) -> None:
    async with trio.open_nursery() as nursery:
        inner_send, inner_receive = trio.open_memory_channel[Any](2)

        async def read() -> None:
            with inner_send:
                async for item in receive:
                    await inner_send.send(item)

        nursery.start_soon(read)
        with inner_receive:
            async for item in inner_receive:
                await send(item)


@ps.transform
async def first_three(receive: Receive, send: Send) -> None:
    left = 3
    async for item in receive:
        await send(item)
        left -= 1
        if not left:
            return


@ps.transform
async def total(receive: Receive, send: Send) -> None:
    result = 0
    async for item in receive:
        result += item
    await send(result)


@ps.transform
async def cleaning_up(receive: Receive, send: Send) -> None:
    try:
        async for items in receive.chunks():
            await send.chunk(items)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)


@ps.transform
async def in_a_thread(receive: Receive, send: Send) -> None:
    async for item in receive:
        await send(await trio.to_thread.run_sync(operator.neg, item))


def odd_squares(stream: ps.Stream[int]) -> ps.Stream[int]:
    return stream.filter(lambda n: n % 2).map(lambda n: n * n)


def of_many_parts(stream: ps.Stream[int]) -> ps.Stream[int]:
    return stream.map(float).batch(2).via(one_a_second).map(len).buffer(3).merge()


async def quick(item: int) -> int:
    await trio.sleep(1 / item)
    return item


GOOD: dict[str, tuple[Transform, list[Any] | None, dict[str, Any]]] = {
    "pairs": (pairs, PAIRS, {}),
    "one a second": (one_a_second, GIVEN, {}),
    "a time-out of its own": (patient, GIVEN, {}),
    "a nursery": (through_a_nursery, GIVEN, {"holds": 4}),
    "ends early": (first_three, [1, 2, 3], {}),
    "a total": (total, [15], {}),
    "cleans up with awaits": (cleaning_up, GIVEN, {}),
    "threads": (in_a_thread, [-1, -2, -3, -4, -5], {"clock_waits": 0.01, "holds": None}),
    "element operators": (odd_squares, [1, 9, 25], {}),
    "takes none": (lambda s: s.take(0), [], {}),
    "nothing at all": (lambda s: s, GIVEN, {}),
    "more than it takes": (lambda s: s.flat_map(lambda n: [n] * n), None, {}),
    "of many parts": (of_many_parts, [2, 2, 1], {}),
    "in any order": (
        lambda s: s.map_async(quick, 5, ordered=False),
        [5, 4, 3, 2, 1],
        {"ordered": False, "holds": 10},
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_transform_passes(case: str) -> None:
    transform, expected, options = GOOD[case]
    given = GIVEN[:3] if case == "threads" else GIVEN
    expected = expected[:3] if case == "threads" and expected else expected
    before = threading.active_count()
    testing.check_transform(transform, given=given, expected=expected, **options)
    assert threading.active_count() <= before + 2  # Trio keeps an idle worker for a while


def test_more_items_than_can_be_cut_in_all_ways() -> None:
    numbers = list(range(40))
    testing.check_transform(
        pairs, given=numbers, expected=list(zip(numbers[::2], numbers[1::2], strict=True))
    )


# Transforms with one defect each


@ps.transform
async def drops_at_chunk_ends(receive: Receive, send: Send) -> None:
    async for items in receive.chunks():
        await send.chunk(items[:-1] or items)


@ps.transform
async def reorders(receive: Receive, send: Send) -> None:
    async for items in receive.chunks():
        await send.chunk(items[::-1])


@ps.transform
async def repeats(receive: Receive, send: Send) -> None:
    async for items in receive.chunks():
        await send.chunk([items[0], *items] if len(items) > 2 else items)


@ps.transform
async def loses_the_last_partial(receive: Receive, send: Send) -> None:
    held: list[int] = []
    async for item in receive:
        held.append(item)
        if len(held) == 2:
            await send(tuple(held))
            held = []


@ps.transform
async def ignores_the_end(receive: Receive, send: Send) -> None:
    async for item in receive:
        await send(item)
    await trio.sleep_forever()


@ps.transform
async def asks_for_ever(receive: Receive, send: Send) -> None:
    while True:
        try:
            await send(await anext(aiter(receive)))
        except StopAsyncIteration:
            await trio.sleep(1)


@ps.transform
async def wants_an_item(receive: Receive, send: Send) -> None:
    await send(await anext(aiter(receive)))
    async for item in receive:
        await send(item)


class KeepsState:
    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __call__(self, stream: ps.Stream[int]) -> ps.Stream[int]:
        self.seen.clear()
        return stream.filter(lambda n: n not in self.seen).tap(self.seen.add)


@ps.transform
async def swallows_and_returns(receive: Receive, send: Send) -> None:
    try:
        async for item in receive:
            await send(item)
    except BaseException:  # noqa: BLE001 - that is the defect
        return


@ps.transform
async def swallows_and_goes_on(receive: Receive, send: Send) -> None:
    async for item in receive:
        with suppress(BaseException):
            await trio.sleep(1)
        await send(item)


@ps.transform
async def cannot_be_cancelled(receive: Receive, send: Send) -> None:
    while True:
        try:
            await send.chunk(await receive.chunk())
        except trio.EndOfChannel:
            return
        except BaseException:  # noqa: BLE001 - that is the defect
            pass


@ps.transform
async def flushes_when_cancelled(receive: Receive, send: Send) -> None:
    held: list[int] = []
    try:
        async for item in receive:
            held.append(item)
            if len(held) == 2:
                await send(tuple(held))
                held = []
    finally:
        if held:
            await send(tuple(held))


@ps.transform
async def fails_when_cancelled(receive: Receive, send: Send) -> None:
    try:
        async for item in receive:
            await send(item)
    except trio.Cancelled:
        raise Broken from None


@ps.transform
async def holds_without_bound(receive: Receive, send: Send) -> None:
    inner_send, inner_receive = trio.open_memory_channel[Any](10**9)

    async def read() -> None:
        with inner_send:
            async for item in receive:
                await inner_send.send(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        async for item in inner_receive:
            await send(item)


@ps.transform
async def leaks_a_task(receive: Receive, send: Send) -> None:
    trio.lowlevel.spawn_system_task(trio.sleep_forever)
    async for item in receive:
        await send(item)


async def numbered(receive: Receive, kept: list[Any]) -> AsyncGenerator[Any, None]:
    async for item in receive:
        yield item


KEPT: list[Any] = []


@ps.transform
async def leaves_a_generator_open(receive: Receive, send: Send) -> None:
    items = numbered(receive, KEPT)
    KEPT[:] = [items]
    async for item in items:
        await send(item)


async def deaf(receive: Receive) -> AsyncGenerator[Any, None]:
    async for item in receive:
        try:
            yield item
        except GeneratorExit:
            yield None


@ps.transform
async def ignores_generator_exit(receive: Receive, send: Send) -> None:
    async for item in deaf(receive):
        await send(item)


@ps.transform
async def forgets_an_await(receive: Receive, send: Send) -> None:
    async for item in receive:
        await send(item)
    trio.sleep(1)  # type: ignore[unused-coroutine]  # noqa: ASYNC105 - that is the defect


@ps.transform
async def fails_at_the_end(receive: Receive, send: Send) -> None:
    async for item in receive:
        await send(item)
    raise Broken("at the end")


@ps.transform
async def hides_its_stage(receive: Receive, send: Send) -> None:
    async for item in receive:
        if item < 0:
            raise ps.StageError("somebody else", Broken())
        await send(item)


@ps.transform
async def spins(receive: Receive, send: Send) -> None:
    async for item in receive:
        await send(item)
    while True:
        await trio.lowlevel.checkpoint()


BAD: dict[str, tuple[Transform, dict[str, Any], str]] = {
    "drops items at chunk ends": (drops_at_chunk_ends, {}, "1 missing"),
    "reorders": (reorders, {}, "another order"),
    "gives items twice": (repeats, {}, "1 too many"),
    "loses the last partial": (loses_the_last_partial, {"expected": PAIRS}, "1 missing"),
    "ignores the end": (ignores_the_end, {}, "did not end"),
    "asks for ever": (asks_for_ever, {}, "did not end within"),
    "spins": (spins, {}, "did not end within"),
    "needs an item": (wants_an_item, {}, "failed: StopAsyncIteration"),
    "keeps state from run to run": (KeepsState(), {}, "5 missing"),
    "swallows Cancelled and returns": (
        swallows_and_returns,
        {},
        "swallowed trio.Cancelled and returned as if it were done",
    ),
    "swallows Cancelled and goes on": (
        swallows_and_goes_on,
        {},
        "swallowed trio.Cancelled and went on sending",
    ),
    "can't be cancelled": (cannot_be_cancelled, {}, "swallowed trio.Cancelled"),
    "flushes when it is cancelled": (
        flushes_when_cancelled,
        {},
        "swallowed trio.Cancelled and went on sending",
    ),
    "fails when it is cancelled": (fails_when_cancelled, {}, "several|failed"),
    "loses what nobody reads in time": (impatient, {}, "went on taking items"),
    "holds without bound": (holds_without_bound, {}, "went on taking items"),
    "leaks a task": (leaks_a_task, {}, "left a task running"),
    "leaves an async generator open": (
        leaves_a_generator_open,
        {},
        "left the async generator numbered open",
    ),
    "ignores GeneratorExit": (ignores_generator_exit, {}, "ignored GeneratorExit"),
    "forgets an await": (forgets_an_await, {}, "'sleep' was never awaited"),
    "fails at the end": (fails_at_the_end, {}, "it failed: .* at the end"),
    "does not fail where it should": (pairs, {"fails_on": 6}, "did not fail on the last item"),
    "fails in another's name": (hides_its_stage, {"fails_on": -1}, "does not come as its own"),
}


def test_a_transform_with_threads_that_does_not_end_is_found() -> None:
    with pytest.raises(testing.ConformanceError, match="did not end"):
        testing.check_transform(ignores_the_end, given=[1], clock_waits=0.001)


@pytest.mark.parametrize("case", BAD)
def test_a_defect_is_found(case: str) -> None:
    transform, options, message = BAD[case]
    with pytest.raises(testing.ConformanceError, match=message):
        testing.check_transform(transform, given=GIVEN, **options)
    KEPT.clear()


def test_a_transform_that_fails_on_an_item_names_its_stage() -> None:
    def inverse(n: int) -> float:
        return 1 / n

    @ps.transform
    async def inverses(receive: ps.Receiver[int], send: ps.Sender[float]) -> None:
        async for item in receive:
            await send(1 / item)

    testing.check_transform(inverses, given=[1, 2], fails_on=0)
    testing.check_transform(lambda s: s.map(inverse), given=[1, 2], fails_on=0)


def test_what_after_each_asserts_must_hold_after_each_run() -> None:
    open_files: list[int] = []

    def opening(close: bool) -> Callable[[Receive, Send], Awaitable[None]]:
        async def forward(receive: Receive, send: Send) -> None:
            open_files.append(1)
            try:
                async for item in receive:
                    await send(item)
            finally:
                if close:
                    open_files.pop()
            if not close:
                open_files.pop()

        return forward

    def all_closed() -> None:
        assert open_files == [], "a file is open"

    testing.check_transform(ps.transform(opening(True)), given=GIVEN, after_each=all_closed)
    with pytest.raises(testing.ConformanceError, match=r"after_each found: .*a file is open"):
        testing.check_transform(ps.transform(opening(False)), given=GIVEN, after_each=all_closed)


def test_the_error_says_what_was_tried_what_came_and_what_was_expected() -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        testing.check_transform(loses_the_last_partial, given=[1, 2, 3], expected=[(1, 2), (3,)])
    assert str(caught.value) == (
        "loses_the_last_partial: not the items that were expected: 1 missing\n"
        "  tried:    each item by itself\n"
        "  given:    [1, 2, 3]\n"
        "  expected: [(1, 2), (3,)]\n"
        "  came:     [(1, 2)]"
    )
    assert isinstance(caught.value, AssertionError)


def test_the_error_of_a_run_is_the_cause() -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        testing.check_transform(fails_at_the_end, given=[1])
    cause = caught.value.__cause__
    assert isinstance(cause, ps.StageError)
    assert type(cause.cause) is Broken


def test_long_inputs_are_cut_in_the_message() -> None:
    with pytest.raises(testing.ConformanceError, match=r"… \(1000 items\)"):
        testing.check_transform(drops_at_chunk_ends, given=range(1000))


async def test_it_can_not_be_called_where_trio_runs() -> None:
    with pytest.raises(RuntimeError, match="not an async def"):
        testing.check_transform(pairs, given=GIVEN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"given": []}, "given must hold at least one item"),
        ({"holds": -1}, "holds must be a whole number"),
        ({"clock_waits": -1}, "clock_waits must be a number of seconds"),
        ({"transform": 3}, "transform must be a function"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"transform": pairs, "given": GIVEN} | options
    with pytest.raises(ps.PipelineError, match=f"check_transform: {message}"):
        testing.check_transform(**arguments)
