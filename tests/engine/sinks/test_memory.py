from __future__ import annotations

from collections.abc import Iterable

import pytest

import penstock as ps

SIZES = pytest.mark.parametrize("size", [0, 1, 1024, 1025, 3000])


@SIZES
async def test_collect(size: int) -> None:
    assert await ps.from_iterable(range(size)).to(ps.collect()).run() == list(range(size))


@SIZES
async def test_count(size: int) -> None:
    assert await ps.from_iterable(range(size)).to(ps.count()).run() == size


@SIZES
async def test_fold(size: int) -> None:
    pipeline = ps.from_iterable(range(size)).to(ps.fold(0, lambda total, n: total + n))
    assert await pipeline.run() == sum(range(size))


async def test_drain_runs_the_stream_for_its_effects() -> None:
    seen: list[int] = []
    pipeline = ps.from_iterable(range(3)).tap(seen.append).to(ps.drain())
    await pipeline.run()
    assert seen == [0, 1, 2]


async def test_each_run_collects_a_list_of_its_own() -> None:
    pipeline = ps.from_iterable([1]).to(ps.collect())
    first = await pipeline.run()
    assert await pipeline.run() == first
    assert await pipeline.run() is not first


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


async def test_sinks_behind_a_task_boundary_are_the_same() -> None:
    def behind(items: Iterable[int]) -> ps.Stream[int]:
        return ps.from_iterable(items).buffer(3)

    assert await behind(range(10)).to(ps.collect()).run() == list(range(10))
    assert await behind(range(10)).to(ps.count()).run() == 10
