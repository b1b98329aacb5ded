"""The running counts of one stage of one run, and the control that its fused function gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._errors import ItemFailed, StageError, root, short_repr
from ._failing import DeadLetter, DeadLetters
from ._spec import (
    Boundary,
    Branch,
    Chunk,
    FillingSink,
    Node,
    PullSource,
    Sink,
    SplitOp,
    StepOp,
    StepSink,
    TaskSink,
)
from ._waiting_clock import WaitingClock

HELD_THE_LOOP = 0.1
"""Seconds from which on a stage that did not give the event loop its turn is told of."""


_PLAIN = (StepOp, StepSink, FillingSink, SplitOp, Boundary, Branch)


class Probe:
    """See `StageStats` for what is counted."""

    __slots__ = (
        "abandoned",
        "all_finished",
        "busy",
        "clocks",
        "dead_lettered",
        "dropped_items",
        "errors",
        "evicted_keys",
        "finished",
        "flushes",
        "held_the_loop",
        "held_the_loop_longest",
        "held_told",
        "holders",
        "items_in",
        "items_out",
        "late",
        "letters",
        "node",
        "retries",
        "skipped_items",
        "telling",
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.items_in = 0
        self.items_out = 0
        self.errors = 0
        self.skipped_items = 0
        self.dropped_items = 0
        self.dead_lettered = 0
        self.late = 0
        self.retries = 0
        self.evicted_keys = 0
        self.abandoned = 0
        self.busy = 0.0
        self.held_the_loop = 0
        self.held_the_loop_longest = 0.0
        self.held_told = 0
        self.telling = 0
        self.finished = False
        self.all_finished: list[Probe] = []  # one list for the stages of a task, as `letters`
        self.flushes: list[Callable[[], Chunk]] = []
        self.holders: list[Callable[[], int]] = []
        self.letters: list[tuple[Sink[Any, Any], DeadLetter[Any]]] = []
        self.clocks: list[WaitingClock] = []

    @property
    def is_plain(self) -> bool:
        """Whether its function never waits: `busy` is the time in it, measured call by call."""
        op = self.node.op
        return isinstance(op, _PLAIN) or (isinstance(op, PullSource) and not op.blocking)

    def finish(self) -> None:
        """See `StepControl.finish`."""
        self.finished = True
        self.all_finished.append(self)

    def at_end(self, flush: Callable[[], Chunk], held: Callable[[], int] | None = None) -> None:
        """See `StepControl.at_end`."""
        self.flushes.append(flush)
        if held is not None:
            self.holders.append(held)

    def skipped(self, count: int) -> None:
        """See `StepControl.skipped`."""
        self.skipped_items += count
        self.errors += count

    def dropped(self, count: int) -> None:
        """See `StepControl.dropped`."""
        self.dropped_items += count

    def evicted(self, count: int) -> None:
        """See `StepControl.evicted`."""
        self.evicted_keys += count

    def waiting_clock(self) -> WaitingClock:
        """See `StepControl.waiting_clock`; the outlet drives it."""
        self.clocks.append(WaitingClock())
        return self.clocks[-1]

    def retried(self, count: int) -> None:
        """See `Tally.retried`."""
        self.retries += count
        self.errors += count

    def dead_letter(
        self, letters: DeadLetters, item: Any, error: Exception, attempts: int = 1
    ) -> None:
        """See `StepControl.dead_letter`; the outlet sends what is in ``letters``."""
        self.dead_lettered += 1
        self.errors += 1
        letter = DeadLetter(item, root(error), self.node.name, attempts)
        self.letters.append((letters.sink, letter))

    def lost(self, items: Chunk) -> None:
        """Count the items of a chunk that its function did not get through."""
        if self.node.traits.each:  # of which some may have been skipped before
            gone = self.items_out + self.skipped_items + self.dead_lettered + self.dropped_items
            self.abandoned = self.items_in - gone
        else:
            self.abandoned += len(items)

    def held_up(self, seconds: float) -> None:
        """Count a call of at least `HELD_THE_LOOP` that gave the event loop no turn."""
        self.held_the_loop += 1
        self.held_the_loop_longest = max(self.held_the_loop_longest, seconds)

    def failure(self, error: BaseException) -> StageError:
        """The error that the user sees for ``error`` raised by this stage; counts it."""
        self.errors += 1
        node = self.node
        if isinstance(error, ItemFailed):
            if isinstance(node.op, TaskSink) and not self.holders:
                self.abandoned += 1
            cause = error.__cause__ or error
            cause = root(cause) if isinstance(cause, Exception) else cause
            return StageError(node.name, cause, item_repr=short_repr(error.item), where=node.where)
        return StageError(node.name, error, where=node.where)
