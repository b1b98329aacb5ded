"""Producers that are started anew when they fail: ``restart``."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import random
from time import perf_counter
from typing import Any

import trio

from .._backoff import Backoff
from .._errors import PenstockError, describe, root
from .._pace import BUDGET, Pace
from .._pulling import opened
from .._spec import Chunk, CountingSender, PullSource, PushSource, Sink, SourceOp

_MOST_REMEMBERED = 1000
"""Restarts that are remembered where any number is allowed: only the backoff depends on them."""


class TooManyRestarts(PenstockError):
    """A producer failed once more than its ``restart`` allows. ``__cause__`` is that last failure.

    Attributes:
        restarts: how often it had been started anew within the seconds that count.
        within: those seconds.
        cause: the last failure.
    """

    def __init__(self, restarts: int, within: float, cause: BaseException) -> None:
        self.restarts = restarts
        self.within = within
        self.cause = cause
        super().__init__(restarts, within, cause)
        self.__cause__ = cause

    def __str__(self) -> str:
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        return (
            f"restarted {times} within {self.within:g} seconds, it failed again:"
            f" {describe(self.cause)}"
        )


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a producer that failed is started anew, and when no more."""

    backoff: Backoff
    max_restarts: int | None
    within: float


def restarting(op: SourceOp, policy: RestartPolicy) -> PushSource:
    """The producer ``op``, started anew when it fails."""
    work = partial(_pull, op) if isinstance(op, PullSource) else op.work
    by_item = isinstance(op, PushSource) and op.by_item
    return PushSource(partial(_start_again, work, policy), by_item)


async def _start_again(
    work: Callable[[CountingSender[Any]], Awaitable[None]],
    policy: RestartPolicy,
    send: CountingSender[Any],
) -> None:
    restarts = _Restarts(policy)
    while True:
        await trio.lowlevel.checkpoint_if_cancelled()  # nothing is opened that nobody wants
        watched = _WatchedSender(send)
        try:
            await work(watched)
        except Exception as error:
            if watched.failed:
                raise
            wait = restarts.wait_after(error)
        else:
            return
        await trio.sleep(wait)
        restarts.note()
        send.retried(1)


class _Restarts:
    """When a producer was started anew, of late."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._times: deque[float] = deque(maxlen=policy.max_restarts or _MOST_REMEMBERED)

    def wait_after(self, failure: Exception) -> float:
        """How long to wait before the next start; raises `TooManyRestarts` if there is none."""
        policy = self._policy
        since = trio.current_time() - policy.within
        while self._times and self._times[0] <= since:
            self._times.popleft()
        count = len(self._times)
        if policy.max_restarts is not None and count >= policy.max_restarts:
            raise TooManyRestarts(count, policy.within, root(failure))
        return policy.backoff.delay(count, random())  # noqa: S311 - jitter

    def note(self) -> None:
        """It is started anew now."""
        self._times.append(trio.current_time())


async def _pull(op: PullSource, send: CountingSender[Any]) -> None:
    """What the runtime does with a `PullSource`."""
    pace = Pace()
    unyielded = 0.0
    async with opened(op) as puller:
        while True:
            started = perf_counter()
            if op.blocking:
                items = await trio.to_thread.run_sync(puller.pull, pace.size)
            else:
                items = puller.pull(pace.size)
            if not items:
                return
            seconds = perf_counter() - started
            pace.record(len(items), seconds)
            await send.chunk(items)
            unyielded += seconds
            if unyielded >= BUDGET:
                await trio.lowlevel.checkpoint()
                unyielded = 0.0


class _WatchedSender:
    """The sender of a producer: tells its own failures from those that come out of a send.

    The stages fused behind a producer work in its ``send.chunk``. Their errors are theirs.
    """

    def __init__(self, send: CountingSender[Any]) -> None:
        self._send = send
        self.failed = False

    async def __call__(self, item: Any) -> None:
        try:
            await self._send(item)
        except Exception:
            self.failed = True
            raise

    async def chunk(self, items: Chunk) -> None:
        try:
            await self._send.chunk(items)
        except Exception:
            self.failed = True
            raise

    @property
    def given(self) -> int:
        return self._send.given

    async def until_wanted(self) -> None:
        await self._send.until_wanted()

    def skipped(self, count: int) -> None:
        self._send.skipped(count)

    def dropped(self, count: int) -> None:
        self._send.dropped(count)

    def retried(self, count: int) -> None:
        self._send.retried(count)

    def evicted(self, count: int) -> None:
        self._send.evicted(count)

    def holds(self, held: Callable[[], int]) -> None:
        self._send.holds(held)

    async def dead_letter(self, letters: Any, item: Any, error: Exception, attempts: int) -> None:
        await self._send.dead_letter(letters, item, error, attempts)

    async def aside(self, sink: Sink[Any, Any], items: Chunk) -> None:
        await self._send.aside(sink, items)
