"""Operators with a state for each key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from operator import add
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock

import penstock as ps

Item: TypeAlias = tuple[str, int]

ITEMS: list[Item] = [("a", 1), ("b", 10), ("a", 2), ("a", 2), ("b", 10), ("a", 1), ("b", 20)]


def key(item: Item) -> str:
    return item[0]


def amount(item: Item) -> int:
    return item[1]


def keyed(items: list[Item] = ITEMS, **bounds: Any) -> ps.KeyedStream[str, Item]:
    return ps.from_iterable(items).key_by(key, **bounds)


def items_of(stream: ps.Stream[Any]) -> list[Any]:
    return ps.run(stream.to(ps.collect()))


@ps.producer
async def at_times(items: list[tuple[float, Item]], until: float = 0) -> AsyncIterator[Item]:
    start = trio.current_time()
    for seconds, item in items:
        await trio.sleep_until(start + seconds)
        yield item
    await trio.sleep_until(start + until)


def total(state: int, item: Item) -> int:
    return state + item[1]


def larger(one: Item, other: Item) -> Item:
    return max(one, other, key=amount)


def test_scan_gives_the_state_of_the_items_key() -> None:
    assert items_of(keyed().scan(0, total)) == [
        ("a", 1),
        ("b", 10),
        ("a", 3),
        ("a", 5),
        ("b", 20),
        ("a", 6),
        ("b", 40),
    ]


def test_reduce_begins_with_the_first_item_of_a_key() -> None:
    numbers = ps.from_iterable([1, 10, 2, 20, 3]).key_by(lambda n: n >= 10)
    expected = [(False, 1), (True, 10), (False, 3), (True, 30), (False, 6)]
    assert items_of(numbers.reduce(add)) == expected


def test_dedupe_leaves_out_what_repeats_within_a_key() -> None:
    assert items_of(keyed().dedupe()) == [
        ("a", 1),
        ("b", 10),
        ("a", 2),
        ("a", 1),
        ("b", 20),
    ]
    by_size = keyed().dedupe(lambda item: item[1] > 1)
    assert items_of(by_size) == [("a", 1), ("b", 10), ("a", 2), ("a", 1)]


def test_state_starts_anew_with_each_run() -> None:
    stream = keyed().scan(0, total)
    assert items_of(stream) == items_of(stream)


def test_none_is_a_state_and_a_key_like_any_other() -> None:
    stream = ps.from_iterable([None, None, 1, 1, None]).key_by(lambda _: None)
    assert items_of(stream.dedupe()) == [None, 1, None]
    assert items_of(stream.reduce(lambda state, _: state)) == [(None, None)] * 5


# Debounce


async def test_debounce_waits_for_each_key_by_itself(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    seen: list[tuple[float, Item]] = []
    source = at_times(
        [(0, ("a", 1)), (1, ("b", 1)), (2, ("a", 2)), (2, ("a", 3)), (9, ("b", 2))], until=10
    )
    stream = source.key_by(key).debounce(3)
    async with (
        stream.tap(lambda item: seen.append((trio.current_time() - start, item)))
        .to(ps.drain())
        .open() as run
    ):
        await run.result()
    assert seen == [(4, ("b", 1)), (5, ("a", 3)), (10, ("b", 2))]
    stage = run.report().stages[1]
    assert (stage.items_in, stage.items_out, stage.dropped, stage.evicted) == (5, 3, 2, 0)


async def test_beyond_max_keys_debounce_gives_the_longest_held_early(
    autojump_clock: MockClock,
) -> None:
    source = at_times([(0, ("a", 1)), (1, ("b", 1)), (2, ("a", 2)), (3, ("c", 1))], until=4)
    async with source.key_by(key, max_keys=2).debounce(100).to(ps.collect()).open() as run:
        assert await run.result() == [("b", 1), ("a", 2), ("c", 1)]
    stage = run.report().stages[1]
    assert (stage.dropped, stage.evicted) == (1, 1)


async def test_cancelled_what_debounce_holds_is_abandoned(autojump_clock: MockClock) -> None:
    source = at_times([(0, ("a", 1)), (0, ("b", 1)), (0, ("a", 2))], until=1000)
    with trio.CancelScope() as scope:
        async with source.key_by(key).debounce(500).to(ps.collect()).open() as run:
            await trio.sleep(1)
            assert run.stats().stages[1].held == 2
            scope.cancel()
    stage = run.report().stages[1]
    assert (stage.items_in, stage.dropped, stage.abandoned) == (3, 1, 2)


# map_async


async def test_map_async_keeps_the_items_of_a_key_apart(autojump_clock: MockClock) -> None:
    running: set[str] = set()
    most = 0

    async def call(item: Item) -> Item:
        nonlocal most
        assert item[0] not in running, "calls of one key overlap"
        running.add(item[0])
        most = max(most, len(running))
        await trio.sleep(item[1])
        running.discard(item[0])
        return item

    stream = keyed().map_async(call, 4, ordered=False)
    answers = await stream.to(ps.collect()).run()
    assert most == 2
    for each in "ab":
        assert [item for item in answers if item[0] == each] == [
            item for item in ITEMS if item[0] == each
        ]


# Bounds


async def test_the_key_whose_last_item_came_longest_ago_is_evicted() -> None:
    items = [("a", 1), ("b", 1), ("a", 1), ("c", 1), ("a", 1), ("b", 1)]
    async with keyed(items, max_keys=2).scan(0, total).to(ps.collect()).open() as run:
        assert await run.result() == [
            ("a", 1),
            ("b", 1),
            ("a", 2),
            ("c", 1),
            ("a", 3),
            ("b", 1),
        ]
    assert run.report().stages[1].evicted == 2


async def test_a_key_just_used_is_not_evicted_however_few_there_are() -> None:
    order = ["a", "b", *["a"] * 1000, "c", "d", "e", "a", "b"]
    counted = ps.from_iterable([(each, 1) for each in order]).key_by(key, max_keys=4)
    found = await counted.scan(0, total).to(ps.collect()).run()
    assert found[-5:] == [("c", 1), ("d", 1), ("e", 1), ("a", 1002), ("b", 1)]


async def test_an_evicted_key_is_new_to_dedupe_and_reduce() -> None:
    items = [("a", 1), ("b", 1), ("a", 1), ("a", 1)]
    assert await keyed(items, max_keys=1).dedupe().to(ps.collect()).run() == items[:3]
    reduced = keyed(items, max_keys=1).reduce(lambda one, other: (one[0], one[1] + other[1]))
    assert await reduced.to(ps.collect()).run() == [
        ("a", ("a", 1)),
        ("b", ("b", 1)),
        ("a", ("a", 1)),
        ("a", ("a", 2)),
    ]


async def test_keys_left_alone_are_evicted(autojump_clock: MockClock) -> None:
    source = at_times(
        [(0, ("a", 1)), (0, ("b", 1)), (2, ("a", 1)), (3, ("b", 1)), (4.5, ("a", 1))], until=5
    )
    async with source.key_by(key, idle=3).scan(0, total).to(ps.collect()).open() as run:
        assert await run.result() == [("a", 1), ("b", 1), ("a", 2), ("b", 1), ("a", 3)]
    assert run.report().stages[1].evicted == 1


@pytest.mark.parametrize("errors", ["raise", ps.retry(2)], ids=["raise", "retry"])
@pytest.mark.parametrize("buffered", [False, True])
async def test_no_key_is_idle_while_the_stages_behind_keep_its_items_waiting(
    autojump_clock: MockClock, errors: Any, buffered: bool
) -> None:
    async def busy(found: tuple[str, int]) -> tuple[str, int]:
        await trio.sleep(20 if found[1] == 3 else 0)
        return found

    items: list[tuple[float, Item]] = [(float(n), ("a", 1)) for n in range(1, 41)]
    source = at_times([(0, ("b", 1)), *items])
    keyed = (source.buffer(100) if buffered else source).key_by(key, idle=5)
    counted = keyed.scan(0, total, errors=errors).buffer(1).map_async(busy, 1)
    async with counted.to(ps.collect()).open() as run:
        assert (await run.result())[-1] == ("a", 40)
    assert sum(stage.evicted for stage in run.report().stages) == 1, "b, which had no more items"


async def test_without_bounds_nothing_is_evicted() -> None:
    items = [(str(n), 1) for n in range(5000)] * 2
    async with keyed(items, max_keys=None).scan(0, total).to(ps.collect()).open() as run:
        assert (await run.result())[5000:] == [(str(n), 2) for n in range(5000)]
    assert run.report().stages[1].evicted == 0


# Errors


class Bad:
    """A function that fails on one item, the first times."""

    def __init__(self, then: Callable[..., Any], times: int = 10**9) -> None:
        self._then = then
        self._left = times

    def __call__(self, *args: Any) -> Any:
        if args[-1] == ("a", 3) and self._left:
            self._left -= 1
            raise ValueError("bad")
        return self._then(*args)


NUMBERED: list[Item] = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)]


async def answer(item: Item) -> Item:
    return item


BUILDS: dict[str, Callable[[ps.Stream[Item], int, Any], ps.Stream[Any]]] = {
    "key of scan": lambda s, n, e: s.key_by(Bad(key, n), errors=e).scan(0, total),
    "scan": lambda s, n, e: s.key_by(key).scan(0, Bad(total, n), errors=e),
    "reduce": lambda s, n, e: s.key_by(key, errors=e).reduce(Bad(larger, n)),
    "dedupe": lambda s, n, e: s.key_by(key).dedupe(Bad(amount, n), errors=e),
    "key of dedupe": lambda s, n, e: s.key_by(Bad(key, n), errors=e).dedupe(),
    "key of debounce": lambda s, n, e: s.key_by(Bad(key, n)).debounce(9, errors=e),
    "key of map_async": lambda s, n, e: s.key_by(Bad(key, n), errors=e).map_async(answer, 2),
}


@pytest.mark.parametrize("case", BUILDS)
def test_an_error_names_stage_and_item(case: str) -> None:
    with pytest.raises(ps.StageError, match=r"failed on item \('a', 3\): ValueError: bad"):
        items_of(BUILDS[case](ps.from_iterable(NUMBERED), 99, "raise"))


@pytest.mark.parametrize("case", BUILDS)
async def test_skipped_errors_leave_out_the_item(autojump_clock: MockClock, case: str) -> None:
    stream = BUILDS[case](ps.from_iterable(NUMBERED), 99, "skip")
    without = BUILDS[case](
        ps.from_iterable([item for item in NUMBERED if item[1] != 3]), 0, "raise"
    )
    async with stream.to(ps.collect()).open() as run:
        assert await run.result() == await without.to(ps.collect()).run()
    stage = run.report().stages[1]
    assert (stage.items_in, stage.skipped, stage.errors) == (5, 1, 1)


@pytest.mark.parametrize("case", BUILDS)
async def test_a_failing_function_is_called_again(autojump_clock: MockClock, case: str) -> None:
    stream = BUILDS[case](ps.from_iterable(NUMBERED), 2, ps.retry(3))
    plain = BUILDS[case](ps.from_iterable(NUMBERED), 0, "raise")
    async with stream.to(ps.collect()).open() as run:
        assert sorted(await run.result()) == sorted(await plain.to(ps.collect()).run())
    assert run.report().stages[1].retried == 2


@pytest.mark.parametrize("case", BUILDS)
async def test_failed_items_go_to_the_dead_letters(autojump_clock: MockClock, case: str) -> None:
    letters: list[ps.DeadLetter[Any]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    await BUILDS[case](ps.from_iterable(NUMBERED), 99, errors).to(ps.drain()).run()
    assert [letter.item for letter in letters] == [("a", 3)]


def test_an_unhashable_key_is_an_error_on_its_item() -> None:
    items: list[Any] = ["a", ["b"]]
    keyed = ps.from_iterable(items).key_by(lambda item: item)
    for stream in (keyed.scan(0, lambda n, _: n + 1), keyed.dedupe(), keyed.debounce(1)):
        with pytest.raises(ps.StageError, match=r"failed on item \['b'\]: TypeError"):
            items_of(stream)


# Options


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: ps.from_iterable("a").key_by(3), "key_by: f must be a function"),  # type: ignore[arg-type]
        (lambda: ps.from_iterable("a").key_by(answer), "key_by: f must be an ordinary"),  # type: ignore[arg-type, type-var]
        (lambda: keyed(max_keys=0), "key_by: max_keys must be a whole number of at least 1"),
        (lambda: keyed(idle=0), "key_by: idle must be more than 0 seconds"),
        (lambda: keyed(errors="ignore"), "key_by: errors must be"),
        (lambda: keyed().scan(0, 3), "scan: f must be a function"),  # type: ignore[arg-type]
        (lambda: keyed().scan(0, total, errors="no"), "scan: errors must be"),  # type: ignore[arg-type]
        (lambda: keyed().reduce(None), "reduce: f must be a function"),  # type: ignore[arg-type]
        (lambda: keyed().dedupe(3), "dedupe: key must be a function"),  # type: ignore[arg-type]
        (lambda: keyed().debounce(0), "debounce: seconds must be more than 0"),
        (lambda: keyed().map_async(answer, 0), "map_async: concurrency must be"),
    ],
)
def test_options_are_refused(build: Callable[[], object], problem: str) -> None:
    with pytest.raises(ps.PipelineError) as caught:
        build()
    assert problem in str(caught.value)


def test_a_stage_says_what_it_does() -> None:
    assert repr(keyed()) == "<KeyedStream key_by(key)>"
    assert repr(keyed().scan(0, total)) == "<Stream key_by(key).scan(total)>"


def test_unbounded_state_is_told_of() -> None:
    for stream in (
        keyed(max_keys=None).scan(0, total),
        keyed(max_keys=None).dedupe(),
        keyed(max_keys=None).window(ps.by_count(3)).count(),
    ):
        assert "max_keys" in stream._node.traits.grows
    for stream in (
        keyed().scan(0, total),
        keyed(max_keys=None, idle=60).scan(0, total),
        keyed(max_keys=None).window(ps.tumbling(3)).count(),
    ):
        assert stream._node.traits.grows == ""
