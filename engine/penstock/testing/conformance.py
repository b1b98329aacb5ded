"""``check_transform``: whether a transform keeps what the engine promises of every stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count, cycle, islice
from typing import Any, Final, TypeVar

import trio

from .. import _options as options
from .._errors import StageError, describe
from .._spec import function_name
from ..stream import Stream
from .chunking import chunkings, cut, spread
from .failure import ConformanceError, compared, is_beginning
from .trial import A_WHILE, SOURCE, Outcome, Transform, Trial, run_trial

T = TypeVar("T")
U = TypeVar("U")

NOTHING: Final[Any] = object()

_SWEPT = 4
_SOME = 4
_MOST = 512


def check_transform(
    transform: Callable[[Stream[T]], Stream[U]],
    *,
    given: Sequence[T],
    expected: Sequence[U] | None = None,
    ordered: bool = True,
    holds: int | None = 0,
    fails_on: T = NOTHING,
    after_each: Callable[[], object] | None = None,
    clock_waits: float = 0.0,
) -> None:
    """Run a transform in many ways, and raise `ConformanceError` where it breaks a promise.

    The promises, in the order in which they are tried: what comes out does not depend on how the
    input is cut into chunks, nor on whether it comes at once or bit by bit; it can be run again;
    it ends when its input ends, also an empty one; an error of a stage before it ends it and
    passes; it ends early when the stages behind want no more; cancelled at any step, it ends, and
    leaves no task and no async generator behind; its own error is raised in its name; it takes no
    more items than it can get rid of.

    Each run is in a Trio of its own, whose mock clock jumps over all waiting: call it from an
    ordinary test, not from an async one. For its time it changes the warnings filters of the
    process. It makes some hundred runs: a few items that show what the transform does are enough.

    Args:
        transform: what `Stream.via` takes: a `transform`, or a function from Stream to Stream. It
            is called for each run.
        given: the items it is given, at least one; they are compared with ``==``.
        expected: the items that must come out; None to compare the runs with each other only.
        ordered: whether their order matters.
        holds: the most items that it may hold back, beside those that it has given on, when
            nothing reads what it gives. For this trial ``given`` is repeated. None leaves it out.
            A transform that gives nothing before its input ends (a sort, a total) is not tried:
            it can't be blocked, and passes whatever it gathers.
        fails_on: an item that it must fail on, naming its stage; where it has no such item, that
            is not tried.
        after_each: called after each run; what it asserts must hold then: all is closed.
        clock_waits: real seconds of quiet after which the clock jumps. More than 0 (0.05) for a
            transform that works in threads, which would be taken for quiet.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("check_transform runs Trio itself: call it from a def, not an async def")
    options.function("check_transform", "transform", transform)
    if not given:
        raise options.refuse("check_transform", "given must hold at least one item")
    if holds is not None:
        options.whole_number("check_transform", "holds", holds, at_least=0)
    options.seconds("check_transform", "clock_waits", clock_waits, above_zero=False)
    check = _Check(transform, list(given), ordered, after_each, clock_waits)
    check.chunks(None if expected is None else list(expected))
    check.ends()
    check.failing_source()
    check.early_end()
    if fails_on is not NOTHING:
        check.own_failure(fails_on)
    check.cancellation()
    if holds is not None:
        check.backpressure(holds)


