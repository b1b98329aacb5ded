"""A pipeline that is run with somebody at the keyboard: signals stop it, gently, then at once."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import trio

from penstock._errors import flatten
from penstock._run import Run
from penstock._stats import Report, RunStats
from penstock.stream import Pipeline

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over.

    Attributes:
        report: what it did; None where it could not start.
        result: the sink's result, None where there is none.
        errors: what failed, flat.
        signals: those that came meanwhile, in their order.
    """

    report: Report | None
    result: Any
    errors: tuple[BaseException, ...]
    signals: tuple[int, ...]

    @property
    def is_cancelled(self) -> bool:
        """Whether a second signal cut it off."""
        return len(self.signals) > 1 and (self.report is None or self.report.outcome == "cancelled")

    @property
    def exit_code(self) -> int:
        """The status of the process: 0 for done and for stopped, 1 for failed."""
        if self.errors:
            return 1
        return 128 + self.signals[1] if self.is_cancelled else 0


async def run_attended(
    pipeline: Pipeline[Any],
    *,
    deadline: float,
    watchdog: bool,
    progress: Callable[[RunStats], object],
    on_signal: Callable[[int, int], object],
) -> Finished:
    """Run a pipeline to its end; failures are in what is returned.

    The first SIGINT or SIGTERM ends the producers and drains, the second cancels at once, and a
    third SIGINT kills the process, whatever a thread may be waiting for.

    Args:
        pipeline: what to run.
        deadline: seconds to drain.
        watchdog: see `Pipeline.run`.
        progress: called with `RunStats` ten times a second.
        on_signal: called with each signal, and how many came before it.

    Cancelled, the run is cancelled.
    """
    run: Run[Any] | None = None
    result: object = None
    errors: list[BaseException] = []
    received: list[int] = []
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                try:
                    async with pipeline.open(progress=progress, watchdog=watchdog) as run:
                        obey = _Obedience(run, scope, deadline, received, on_signal)
                        nursery.start_soon(obey.to, signals)
                        result = await run.result()
                except Exception as error:  # noqa: BLE001 - returned, each failure by itself
                    errors = flatten(error)
            nursery.cancel_scope.cancel("the run is over")
    report = None if run is None else run.report()
    return Finished(report, result, tuple(errors), tuple(received))


@dataclass(frozen=True, slots=True)
class _Obedience:
    run: Run[Any]
    scope: trio.CancelScope
    deadline: float
    received: list[int]
    tell: Callable[[int, int], object]

    async def to(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as nursery:
            async for number in signals:
                before = len(self.received)
                self.received.append(number)
                self.tell(number, before)
                if before == 0:
                    nursery.start_soon(self.run.stop, self.deadline)
                elif before == 1:
                    self.scope.cancel("interrupted for the second time")
                    signal.signal(signal.SIGINT, signal.SIG_DFL)
