"""aiostream: a pipe of asynchronous iterators, an item at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiostream import pipe, stream

from ..engine_rows.work import add, double, no_multiple_of_three, plus_one


def sum_of(numbers: Iterable[int]) -> int:
    async def run() -> int:
        found: int = await (
            stream.iterate(numbers)
            | pipe.map(double)
            | pipe.filter(no_multiple_of_three)
            | pipe.map(plus_one)
            | pipe.reduce(add, 0)
        )
        return found

    return asyncio.run(run())
