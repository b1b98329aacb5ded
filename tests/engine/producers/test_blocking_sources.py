"""``from_iterable(…, blocking=True)``: nothing of the iterable runs on the event loop's thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio

import penstock as ps


class Rows:
    """Notes the thread of each step; its clean-up can be held up."""

    def __init__(self) -> None:
        self.threads: dict[str, threading.Thread] = {}
        self.may_close = threading.Event()
        self.may_close.set()
        self.failing = False

    def __iter__(self) -> Iterator[int]:
        self.threads["iter"] = threading.current_thread()
        return self._rows()

    def _rows(self) -> Iterator[int]:
        try:
            for n in range(10_000):
                self.threads["step"] = threading.current_thread()
                yield n
                if self.failing:
                    raise ValueError("no more")
        finally:
            self.threads["finally"] = threading.current_thread()
            self.may_close.wait(10)


@pytest.mark.parametrize("restarted", [False, True])
async def test_opening_and_closing_are_done_in_threads(restarted: bool) -> None:
    rows = Rows()
    stream = ps.from_iterable(rows, blocking=True)
    if restarted:
        stream = stream.restart(ps.Backoff(0.001))
    assert await stream.take(3).to(ps.collect()).run() == [0, 1, 2]
    assert set(rows.threads) == {"iter", "step", "finally"}
    assert threading.current_thread() not in rows.threads.values()


async def test_a_cancelled_run_waits_for_the_clean_up_while_the_loop_goes_on() -> None:
    rows = Rows()
    rows.may_close.clear()
    over = trio.Event()

    async def run(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        seen = trio.Event()
        pipeline = ps.from_iterable(rows, blocking=True).tap(lambda _: seen.set()).to(ps.drain())
        with trio.CancelScope() as scope:
            async with pipeline.open():
                await seen.wait()
                task_status.started(scope)
                await trio.sleep_forever()
        over.set()

    async with trio.open_nursery() as nursery:
        scope = await nursery.start(run)
        scope.cancel()
        while "finally" not in rows.threads:
            await trio.lowlevel.checkpoint()
        for _ in range(10):  # the loop is free, and the run is not over
            await trio.lowlevel.checkpoint()
        assert not over.is_set()
        rows.may_close.set()
    assert over.is_set()
    assert rows.threads["finally"] is not threading.current_thread()


async def test_an_error_of_opening_in_a_thread_is_the_stages() -> None:
    class Closed:
        def __iter__(self) -> Iterator[int]:
            raise OSError("gone")

    with pytest.raises(ps.StageError, match="from_iterable failed: OSError: gone"):
        await ps.from_iterable(Closed(), blocking=True).to(ps.drain()).run()


async def test_the_generators_error_comes_before_its_closing() -> None:
    rows = Rows()
    rows.failing = True
    with pytest.raises(ps.StageError, match="ValueError: no more"):
        await ps.from_iterable(rows, blocking=True).to(ps.drain()).run()
