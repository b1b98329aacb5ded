"""The key of ``buffer(n, "conflate", key=…)``: what it gives, and what becomes of its failures."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import AsyncIterator
from operator import itemgetter
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps
from penstock import testing
from penstock._failing import Errors
from penstock._spec import StepOp

Price = tuple[Any, int]

STEADY = ps.Backoff(1, 60, jitter=False)
PRICES: list[Price] = [("a", 1), ("b", 2), ([], 3), ("a", 4), (None, 5), ("b", 6)]


def symbol(price: Price) -> Any:
    if price[0] is None:
        raise LookupError("no symbol")
    return price[0]


@ps.sink
async def slowly(receive: ps.Receiver[Any]) -> list[Any]:
    """Takes what has come at the end of each minute."""
    taken: list[Any] = []
    await trio.sleep(60)
    async for items in receive.chunks():
        taken += items
        await trio.sleep(60)
    return taken


async def reported(pipeline: ps.Pipeline[Any]) -> tuple[Any, dict[str, ps.StageStats]]:
    async with pipeline.open() as run:
        result = await run.result()
    testing.assert_balanced(run.report())
    return result, {stage.name: stage for stage in run.report().stages}


async def as_they_come() -> AsyncIterator[Price]:
    for price in PRICES:
        await trio.lowlevel.checkpoint()
        yield price


@pytest.mark.parametrize("source", [ps.from_iterable(PRICES), ps.from_async(as_they_come)])
async def test_an_item_without_a_key_is_left_out_and_counted(
    autojump_clock: MockClock, source: ps.Stream[Price]
) -> None:
    stream = source.buffer(5, "conflate", key=symbol, errors="skip")
    given_on, stages = await reported(stream.to(slowly()))
    assert given_on == [("a", 4), ("b", 6)]
    key, buffer = stages["buffer(symbol)"], stages["buffer"]
    assert (key.items_in, key.items_out, key.skipped, key.errors) == (6, 4, 2, 2)
    assert (buffer.items_in, buffer.items_out, buffer.dropped) == (4, 2, 2)


async def test_or_sent_aside_with_what_is_to_be_known_of_it(autojump_clock: MockClock) -> None:
    letters: list[ps.DeadLetter[Price]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    stream = ps.from_iterable(PRICES).buffer(5, "conflate", key=symbol, errors=errors)
    given_on, stages = await reported(stream.to(slowly()))
    assert given_on == [("a", 4), ("b", 6)]
    assert stages["buffer(symbol)"].dead_lettered == 2
    assert [(each.item, each.stage, each.attempts) for each in letters] == [
        (([], 3), "buffer(symbol)", 1),
        ((None, 5), "buffer(symbol)", 1),
    ]
    assert [type(each.error) for each in letters] == [TypeError, LookupError]


@pytest.mark.parametrize(
    ("item", "problem"),
    [(([], 3), "TypeError: unhashable type: 'list'"), ((None, 5), "LookupError: no symbol")],
)
async def test_or_ends_the_run_with_its_name(item: Price, problem: str) -> None:
    stream = ps.from_iterable([("a", 1), item]).buffer(5, "conflate", key=symbol)
    with pytest.raises(ps.StageError) as caught:
        async with stream.to(ps.drain()).open() as run:
            await run.result()
    assert str(caught.value).startswith(f"buffer(symbol) failed on item {item!r}: {problem}")
    assert __file__ in str(caught.value.where)
    testing.assert_balanced(run.report())


async def test_a_key_is_asked_for_again_and_later_items_wait(autojump_clock: MockClock) -> None:
    calls: Counter[Price] = Counter()

    def at_the_second_call(price: Price) -> str:
        calls[price] += 1
        if price == ("b", 2) and calls[price] < 2:
            raise ConnectionError
        return str(price[0])

    prices = [("a", 1), ("b", 2), ("a", 3)]
    came: list[tuple[float, Price]] = []
    stream = ps.from_iterable(prices).buffer(
        5, "conflate", key=at_the_second_call, errors=ps.retry(3, STEADY)
    )
    note = ps.for_each(lambda price: came.append((trio.current_time(), price)))
    _, stages = await reported(stream.to(note))
    assert came == [(0, ("a", 1)), (1, ("b", 2)), (1, ("a", 3))]
    (key,) = [stage for name, stage in stages.items() if name.startswith("buffer(")]
    assert (key.retried, key.skipped, key.items_out) == (1, 0, 3)


async def test_the_key_of_an_item_that_waits_for_room_is_not_asked_for_again(
    autojump_clock: MockClock,
) -> None:
    calls: Counter[int] = Counter()

    def itself(n: int) -> int:
        calls[n] += 1
        return n

    stream = ps.from_iterable(range(20)).buffer(2, "conflate", key=itself)
    given_on, _ = await reported(stream.to(slowly()))
    assert given_on == list(range(20))
    assert set(calls.values()) == {1}


async def test_a_slow_branch_with_a_key_lets_the_other_run_on(autojump_clock: MockClock) -> None:
    fast, slow = ps.from_iterable(range(5000)).broadcast(2)
    newest = slow.buffer(3, "conflate", key=lambda n: n % 3)
    came: list[float] = []
    note = ps.for_each(lambda _: came.append(trio.current_time()))
    (_, taken), _ = await reported(ps.gather(fast.to(note), newest.to(slowly())))
    assert set(came) == {0}
    assert sorted(taken) == [4997, 4998, 4999]


async def test_merged_streams_share_the_keys(autojump_clock: MockClock) -> None:
    merged = ps.merge(*(ps.from_iterable([(n, 1), (n, 2)]) for n in (0, 0, 1)))
    taken, _ = await reported(merged.buffer(2, "conflate", key=itemgetter(0)).to(slowly()))
    assert sorted(taken) == [(0, 2), (1, 2)]


def test_it_pickles_where_its_key_does() -> None:
    stream = ps.from_iterable(PRICES).buffer(5, "conflate", key=symbol)
    op = stream._node.inputs[0].op
    assert isinstance(op, StepOp)
    assert pickle.loads(pickle.dumps(stream._node.op)) == stream._node.op
    assert isinstance(pickle.loads(pickle.dumps(op)), StepOp)


choices: st.SearchStrategy[Errors] = st.sampled_from(
    [
        "raise",
        "skip",
        ps.dead_letter(ps.for_each(lambda _: None)),
        ps.retry(2, STEADY),
        ps.retry(2, STEADY, then="skip"),
        ps.retry(3, STEADY, then=ps.dead_letter(ps.drain())),
    ]
)


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 6), max_size=60),
    choices,
    st.sampled_from(["through", "stopped", "cancelled"]),
    st.integers(0, 5),
)
def test_however_it_ends_the_report_balances_and_no_key_loses_its_last_item(
    n: int, keys: list[int], errors: Errors, ending: str, seconds: int
) -> None:
    items = list(enumerate(keys))
    last = {key: number for number, key in items if key}
    taken: list[tuple[int, int]] = []

    def key(item: tuple[int, int]) -> int:
        return 7 // item[1] and item[1]

    async def take(item: tuple[int, int]) -> None:
        taken.append(item)
        await trio.sleep(0.3)

    async def play() -> ps.Report:
        stream = ps.from_iterable(items).buffer(n, "conflate", key=key, errors=errors)
        try:
            with trio.CancelScope() as scope:
                async with stream.to(ps.for_each(take)).open() as run:
                    testing.assert_balanced(run.stats())
                    if ending != "through":
                        await trio.sleep(seconds)
                        testing.assert_balanced(run.stats())
                    if ending == "stopped":
                        await run.stop(1)
                    elif ending == "cancelled":
                        scope.cancel()
                    await run.result()
        except* (ps.StageError, ps.RunStopped):
            pass
        return run.report()

    report = trio.run(play, clock=MockClock(autojump_threshold=0))
    testing.assert_balanced(report)
    left_out = sum(stage.skipped + stage.dead_lettered for stage in report.stages)
    assert left_out <= keys.count(0)
    if report.outcome == "done":
        assert left_out == keys.count(0)
        assert {key: number for number, key in taken} == last
        assert len(taken) + sum(stage.dropped for stage in report.stages) + left_out == len(keys)
