"""Element operators whose function is called again: a task of their own, since they wait."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import trio

from .._errors import ItemFailed
from .._failing import LEFT_OUT, Retry, settle
from .._pace import BUDGET
from .._spec import Chunk, CountingSender, Receiver, Step, StepControl
from .._waiting_clock import WaitingClock


async def step_with_retries(
    start: Callable[[StepControl], Step],
    errors: Retry,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """The step that ``start`` makes, which raises, over one item at a time.

    What is done goes on before the wait for another attempt, so that only later items are held up.
    """
    control = _Control(send)
    calls = _Calls(start(control), errors, send)
    send.holds(lambda: calls.held)
    async for items in receive.chunks():
        control.clock.stop()
        await calls.over(items, control)
        control.clock.go_on()
        if control.finished:
            return


class _Calls:
    """The calls of one run."""

    def __init__(self, step: Step, errors: Retry, send: CountingSender[Any]) -> None:
        self._step = step
        self._errors = errors
        self._send = send
        self._done: Chunk = []
        self._in_done = 0
        self._left = 0
        self._yielded = perf_counter()

    @property
    def held(self) -> int:
        """Items that are not dealt with yet, and those whose answers wait to be sent."""
        return self._left + self._in_done

    async def over(self, items: Chunk, control: _Control) -> None:
        """Call the step for each of the items, and send the answers."""
        self._left = len(items)
        for item in items:
            given = await self._given_for(item)
            self._left -= 1
            if given:
                self._done += given
                self._in_done += 1
            if control.finished:
                break
            if perf_counter() - self._yielded >= BUDGET:
                await trio.lowlevel.checkpoint()
                self._yielded = perf_counter()
        await self._send_done()

    async def _given_for(self, item: Any) -> Chunk:
        try:
            return self._step([item])
        except ItemFailed as failed:
            await self._send_done()
            given = await settle(self._errors, item, _cause(failed), self._again, self._send)
            return [] if given is LEFT_OUT else given

    async def _again(self, item: Any) -> Chunk:
        try:
            return self._step([item])
        except ItemFailed as failed:
            raise _cause(failed) from None

    async def _send_done(self) -> None:
        done, self._done = self._done, []
        self._in_done = 0
        if done:
            await self._send.chunk(done)


def _cause(failed: ItemFailed) -> Exception:
    cause = failed.__cause__
    assert isinstance(cause, Exception), "ItemFailed is raised from the error itself"
    return cause


class _Control:
    """The control of a step in a task of its own."""

    def __init__(self, send: CountingSender[Any]) -> None:
        self._send = send
        self.clock = WaitingClock()
        self.finished = False

    def finish(self) -> None:
        self.finished = True

    def at_end(self, flush: Callable[[], Chunk], held: Callable[[], int] | None = None) -> None:
        raise NotImplementedError("no step that holds items back calls a function of the user's")

    def skipped(self, count: int) -> None:
        self._send.skipped(count)

    def dropped(self, count: int) -> None:
        self._send.dropped(count)

    def evicted(self, count: int) -> None:
        self._send.evicted(count)

    def waiting_clock(self) -> WaitingClock:
        return self.clock

    def dead_letter(self, letters: Any, item: Any, error: Exception) -> None:
        raise NotImplementedError("the step is started to raise")
