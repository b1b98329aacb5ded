"""A pipeline that is run with somebody at the keyboard: signals stop it, gently, then at once."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import trio

from penstock._errors import flatten
from penstock._run import Run, RunStopped
from penstock._stats import Report, RunStats
from penstock.stream import Pipeline

DRAIN_SECONDS = 10

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over.

    Attributes:
        report: what it did; None where it could not start.
        result: the sink's result, None where there is none.
        errors: what failed, flat.
        signal: the signal that ended it, if one did.
    """

    report: Report | None
    result: Any
    errors: tuple[BaseException, ...]
    signal: int | None


async def run_attended(
    pipeline: Pipeline[Any],
    progress: Callable[[RunStats], object],
    say: Callable[[str], object],
) -> Finished:
    """Run a pipeline to its end; failures are in what is returned.

    The first SIGINT or SIGTERM ends the producers and drains for up to ten seconds, the second
    cancels at once, and a third SIGINT kills the process, whatever a thread may be waiting for.

    Args:
        pipeline: what to run.
        progress: called with `RunStats` ten times a second.
        say: called with a line for the user when a signal came.

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
                    async with pipeline.open(progress=progress) as run:
                        nursery.start_soon(_obey, signals, received, run, scope, say)
                        result = await run.result()
                except RunStopped as stopped:
                    errors = [] if received else [stopped]
                except Exception as error:  # noqa: BLE001 - returned, each failure by itself
                    errors = flatten(error)
            nursery.cancel_scope.cancel("the run is over")
    report = None if run is None else run.report()
    return Finished(report, result, tuple(errors), received[0] if received else None)


async def _obey(
    signals: AsyncIterator[int],
    received: list[int],
    run: Run[Any],
    scope: trio.CancelScope,
    say: Callable[[str], object],
) -> None:
    async with trio.open_nursery() as nursery:
        async for number in signals:
            received.append(number)
            if len(received) == 1:
                say(f"stopping, draining for up to {DRAIN_SECONDS} s; once more to cancel")
                nursery.start_soon(run.stop, DRAIN_SECONDS)
            elif len(received) == 2:
                say("cancelled")
                scope.cancel("interrupted for the second time")
                signal.signal(signal.SIGINT, signal.SIG_DFL)
