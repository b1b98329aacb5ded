from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import penstock as ps
from penstock import testing


async def report() -> ps.Report:
    pipeline = ps.from_iterable(range(9)).filter(lambda n: n % 2).buffer(2).to(ps.collect())
    async with pipeline.open() as run:
        await run.result()
    return run.report()


async def test_the_counts_of_a_run_add_up() -> None:
    testing.assert_balanced(await report())


async def test_so_do_those_of_a_run_that_goes_on(autojump_clock: MockClock) -> None:
    async with ps.every(1).batch(3).buffer(1).to(ps.for_each(trio.sleep_until)).open() as run:  # type: ignore[arg-type]  # a list is no time: that fails too late
        testing.assert_balanced(run.stats())
        await run.stop(0)
    testing.assert_balanced(run.report())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"skipped": 1}, "from_iterable: 9 items were taken or made, and 10 are accounted for"),
        ({"made": -1, "items_in": 10}, "from_iterable: made is -1"),
        ({"retried": -2}, "from_iterable: retried is -2"),
        ({"held": 1, "items_out": 8}, "from_iterable: 1 items are held, though the run is over"),
    ],
)
async def test_what_does_not_add_up_is_named(wrong: dict[str, Any], message: str) -> None:
    good = await report()
    source, *others = good.stages
    bad = replace(good, stages=(replace(source, **wrong), *others))
    with pytest.raises(AssertionError, match=message):
        testing.assert_balanced(bad)