@dataclass
class _Check:
    transform: Transform
    given: list[Any]
    ordered: bool
    after_each: Callable[[], object] | None
    clock_waits: float

    # The promises

    def chunks(self, expected: list[Any] | None) -> None:
        trial = Trial("each item by itself", cut(self.given, [1]))
        expected = self._all(trial, expected)
        for sizes in chunkings(len(self.given)):
            for at_rest in (True, False):
                how = "when all was at rest" if at_rest else "at once"
                tried = f"chunks of {', '.join(map(str, sizes))}, each {how}"
                self._all(Trial(tried, cut(self.given, sizes), at_rest), expected)
        again = Trial("the same pipeline run a second time", cut(self.given, [1]), runs=2)
        self._all(again, expected)

    def ends(self) -> None:
        self._all(Trial("an input of no items", []), None)

    def failing_source(self) -> None:
        for number in spread(len(self.given), _SOME):
            expected = self._whole(self.given[:number])
            for at_rest in (True, False):
                error = SourceFailed("raised by the trial")
                tried = f"a source that fails after {number} items"
                chunks = cut(self.given[:number], [1])
                trial = Trial(tried, chunks, at_rest, error=error)
                outcome = self._run(trial)
                self._is_beginning(trial, outcome, expected)
                found = outcome.error
                passed = isinstance(found, StageError) and found.stage == SOURCE
                if outcome.raised and not passed:
                    came = "ended" if found is None else f"raised {describe(found)}"
                    problem = f"the error of the source did not pass: the run {came}"
                    raise self._failure(trial, problem, outcome)

    def early_end(self) -> None:
        whole = self._whole(self.given)
        for number in spread(len(whole), _SOME):
            for at_rest in (True, False):
                tried = f"a stage behind it that takes {number} items and then no more"
                trial = Trial(tried, cut(self.given, [1]), at_rest, take=number)
                outcome = self._run(trial)
                self._went_well(trial, outcome)
                self._is_beginning(trial, outcome, whole)
                if len(outcome.came) != number:
                    problem = "not so many items came out"
                    raise self._failure(trial, problem, outcome, whole[:number])

    def own_failure(self, bad: Any) -> None:
        for size in (1, len(self.given) + 1):
            chunks = cut([*self.given, bad], [size])
            trial = Trial(f"an item that it must fail on, in chunks of {size}", chunks)
            outcome = self._run(trial)
            error = outcome.error
            if error is None:
                raise self._failure(trial, "it did not fail on the last item", outcome)
            if not isinstance(error, StageError) or error.stage not in outcome.stages:
                problem = f"its failure does not come as its own: {describe(error)}"
                raise self._failure(trial, problem, outcome)

    def cancellation(self) -> None:
        items = self.given[:_SWEPT]
        whole = self._whole(items)
        for size, at_rest in ((1, True), (2, False)):
            for step in count(1):
                tried = f"cancelled at step {step}, its input in chunks of {size}"
                trial = Trial(tried, cut(items, [size]), at_rest, cancel_at=step)
                outcome = self._run(trial)
                self._is_beginning(trial, outcome, whole)
                if outcome.error is not None:
                    problem = f"it failed when it was cancelled: {describe(outcome.error)}"
                    raise self._failure(trial, problem, outcome)
                if not outcome.cancelled:
                    self._went_well(trial, outcome)
                    break

    def backpressure(self, holds: int) -> None:
        until_two = self._items_until_two_come_out()
        if until_two is None:
            return  # it gathers: there is nothing that it could be blocked with
        per_item = (until_two + 1) // 2
        room = 4
        while True:
            allowed = until_two + holds + room * per_item
            items = islice(cycle(self.given), allowed + 8)
            trial = Trial("nothing that reads what it gives", cut(list(items), [1]), reads=False)
            outcome = self._run(trial)
            if outcome.taken <= allowed:
                return
            if outcome.room <= room:
                break
            room = outcome.room
        raise self._failure(
            trial,
            f"it went on taking items when it could not get rid of them: {outcome.taken} or more,"
            f" where at most {allowed} were expected; if it may hold items back: holds=…",
            outcome,
        )

    def _items_until_two_come_out(self) -> int | None:
        """How many items it must be given until it has given two."""
        number = 4
        while number <= _MOST:
            items = list(islice(cycle(self.given), number))
            tried = "its input again and again, to see how much it takes (holds=None leaves it out)"
            trial = Trial(tried, cut(items, [1]), pause=A_WHILE)
            outcome = self._run(trial)
            self._went_well(trial, outcome)
            for taken, come in enumerate(outcome.after):
                if come >= 2:
                    return taken
            number *= 4
        return None

    # How a run is judged

    def _run(self, trial: Trial) -> Outcome:
        trial = replace(trial, clock_waits=self.clock_waits)
        outcome = run_trial(self.transform, trial)
        if outcome.complaints:
            raise self._failure(trial, "; ".join(outcome.complaints), outcome)
        if self.after_each is not None:
            try:
                self.after_each()
            except AssertionError as error:
                problem = f"after_each found: {describe(error)}"
                raise self._failure(trial, problem, outcome) from error
        return outcome

    def _whole(self, items: list[Any]) -> list[Any]:
        return self._all(Trial("each item by itself", cut(items, [1])), None)

    def _all(self, trial: Trial, expected: list[Any] | None) -> list[Any]:
        """Demand that the trial goes well and gives what is expected; give what came."""
        outcome = self._run(trial)
        self._went_well(trial, outcome)
        if expected is not None:
            problem = compared(outcome.came, expected, ordered=self.ordered)
            if problem:
                raise self._failure(trial, problem, outcome, expected)
        return outcome.came

    def _went_well(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.error is not None:
            raise self._failure(trial, f"it failed: {describe(outcome.error)}", outcome)
        if not outcome.ended:
            raise self._failure(trial, "it did not end", outcome)

    def _is_beginning(self, trial: Trial, outcome: Outcome, whole: list[Any]) -> None:
        if not is_beginning(outcome.came, whole, ordered=self.ordered):
            problem = "what came out is not the beginning of what comes out of the whole"
            raise self._failure(trial, problem, outcome, whole)

    def _failure(
        self, trial: Trial, problem: str, outcome: Outcome, expected: list[Any] | None = None
    ) -> ConformanceError:
        failure = ConformanceError(
            function_name(self.transform), problem, trial.tried, trial.given, expected, outcome.came
        )
        failure.__cause__ = outcome.error
        return failure


class SourceFailed(Exception):
    """The error of a trial's source."""
