"""What stages of random pipelines keep for themselves of what they were given and did.

Items are tuples of ints, each of its own: ``(source, number)``, and one number more for each
``flat_map`` on the way; those that a ``zip`` brought together are one after the other. A stage
fails on items that its `Fault` picks by their numbers.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import trio

import penstock as ps
from penstock._failing import Errors

from ..endings import Failed

Item: TypeAlias = tuple[int, ...]
Choice: TypeAlias = Literal["raise", "skip", "letter"]


@dataclass(frozen=True)
class Fault:
    """Which items a stage fails on, how often each, and what is to be done then."""

    every: int = 0
    times: int = 1
    attempts: int = 1
    then: Choice = "raise"

    def picks(self, item: Item) -> bool:
        return self.every > 0 and sum(item) % self.every == self.every - 1

    def errors(self, letters: Any) -> Errors:
        last = letters if self.then == "letter" else self.then
        if self.attempts == 1:
            return cast("Errors", last)
        return ps.retry(self.attempts, ps.Backoff(0.5, 4), then=last)


@dataclass
class CtrlC:
    """Comes in one of the calls of a pipeline's functions, as SIGINT does where nothing handles it.

    Like that, it never comes in a thread.
    """

    at: int = 0
    calls: int = 0
    hit: object = None

    def may_come(self, caller: object) -> None:
        if threading.current_thread() is threading.main_thread():
            self.calls += 1
            if self.calls == self.at:
                self.hit = caller
                raise KeyboardInterrupt


@dataclass
class Account:
    """What a stage knows of itself; `check` compares it with what the run says of it.

    Attributes:
        calls, failures: of its function, by item.
        done: items that a call got through with.
        rejected: items that it did not give on, as it should.
        extra: items that it gave beyond one for each done.
    """

    fault: Fault = Fault()
    ctrl_c: CtrlC = field(default_factory=CtrlC)
    calls: Counter[Item] = field(default_factory=Counter[Item])
    failures: Counter[Item] = field(default_factory=Counter[Item])
    done: set[Item] = field(default_factory=set[Item])
    rejected: int = 0
    extra: int = 0

    def call(self, item: Item) -> Item:
        """The stage's function."""
        self.calls[item] += 1
        return self._finish(item)

    def _finish(self, item: Item) -> Item:
        self.ctrl_c.may_come(self)
        if self.fault.picks(item) and self.calls[item] <= self.fault.times:
            self.failures[item] += 1
            raise Failed(item)
        self.done.add(item)
        return item

    async def call_later(self, item: Item) -> Item:
        """The same, at once, or after a while."""
        self.calls[item] += 1
        if sum(item) % 3:
            await trio.sleep(sum(item) % 7 / 4)
        self._finish(item)
        if sum(item) % 5 == 0:
            await trio.lowlevel.checkpoint()
        return item

    @property
    def given_up(self) -> int:
        """Items that failed at every attempt."""
        return sum(number >= self.fault.attempts for number in self.failures.values())

    @property
    def broke_off(self) -> bool:
        """Whether a call may have ended the run, and with it its chunk."""
        failed = self.fault.then == "raise" and self.fault.attempts == 1 and self.given_up > 0
        return failed or self.ctrl_c.hit is self

    def check(
        self, stats: ps.StageStats, *, in_threads: bool = False, drops_after: bool = False
    ) -> None:
        """The calls that were made, the failures and what became of them.

        ``drops_after``: what the stage drops is dropped after the call.
        """
        lost = stats.abandoned + stats.held
        failures = self.failures.total()
        assert failures - lost <= stats.errors <= failures, "errors"
        again = self.calls.total() - len(self.calls)
        slack = lost if in_threads else 0
        assert stats.retried - slack <= again <= stats.retried, "retried"
        assert stats.skipped == 0 or self.fault.then == "skip"
        assert stats.dead_lettered == 0 or self.fault.then == "letter"
        if self.fault.then != "raise":
            left_out = stats.skipped + stats.dead_lettered
            assert left_out <= self.given_up <= left_out + slack, "left out"
        came_to_it = stats.items_in - (0 if drops_after else stats.dropped)
        assert came_to_it - lost <= len(self.calls) <= came_to_it, "calls"
