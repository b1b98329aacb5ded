from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import penstock as ps

QUICK = ps.Backoff(0.01, 0.01, jitter=False)


class TestThreads:
    @pytest.mark.parametrize("size", [0, 1, 1024, 1025, 5000])
    async def test_answers_keep_the_order_of_the_items(self, size: int) -> None:
        stream = ps.from_iterable(range(size)).map_blocking(str, 3)
        assert await stream.to(ps.collect()).run() == [str(n) for n in range(size)]

    async def test_calls_run_on_up_to_workers_threads(self) -> None:
        together = threading.Barrier(3, timeout=10)

        def meet(_item: int) -> int:
            together.wait()
            return threading.get_ident()

        idents = await ps.from_iterable(range(6)).map_blocking(meet, 3).to(ps.collect()).run()
        assert threading.get_ident() not in idents

    async def test_the_loop_goes_on_meanwhile(self) -> None:
        release = threading.Event()

        def wait(_item: int) -> bool:
            return release.wait(10)

        async with ps.from_iterable([1]).map_blocking(wait, 1).to(ps.collect()).open() as run:
            await trio.lowlevel.checkpoint()
            release.set()
            assert await run.result() == [True]

    async def test_a_failing_call_names_its_item(self) -> None:
        stream = ps.from_iterable(range(3000)).map_blocking(lambda n: 1 // (n - 1500), 2)
        with pytest.raises(ps.StageError) as caught:
            await stream.to(ps.collect()).run()
        assert caught.value.stage == "map_blocking(<lambda>)"
        assert caught.value.item_repr == "1500"
        assert type(caught.value.__cause__) is ZeroDivisionError

    async def test_skipped_errors_are_counted(self) -> None:
        stream = ps.from_iterable(range(-1, 2)).map_blocking(lambda n: 6 // n, 2, errors="skip")
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == [-6, 6]
        assert run.report().stages[1].skipped == 1

    async def test_failed_calls_are_made_again_and_the_rest_keeps_its_order(self) -> None:
        calls: Counter[int] = Counter()

        def flaky(item: int) -> int:
            calls[item] += 1
            if item % 100 == 7 and calls[item] < 3:
                raise OSError(item)
            return item

        again = ps.retry(3, QUICK)
        stream = ps.from_iterable(range(1000)).map_blocking(flaky, 3, errors=again)
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == list(range(1000))
        assert {item for item, count in calls.items() if count != 1} == set(range(7, 1000, 100))
        assert run.report().stages[1].retried == 20

    async def test_failed_items_go_to_the_dead_letters(self) -> None:
        letters: list[ps.DeadLetter[int]] = []
        errors = ps.dead_letter(ps.for_each(letters.append))
        stream = ps.from_iterable(range(-2, 3)).map_blocking(lambda n: 6 // n, 2, errors=errors)
        assert await stream.to(ps.collect()).run() == [-3, -6, 6, 3]
        assert [letter.item for letter in letters] == [0]

    async def test_cancelled_it_ends_after_the_running_calls(self) -> None:
        calls: list[int] = []
        running = threading.Event()
        release = threading.Event()

        def call(item: int) -> int:
            calls.append(item)
            running.set()
            release.wait(10)
            return item

        with trio.CancelScope() as scope:
            async with ps.from_iterable(range(1000)).map_blocking(call, 2).to(ps.drain()).open():
                await trio.to_thread.run_sync(running.wait)
                await wait_all_tasks_blocked()
                scope.cancel()
                release.set()
        assert 1 <= len(calls) <= 2

    async def test_a_generator_of_groups_is_not_left_open(self) -> None:
        stream = ps.from_iterable(range(10_000)).map_blocking(abs, 2).take(5)
        assert await stream.to(ps.collect()).run() == [0, 1, 2, 3, 4]


UNPICKLABLE = {
    "dumps fails": "class Local(Exception): pass\nraise Local('why')",
    "loads fails": "import click\nraise click.BadOptionUsage('--n', 'why')",
}


class TestProcesses:
    async def test_answers_keep_the_order_of_the_items(self) -> None:
        stream = (
            ps.from_iterable(range(2000)).map_blocking(math.factorial, 2, on="process").take(30)
        )
        assert await stream.to(ps.collect()).run() == [math.factorial(n) for n in range(30)]

    async def test_it_runs_in_another_process(self) -> None:
        stream = ps.from_iterable([0]).map_blocking(_process_id, 1, on="process")
        (ident,) = await stream.to(ps.collect()).run()
        assert ident != os.getpid()

    async def test_a_failing_call_names_its_item_and_keeps_its_cause(self) -> None:
        stream = ps.from_iterable(["1", "2", "x"]).map_blocking(int, 2, on="process")
        with pytest.raises(ps.StageError) as caught:
            await stream.to(ps.collect()).run()
        assert (caught.value.stage, caught.value.item_repr) == ("map_blocking(int)", "'x'")
        assert type(caught.value.__cause__) is ValueError
        assert "in a worker process" in caught.value.__cause__.__notes__[0]

    async def test_skipped_errors_are_counted(self) -> None:
        stream = ps.from_iterable(["1", "x", "3"]).map_blocking(int, 1, on="process", errors="skip")
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == [1, 3]
        assert run.report().stages[1].skipped == 1

    async def test_a_worker_that_dies_is_one_failure_and_not_a_hang(self) -> None:
        # Two workers that die at the same time are two failures, so only one does.
        stream = ps.from_iterable(range(10)).map_blocking(_exits_at_three, 2, on="process")
        with trio.fail_after(60), pytest.raises(ps.StageError, match="a worker process died") as e:
            await stream.to(ps.collect()).run()
        assert e.value.item_repr == "3"

    async def test_an_item_that_cannot_be_pickled_is_a_failure(self) -> None:
        stream = ps.from_iterable([threading.Lock()]).map_blocking(str, 1, on="process")
        with trio.fail_after(60), pytest.raises(ps.StageError, match="pickle"):
            await stream.to(ps.collect()).run()

    @pytest.mark.parametrize("case", UNPICKLABLE)
    async def test_an_error_that_cannot_be_pickled_is_still_told(self, case: str) -> None:
        stream = ps.from_iterable([UNPICKLABLE[case]]).map_blocking(exec, 1, on="process")
        with (
            trio.fail_after(60),
            pytest.raises(ps.StageError, match=r"(Local|BadOptionUsage): why"),
        ):
            await stream.to(ps.collect()).run()

    async def test_failed_calls_are_made_again_and_the_rest_keeps_its_order(
        self, tmp_path: Path
    ) -> None:
        f = partial(_fails_at_first, str(tmp_path))
        again = ps.retry(2, QUICK)
        stream = ps.from_iterable(range(300)).map_blocking(f, 2, on="process", errors=again)
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == list(range(300))
        assert run.report().stages[1].retried == 3

    async def test_failed_items_go_to_the_dead_letters(self) -> None:
        letters: list[ps.DeadLetter[str]] = []
        errors = ps.dead_letter(ps.for_each(letters.append))
        stream = ps.from_iterable(["1", "x", "3"]).map_blocking(int, 2, on="process", errors=errors)
        assert await stream.to(ps.collect()).run() == [1, 3]
        assert [(letter.item, type(letter.error)) for letter in letters] == [("x", ValueError)]

    async def test_an_item_or_a_result_that_cannot_be_pickled_is_left_out_alone(self) -> None:
        items = [1, threading.Lock(), 2, "no result", 3]
        stream = ps.from_iterable(items).map_blocking(_gives_a_lock, 1, on="process", errors="skip")
        async with stream.to(ps.collect()).open() as run:
            assert await run.result() == [1, 2, 3]
        assert run.report().stages[1].skipped == 2

    async def test_large_items_go_both_ways(self) -> None:
        large = [bytes([n]) * 3_000_000 for n in range(12)]
        stream = ps.from_iterable(large).map_blocking(_reversed, 2, on="process")
        with trio.fail_after(120):
            assert await stream.to(ps.collect()).run() == large

    async def test_cancelled_it_ends_after_the_running_call(self) -> None:
        # Quick calls first, so that the slow ones come in groups that would take many seconds.
        seconds = [0.0] * 3000 + [0.5] * 100
        quick_ones_done = trio.Event()

        def watch(count: int) -> None:
            if count == 2500:
                quick_ones_done.set()

        stream = ps.from_iterable(seconds).map_blocking(time.sleep, 1, on="process")
        numbered = stream.scan(0, lambda count, _: count + 1).tap(watch)
        with trio.CancelScope() as scope:
            async with numbered.to(ps.drain()).open():
                await quick_ones_done.wait()
                await trio.sleep(0.5)  # by the wall clock, which is the process's, too
                scope.cancel()
                cancelled_at = time.perf_counter()
        assert time.perf_counter() - cancelled_at < 5


def _exits_at_three(item: int) -> int:
    if item == 3:
        os._exit(3)
    return item


def _fails_at_first(folder: str, item: int) -> int:
    if item % 100 == 7:
        mark = Path(folder) / str(item)
        if not mark.exists():
            mark.touch()
            raise OSError(item)
    return item


def _gives_a_lock(item: object) -> object:
    return threading.Lock() if item == "no result" else item


def _reversed(item: bytes) -> bytes:
    return item[::-1]


def _process_id(_item: int) -> int:
    return os.getpid()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f": 3}, "map_blocking: f must be a function, got 3"),
        ({"workers": 0}, "map_blocking: workers must be a whole number of at least 1"),
        ({"on": "fiber"}, "map_blocking: on must be one of 'thread', 'process'"),
        ({"f": lambda n: n, "on": "process"}, "map_blocking: f must be importable by name"),
        ({"errors": "ignore"}, "map_blocking: errors must be 'raise', 'skip', retry"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ps.PipelineError, match=message):
        given: dict[str, Any] = {"f": abs, "workers": 1} | options
        ps.from_iterable([1]).map_blocking(**given)
