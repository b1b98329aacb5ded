"""Items that come at given times, and the times at which they go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

import penstock as ps


@ps.producer(chunked=True)
async def scheduled(
    send: ps.Sender[Any], *chunks: tuple[float, Sequence[Any]], end: float | None = None
) -> None:
    """Each list of items at its second; ends with the last one, or at ``end``."""
    start = trio.current_time()
    for time, items in chunks:
        await trio.sleep_until(start + time)
        await send.chunk(list(items))
    if end is not None:
        await trio.sleep_until(start + end)


def singly(*times: float) -> list[tuple[float, list[int]]]:
    """0, 1, 2, … at these seconds."""
    return [(time, [number]) for number, time in enumerate(times)]


async def timed(stream: ps.Stream[Any]) -> list[tuple[float, Any]]:
    """What a stream gives, with the seconds since its start; then its end."""
    start = trio.current_time()
    seen: list[tuple[float, Any]] = []

    def note(item: Any) -> None:
        seen.append((trio.current_time() - start, item))

    await stream.tap(note).to(ps.drain()).run()
    return [*seen, (trio.current_time() - start, "end")]


async def report_of(stream: ps.Stream[Any]) -> dict[str, ps.StageStats]:
    """Run a stream; its stages by name."""
    async with stream.to(ps.collect()).open() as run:
        await run.result()
    return {stage.name: stage for stage in run.report().stages}
