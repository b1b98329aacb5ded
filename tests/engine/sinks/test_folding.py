from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps

SIZES = pytest.mark.parametrize("size", [0, 1, 1024, 1025, 3000])


@SIZES
async def test_fold(size: int) -> None:
    pipeline = ps.from_iterable(range(size)).to(ps.fold(0, lambda total, n: total + n))
    assert await pipeline.run() == sum(range(size))


async def test_each_run_folds_from_the_start() -> None:
    pipeline = ps.from_iterable([1, 2]).to(ps.fold(10, lambda total, n: total + n))
    assert [await pipeline.run(), await pipeline.run()] == [13, 13]


async def test_a_failing_fold_names_its_item() -> None:
    def add(total: int, n: int) -> int:
        return total + 1 // (n - 1500)

    with pytest.raises(ps.StageError, match=r"fold\(add\) failed on item 1500: ZeroDivision"):
        await ps.from_iterable(range(3000)).to(ps.fold(0, add)).run()


def test_fold_takes_an_ordinary_function() -> None:
    async def add(total: int, n: int) -> int:
        return total + n

    with pytest.raises(ps.PipelineError, match="fold: f must be an ordinary function"):
        ps.fold(0, add)  # type: ignore[arg-type]  # that is what is tested


def add_odd(total: int, n: int) -> int:
    if n % 2 == 0:
        raise ValueError(n)
    return total + n


async def test_skipped_items_leave_the_result_as_it_was() -> None:
    pipeline = ps.from_iterable(range(3000)).to(ps.fold(0, add_odd, errors="skip"))
    async with pipeline.open() as run:
        assert await run.result() == sum(range(1, 3000, 2))
    sink = run.report().stages[1]
    assert (sink.items_in, sink.skipped, sink.errors, sink.absorbed) == (3000, 1500, 1500, 1500)


async def test_failed_items_go_to_the_dead_letters() -> None:
    letters: list[ps.DeadLetter[Any]] = []
    errors = ps.dead_letter(ps.for_each(letters.append))
    pipeline = ps.from_iterable(range(6)).to(ps.fold(0, add_odd, errors=errors))
    async with pipeline.open() as run:
        assert await run.result() == 9
    assert [(letter.item, letter.stage) for letter in letters] == [
        (0, "fold(add_odd)"),
        (2, "fold(add_odd)"),
        (4, "fold(add_odd)"),
    ]
    assert run.report().stages[1].dead_lettered == 3


class Flaky:
    """Fails on each even item, so many times."""

    def __init__(self, times: int) -> None:
        self._left = dict.fromkeys(range(0, 6, 2), times)

    def __call__(self, total: int, n: int) -> int:
        if self._left.get(n):
            self._left[n] -= 1
            raise OSError(f"not {n}")
        return total + n


BACKOFF = ps.Backoff(1, factor=1, jitter=False)


async def test_retries_wait_and_go_on(autojump_clock: MockClock) -> None:
    fold = ps.fold(100, Flaky(2), errors=ps.retry(3, BACKOFF))
    async with ps.from_iterable(range(6)).to(fold).open() as run:
        assert await run.result() == 115
    assert trio.current_time() == 6
    assert run.report().stages[1].retried == 6


async def test_retries_end_in_a_failure(autojump_clock: MockClock) -> None:
    fold = ps.fold(0, Flaky(3), errors=ps.retry(3, BACKOFF))
    with pytest.raises(ps.StageError, match=r"fold\(Flaky\) failed on item 0: OSError: not 0"):
        await ps.from_iterable(range(6)).to(fold).run()
    assert trio.current_time() == 2


@pytest.mark.parametrize("then", ["skip", "dead_letter"])
async def test_retries_end_in_leaving_out(autojump_clock: MockClock, then: Any) -> None:
    items: list[int] = []
    letters = ps.dead_letter(ps.for_each(lambda letter: items.append(letter.item)))
    errors = ps.retry(2, BACKOFF, then=letters if then == "dead_letter" else then)
    pipeline = ps.from_iterable(range(6)).to(ps.fold(0, Flaky(2), errors=errors))
    async with pipeline.open() as run:
        assert await run.result() == 1 + 3 + 5
    sink = run.report().stages[1]
    assert (sink.retried, sink.skipped + sink.dead_lettered, sink.absorbed) == (3, 3, 3)
    assert items == ([0, 2, 4] if then == "dead_letter" else [])


def test_a_wrong_choice_is_refused() -> None:
    errors: Any = "ignore"
    with pytest.raises(ps.PipelineError, match="fold: errors must be 'raise', 'skip'"):
        ps.fold(0, add_odd, errors=errors)
