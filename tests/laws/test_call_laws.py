"""Calls in flight: order, overlap, bounds, and what becomes of failures, over random durations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any, Literal

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps
from penstock._failing import Errors

Call = tuple[int, int, int, int]  # number, key, seconds, how often it fails

CALLS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 3)), max_size=30
).map(lambda calls: [(number, *call) for number, call in enumerate(calls)])
POLICIES = st.sampled_from(["skip", "letter", "retry, skip", "retry, letter"])
STEADY = ps.Backoff(1, 1, jitter=False)
ATTEMPTS = 3


class Calls:
    """The function of a stage, which watches over its own calls."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self.attempts: Counter[int] = Counter()
        self.running: Counter[int] = Counter()
        self.most = 0
        self.most_of_a_key = 0
        self.begun: defaultdict[int, list[int]] = defaultdict(list)

    async def __call__(self, call: Call) -> Call:
        number, key, seconds, failures = call
        self.attempts[number] += 1
        if self.attempts[number] == 1:
            self.begun[key].append(number)
        self.running[key] += 1
        self.most = max(self.most, self.running.total())
        self.most_of_a_key = max(self.most_of_a_key, self.running[key])
        await trio.sleep(seconds)
        self.running[key] -= 1
        if self._fails and self.attempts[number] <= failures:
            raise OSError(number)
        return call


def key_of(call: Call) -> int:
    return call[1]


def run(pipeline: ps.Pipeline[Any]) -> tuple[Any, ps.Report]:
    async def go() -> tuple[Any, ps.Report]:
        async with pipeline.open() as run:
            result = await run.result()
        return result, run.report()

    return trio.run(go, clock=MockClock(autojump_threshold=0))


@given(CALLS, st.integers(1, 5), st.booleans())
def test_calls_of_a_key_keep_their_order_and_never_overlap(
    calls: list[Call], concurrency: int, ordered: bool
) -> None:
    f = Calls(fails=False)
    stream = ps.from_iterable(calls).map_async(f, concurrency, ordered=ordered, key=key_of)
    results, _ = run(stream.to(ps.collect()))
    assert Counter(results) == Counter(calls)
    assert f.most <= concurrency
    assert f.most_of_a_key <= 1
    for key, numbers in f.begun.items():
        assert numbers == sorted(numbers)
        of_key = [call for call in results if call[1] == key]
        assert of_key == sorted(of_key)
    if ordered:
        assert results == calls


@given(CALLS, st.integers(1, 5))
def test_in_order_it_is_map(calls: list[Call], concurrency: int) -> None:
    f = Calls(fails=False)
    results, _ = run(ps.from_iterable(calls).map_async(f, concurrency).to(ps.collect()))
    assert results == calls
    assert f.most <= concurrency


@given(CALLS, st.integers(1, 4), st.booleans(), st.booleans(), POLICIES)
def test_each_policy_gives_what_it_says(
    calls: list[Call], concurrency: int, ordered: bool, keyed: bool, policy: str
) -> None:
    letters: list[ps.DeadLetter[Call]] = []
    to_letters = ps.dead_letter(ps.for_each(letters.append))
    last: Any = to_letters if policy.endswith("letter") else "skip"
    again = policy.startswith("retry")
    errors: Errors = ps.retry(ATTEMPTS, STEADY, then=last) if again else last
    stream = ps.from_iterable(calls).map_async(
        Calls(fails=True),
        concurrency,
        ordered=ordered,
        key=key_of if keyed else None,
        errors=errors,
    )
    results, report = run(stream.to(ps.collect()))
    attempts = ATTEMPTS if again else 1
    lost = [call for call in calls if call[3] >= attempts]
    assert Counter(results) == Counter(calls) - Counter(lost)
    if ordered:
        assert results == [call for call in calls if call not in lost]
    stage = report.stages[1]
    assert stage.retried == sum(min(call[3], attempts - 1) for call in calls)
    if last == "skip":
        assert (stage.skipped, letters) == (len(lost), [])
    else:
        assert stage.skipped == 0
        assert Counter(letter.item for letter in letters) == Counter(lost)
        assert all(letter.attempts == attempts for letter in letters)


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=12),
    st.integers(1, 4),
    st.sampled_from(["generator", "stream"]),
)
def test_flat_map_async_gives_all_items_and_in_order_it_is_flat_map(
    waits: list[list[int]], concurrency: int, kind: Literal["generator", "stream"]
) -> None:
    async def inner(outer: int) -> AsyncIterator[tuple[int, int]]:
        for n, seconds in enumerate(waits[outer]):
            await trio.sleep(seconds)
            yield outer, n

    def stream_of(outer: int) -> ps.Stream[tuple[int, int]]:
        return ps.from_async(lambda: inner(outer))

    f: Any = inner if kind == "generator" else stream_of
    expected = [(outer, n) for outer, each in enumerate(waits) for n in range(len(each))]
    outers = ps.from_iterable(range(len(waits)))
    ordered, _ = run(outers.flat_map_async(f, concurrency, ordered=True).to(ps.collect()))
    assert ordered == expected
    unordered, _ = run(outers.flat_map_async(f, concurrency).to(ps.collect()))
    assert Counter(unordered) == Counter(expected)
    for outer in range(len(waits)):
        numbers = [n for each, n in unordered if each == outer]
        assert numbers == sorted(numbers)
