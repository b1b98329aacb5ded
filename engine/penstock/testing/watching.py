"""What a run shows and leaves behind that its result doesn't tell.

- `Steps` counts the steps of all tasks, and cancels a scope before one of them;
- `watched` awaits a transform and sees whether it swallows a cancellation;
- `open_generators` and `complaints_of_python` find what was not closed or not awaited.
"""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
)
from contextlib import contextmanager
from types import AsyncGeneratorType
from typing import Any

import trio
from outcome import Error

from .._spec import CountingSender, Receiver

_PATIENCE = 100
_REASON = "the trial cancels the run at this step"


class Steps(trio.abc.Instrument):
    """Counts steps, and cancels ``scope`` before number ``cancel_at``, or at the ``limit``."""

    def __init__(self, cancel_at: int, limit: int) -> None:
        self.count = 0
        self.scope: trio.CancelScope | None = None
        self.cancelled = False
        self.ran_on = False
        self._cancel_at = cancel_at
        self._limit = limit

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if self.scope is not None:
            self.count += 1
            self.ran_on = self.ran_on or self.count >= self._limit
            if not self.cancelled and (self.ran_on or self.count == self._cancel_at):
                self.cancelled = True
                self.scope.cancel(_REASON)


class Watch:
    """What was seen of the transforms of one run."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.complaints: list[str] = []

    def complain(self, what: str) -> None:
        """Note a defect, once."""
        if what not in self.complaints:
            self.complaints.append(what)


async def watched(
    work: Callable[[Receiver[Any], CountingSender[Any]], Awaitable[None]],
    watch: Watch,
    receive: Receiver[Any],
    send: CountingSender[Any],
) -> None:
    """The work of a transform, under ``watch``."""
    ends = _Ends(watch, trio.lowlevel.current_task())
    receiver: Any = _WatchedReceiver(receive, ends)
    sender: Any = _WatchedSender(send, ends)
    coroutine = work(receiver, sender)
    if inspect.iscoroutine(coroutine):
        await _Driven(coroutine, ends)
    else:
        await coroutine


class _Ends:
    """What a transform does with its two ends, and with a cancellation."""

    def __init__(self, watch: Watch, task: trio.lowlevel.Task) -> None:
        self._watch = watch
        self._task = task
        self._cancellations = 0
        self._in_vain = 0

    @property
    def is_stuck(self) -> bool:
        return self._in_vain >= _PATIENCE

    def woken(self, how: Any) -> None:
        """Trio goes on with the task: what it waited for is there, or raises."""
        error = how.error if isinstance(how, Error) else None
        if isinstance(error, trio.Cancelled):
            self._cancellations += error.reason == _REASON  # and not a time-out of its own
            self._in_vain += self._watch.steps.ran_on

    def returned(self) -> None:
        if self._cancellations:
            self._watch.complain("it swallowed trio.Cancelled and returned as if it were done")

    def goes_on(self, how: str) -> None:
        """It is about to receive or send."""
        if (
            self._cancellations
            and trio.lowlevel.current_task() is self._task
            and trio.current_effective_deadline() == -float("inf")
        ):
            self._watch.complain(f"it swallowed trio.Cancelled and went on {how}")

    def stuck(self) -> None:
        self._watch.complain(f"it swallowed trio.Cancelled {self._in_vain} times in a row")


class Stuck(Exception):
    """Ends a transform that can't be cancelled."""


class _Driven:
    """Awaits a coroutine, step by step, to see what it is woken with and what it does then."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], ends: _Ends) -> None:
        self._coroutine = coroutine
        self._ends = ends

    def __await__(self) -> Generator[Any, Any, None]:
        step: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                trap = step(value)
            except StopIteration:
                self._ends.returned()
                return
            if self._ends.is_stuck:
                self._ends.stuck()
                raise Stuck
            try:
                value = yield trap
            except BaseException as error:  # noqa: BLE001 - it is thrown in
                step, value = self._coroutine.throw, error
            else:
                step = self._coroutine.send
                self._ends.woken(value)


class _WatchedReceiver:
    def __init__(self, receive: Receiver[Any], ends: _Ends) -> None:
        self._receive = receive
        self._ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receive, name)

    async def chunk(self) -> list[Any]:
        self._ends.goes_on("receiving")
        return await self._receive.chunk()

    def chunks(self) -> AsyncIterator[list[Any]]:
        return _Watched(self._receive.chunks(), self._ends)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _Watched(aiter(self._receive), self._ends)


class _Watched:
    def __init__(self, items: AsyncIterator[Any], ends: _Ends) -> None:
        self._items = items
        self._ends = ends

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        self._ends.goes_on("receiving")
        return await anext(self._items)


class _WatchedSender:
    def __init__(self, send: CountingSender[Any], ends: _Ends) -> None:
        self._send = send
        self._ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._send, name)

    async def __call__(self, item: Any) -> None:
        self._ends.goes_on("sending")
        await self._send(item)

    async def chunk(self, items: list[Any]) -> None:
        self._ends.goes_on("sending")
        await self._send.chunk(items)


@contextmanager
def open_generators() -> Generator[Callable[[], list[str]]]:
    """Note the async generators that are started in the block.

    What it gives says which of them are not over. To be used inside ``trio.run``, which has hooks
    of its own that are called on.
    """
    before = sys.get_asyncgen_hooks()
    started: list[weakref.ref[AsyncGeneratorType[Any, Any]]] = []

    def first(generator: AsyncGenerator[Any, Any]) -> None:
        if isinstance(generator, AsyncGeneratorType):
            started.append(weakref.ref(generator))
        if before.firstiter is not None:
            before.firstiter(generator)

    def left_open() -> list[str]:
        known = [each for each in (ref() for ref in started) if each is not None]
        return [each.__qualname__ for each in known if each.ag_frame is not None]

    sys.set_asyncgen_hooks(firstiter=first, finalizer=before.finalizer)
    try:
        yield left_open
    finally:
        sys.set_asyncgen_hooks(*before)


_OF_INTEREST = ("was never awaited", "ignored GeneratorExit", "Async generator")


class _Noting(logging.Handler):
    def __init__(self, complaints: list[str]) -> None:
        super().__init__()
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._complaints.append(str(error or record.getMessage()))


@contextmanager
def complaints_of_python(complaints: list[str]) -> Generator[None]:
    """Add to ``complaints`` what Python and Trio warn of: things not closed or not awaited.

    Other warnings are given again afterwards. For its time it changes the warnings filters, Trio's
    logger for generators that fail to close, and ``sys.unraisablehook`` of the process.
    """

    def unraisable(given: sys.UnraisableHookArgs) -> None:
        what = getattr(given.object, "__qualname__", given.err_msg or "something")
        complaints.append(f"{what}: {type(given.exc_value).__name__}: {given.exc_value}")

    log = logging.getLogger("trio.async_generator_errors")
    note, log_on, hook = _Noting(complaints), log.propagate, sys.unraisablehook
    log.addHandler(note)
    log.propagate = False
    sys.unraisablehook = unraisable
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        sys.unraisablehook = hook
        log.propagate = log_on
        log.removeHandler(note)
    for each in caught:
        text = str(each.message)
        if any(known in text for known in _OF_INTEREST):
            complaints.append(" ".join(text.split("\n")[0].split()))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
