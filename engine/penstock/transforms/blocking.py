"""Calls of blocking or CPU-bound functions, on threads or on processes: ``map_blocking``.

A hand-over to a thread or a process costs 100 µs or more, so items go in groups of about ten
milliseconds of work, found by measuring; few items are shared out evenly among the workers. The
groups pass through the pool of `concurrent`, so results keep their order and what is in flight is
bounded.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_bool
from dataclasses import dataclass, replace
from itertools import chain
from time import perf_counter
from typing import Any

import trio

from .._errors import ItemFailed, PenstockError, describe
from .._pace import Pace
from .._spec import Chunk, CountingSender, Receiver
from .concurrent import CallPool
from .element import Errors

_BUDGET = 0.01
_MOST = 1024


class UnpicklableError(PenstockError):
    """Stands for an error of the function that can't be brought out of its worker process."""


class WorkerDied(PenstockError):
    """A worker process ended without an answer: killed, out of memory, or crashed in C code."""

    def __init__(self, items: int) -> None:
        self.items = items
        super().__init__(items)

    def __str__(self) -> str:
        return (
            "a worker process died (killed, out of memory, or crashed); it had this group of"
            f" {self.items} items, named by its first, or that of another worker"
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a group: the results, the positions that failed, and the seconds it took."""

    results: Chunk
    skipped: int
    seconds: float
    failed: int | None = None
    error: Exception | None = None


def _call_each(
    f: Callable[[Any], Any], errors: Errors, items: Chunk, go_on: Callable[[], object]
) -> _Outcome:
    """Call ``f`` for each item of a group, in a worker; ``go_on`` raises to stop between items."""
    results: Chunk = []
    skipped = 0
    started = perf_counter()
    for position, item in enumerate(items):
        go_on()
        try:
            results.append(f(item))
        except Exception as error:  # noqa: BLE001 - carried back to the run, whatever it is
            if errors == "raise":
                return _Outcome(results, skipped, perf_counter() - started, position, error)
            skipped += 1
    return _Outcome(results, skipped, perf_counter() - started)


class _Groups:
    """The receiver of groups in front of the pool: cut by pace, few items shared out evenly."""

    def __init__(self, receive: Receiver[Any], workers: int) -> None:
        self._receive = receive
        self._workers = workers
        self._items: Chunk = []
        self._taken = 0
        self._share = 1
        self.pace = Pace(_BUDGET, _MOST)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        try:
            return await self._next_group()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def _next_group(self) -> Chunk:
        if self._taken >= len(self._items):
            self._items = await self._receive.chunk()
            self._taken = 0
            self._share = -(-len(self._items) // self._workers)
        start = self._taken
        self._taken = start + min(self.pace.size, self._share)
        return self._items[start : self._taken]


class _Spreading:
    """The pool's sender: lists of results come in, results go out."""

    def __init__(self, send: CountingSender[Any]) -> None:
        self._send = send

    async def chunk(self, items: list[Chunk]) -> None:
        results = list(chain.from_iterable(items))
        if results:
            await self._send.chunk(results)

    def skipped(self, count: int) -> None:
        self._send.skipped(count)


@dataclass(frozen=True, slots=True)
class _GroupCalls:
    """One run: groups go to the workers by ``call``, what comes back is settled here."""

    groups: _Groups
    send: CountingSender[Any]

    async def run(self, call: Callable[[Chunk], Awaitable[_Outcome]], workers: int) -> None:
        async def call_and_settle(items: Chunk) -> Chunk:
            return self._settle(items, await call(items))

        pool = CallPool(call_and_settle, workers, ordered=True)
        await pool.run(self.groups, _Spreading(self.send))

    def _settle(self, items: Chunk, outcome: _Outcome) -> Chunk:
        """Learn from a finished group; give its results or raise its failure."""
        self.groups.pace.record(len(items), outcome.seconds)
        if outcome.skipped:
            self.send.skipped(outcome.skipped)
        if outcome.error is not None and outcome.failed is not None:
            raise ItemFailed(items[outcome.failed]) from outcome.error
        return outcome.results


async def map_on_threads(
    f: Callable[[Any], Any],
    workers: int,
    errors: Errors,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """``f(item)`` on up to ``workers`` threads, in order."""
    limiter = trio.CapacityLimiter(workers)

    async def call(items: Chunk) -> _Outcome:
        return await trio.to_thread.run_sync(
            _call_each, f, errors, items, trio.from_thread.check_cancelled, limiter=limiter
        )

    await _GroupCalls(_Groups(receive, workers), send).run(call, workers)


class _Stopped(Exception):
    """Raised inside a worker process whose run is over."""


_stop_flag: Any = None


def _start_worker(flag: Any) -> None:
    """Once in each worker process: Ctrl-C is the parent's business, and so is stopping."""
    global _stop_flag  # an initialiser has no other way to hand something over
    _stop_flag = flag
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _interrupts_held_back() -> Generator[None]:
    """Processes that start here start deaf to Ctrl-C, before `_start_worker` sees to it."""
    if not hasattr(signal, "pthread_sigmask"):  # not POSIX
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _go_on_in_worker() -> None:
    if _stop_flag.value:
        raise _Stopped


def _call_in_worker(f: Callable[[Any], Any], errors: Errors, items: Chunk) -> _Outcome:
    outcome = _call_each(f, errors, items, _go_on_in_worker)
    return outcome if outcome.error is None else replace(outcome, error=_portable(outcome.error))


def _portable(error: Exception) -> Exception:
    """An error that survives pickling: one that doesn't would take the whole pool down."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made right here
    except Exception:  # noqa: BLE001 - __reduce__ and __init__ may do anything
        return UnpicklableError(describe(error))
    return error


async def map_on_processes(
    f: Callable[[Any], Any],
    workers: int,
    errors: Errors,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """``f(item)`` on up to ``workers`` processes, in order. Cancelled, it waits for the calls that
    are running, not for those that aren't, and then the processes end.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.RawValue(c_bool, False)
    processes = ProcessPoolExecutor(workers, context, _start_worker, (stop,))
    died = False

    async def call(items: Chunk) -> _Outcome:
        nonlocal died
        try:
            with _interrupts_held_back():
                answer = processes.submit(_call_in_worker, f, errors, items)
            return await _wait_for(answer)
        except BrokenProcessPool:
            if died:  # the first call to notice tells; it is about to cancel the others
                await trio.sleep_forever()
            died = True
            raise ItemFailed(items[0]) from WorkerDied(len(items))

    try:
        await _GroupCalls(_Groups(receive, workers), send).run(call, workers)
    finally:
        stop.value = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(lambda: processes.shutdown(cancel_futures=True))


async def _wait_for(future: Future[_Outcome]) -> _Outcome:
    """A future of another thread, awaited in Trio; cancelled, the future is cancelled too."""
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def tell(_: Future[_Outcome]) -> None:
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            return  # nobody waits any more

    future.add_done_callback(tell)
    try:
        await done.wait()
    finally:
        future.cancel()
    return future.result()
