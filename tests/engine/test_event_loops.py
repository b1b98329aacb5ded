"""Which event loop a pipeline is run on, and from which code."""

from __future__ import annotations

import asyncio

import pytest

import penstock as ps

counted = ps.from_iterable([1, 2]).to(ps.count())


def test_asyncio_is_refused_with_what_to_do() -> None:
    async def main() -> None:
        with pytest.raises(ps.PenstockError, match=r"trio\.run\(main\), not asyncio\.run\(main\)"):
            await counted.run()
        with pytest.raises(ps.PenstockError, match="runs on Trio"):
            async with counted.open():
                pass
        with pytest.raises(ps.PenstockError, match="runs on Trio"):
            async with ps.from_iterable([1]).open():
                pass

    asyncio.run(main())


async def test_run_in_async_code_is_refused_with_what_to_do() -> None:
    with pytest.raises(ps.PenstockError, match=r"in async code: await pipeline\.run\(\)"):
        ps.run(counted)
