"""The operator: groups go to workers, what comes back is settled and passed on, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any, TypeAlias

import trio

from ..._call_pool import CallPool
from ..._failing import LEFT_OUT, Errors, Retry, settle
from ..._spec import Chunk, CountingSender, Receiver
from .calls import Outcome, call_each
from .groups import PROCESS_SECONDS, THREAD_SECONDS, Groups
from .processes import Processes
from .troubled import call_through_trouble

Call: TypeAlias = Callable[[Chunk], Awaitable[Outcome]]


async def map_on_threads(
    f: Callable[[Any], Any],
    workers: int,
    errors: Errors,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """``f(item)`` on up to ``workers`` threads, in order."""
    limiter = trio.CapacityLimiter(workers)

    def call_here(items: Chunk) -> Outcome:
        return call_each(f, items, _go_on, stop_at_failure=errors == "raise")

    async def call(items: Chunk) -> Outcome:
        return await trio.to_thread.run_sync(call_here, items, limiter=limiter)

    groups = Groups(receive, workers, THREAD_SECONDS)
    await _Mapping(call, groups, errors, send).run(workers)


def _go_on(_position: int) -> None:
    trio.from_thread.check_cancelled()


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
    stop_at_failure = errors == "raise"
    processes = Processes(f, workers, stop_at_failure=stop_at_failure)

    async def call(items: Chunk) -> Outcome:
        return await call_through_trouble(processes.call, items, stop_at_failure=stop_at_failure)

    groups = Groups(receive, workers, PROCESS_SECONDS)
    mapping = _Mapping(call, groups, errors, send)
    # Twice as many groups as workers, so that one waits in each worker.
    await processes.run(lambda: mapping.run(2 * workers))


class _Mapping:
    """One run of the operator, whatever makes the calls."""

    def __init__(
        self, call: Call, groups: Groups, errors: Errors, send: CountingSender[Any]
    ) -> None:
        self._call = call
        self._groups = groups
        self._errors: Errors = errors
        self._send = send

    async def run(self, concurrency: int) -> None:
        """Have up to ``concurrency`` groups called at a time."""
        pool = CallPool(self._call_group, concurrency, "raise", self._send, ordered=True)
        await pool.run(self._groups, self._pass_on)

    async def _pass_on(self, groups: list[Chunk]) -> None:
        results = list(chain.from_iterable(groups))
        if results:
            await self._send.chunk(results)

    async def _call_group(self, items: Chunk) -> Chunk:
        outcome = await self._call(items)
        self._groups.learn(len(items), outcome.seconds, outcome.held_the_loop)
        if not outcome.failures:
            return outcome.results
        await self._settle(items, outcome)
        return [result for result in outcome.results if result is not LEFT_OUT]

    async def _settle(self, items: Chunk, outcome: Outcome) -> None:
        """Deal with the failures of a group; those that are called again wait side by side."""

        async def settle_one(position: int, error: Exception) -> None:
            outcome.results[position] = await settle(
                self._errors, items[position], error, self._call_again, self._send
            )

        if not isinstance(self._errors, Retry):
            for position, error in outcome.failures:
                await settle_one(position, error)
            return
        async with trio.open_nursery() as nursery:
            for position, error in outcome.failures:
                nursery.start_soon(settle_one, position, error)

    async def _call_again(self, item: Any) -> Any:
        outcome = await self._call([item])
        for _, error in outcome.failures:
            raise error
        return outcome.results[0]
