"""However a run goes and ends, its report agrees with what every stage knows of itself.

Pipelines are made at random, of stages that keep their own account: what the sources made, what
the functions were called with, what they raised, what the sinks received. The report must say the
same, and add up: of everything made it is known whether it was received, filtered, skipped,
dead-lettered, dropped or abandoned.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio
from hypothesis import given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps

from .accounts.account import Fault
from .accounts.case import Case
from .accounts.ends import End, Source
from .accounts.joints import Join, Split
from .accounts.stages import (
    Stage,
    filtering,
    multiplying,
    one_to_one,
    taking,
    transforming,
    waiting,
)
from .accounts.watched import Watched
from .accounts.windows import windowing

FOREVER = 1_000_000.0


@dataclass(frozen=True)
class Ending:
    """How a run is ended from outside, if it is: at a step, a time, or a call of a function."""

    kind: str
    step: int = 0
    at: float = 0
    deadline: float = 0
    call: int = 0


async def play(watched: Watched, ending: Ending) -> ps.Report:
    try:
        with watched.scope:
            await play_to_its_end(watched, ending)
    except KeyboardInterrupt:
        watched.interrupted = True
    assert watched.run is not None
    report = watched.run.report()
    watched.run = None
    return report


async def play_to_its_end(watched: Watched, ending: Ending) -> None:
    try:
        async with watched.pipeline.open() as run:
            watched.run = run
            if ending.kind == "stop":
                with trio.move_on_after(ending.at):
                    await run.result()
                await run.stop(ending.deadline)
            await run.result()
    except* (ps.StageError, ps.RunStopped):
        pass


async def play_in_time(watched: Watched, ending: Ending) -> ps.Report:
    """A run that hangs is an error: under a jumping clock any time is over at once."""
    report: ps.Report | None = None
    with trio.move_on_after(FOREVER):
        report = await play(watched, ending)
    assert report is not None, "it does not end"
    return report


def run_case(case: Case, ending: Ending) -> ps.Report:
    watched = case.build()
    watched.cancel_at = ending.step
    case.ctrl_c.at = ending.call
    # While a thread works, a clock that jumped at once would run on.
    clock = MockClock(autojump_threshold=0.01 if case.in_threads else 0)
    to_play = play if case.in_threads else play_in_time
    report = trio.run(to_play, watched, ending, clock=clock, instruments=[watched])
    note(str(report))
    if watched.problem is not None:
        raise watched.problem
    assert watched.interrupted == (case.ctrl_c.hit is not None), (
        "Ctrl-C comes out of the run as itself"
    )
    watched.check(report)
    drained = ending.kind == "stop" and ending.deadline == float("inf")
    whole = report.outcome == "done" or (report.outcome == "stopped" and drained)
    case.check_asides(report, whole=whole)
    if whole and not case.may_end_early:
        case.check_all_is_known(report)
    return report


# Random pipelines

faults = st.one_of(
    st.just(Fault()),
    st.builds(
        Fault,
        every=st.integers(2, 7),
        times=st.integers(1, 4),
        attempts=st.sampled_from([1, 1, 2, 3]),
        then=st.sampled_from(["skip", "letter", "skip", "letter", "raise"]),
    ),
)
own_faults = st.one_of(st.just(Fault()), st.builds(Fault, every=st.integers(5, 40)))
KINDS = ["map", "tap", "scan", "map_async", "unordered", "keyed"]


def stages(kinds: list[str]) -> st.SearchStrategy[Stage]:
    return st.one_of(
        st.builds(one_to_one, faults, st.sampled_from(kinds)),
        st.builds(filtering, faults),
        st.builds(multiplying, faults),
        st.builds(
            waiting,
            st.integers(1, 6),
            st.sampled_from(["block", "drop_oldest", "drop_newest", "conflate", "fail"]),
        ),
        st.builds(transforming, st.sampled_from(["forward", "every second"])),
        st.builds(
            windowing,
            faults,
            st.sampled_from(["tumbling", "tumbling", "session", "by_count"]),
            st.sampled_from([0, 0, 4]),
            st.sampled_from([None, 0.4]),
            has_outlet=st.sampled_from([True, True, False]),
        ),
        st.builds(taking, st.integers(0, 30)),
    )


def sources(kinds: list[str], number: int) -> st.SearchStrategy[Source]:
    return st.builds(
        Source,
        number=st.just(number),
        kind=st.sampled_from(kinds),
        length=st.integers(0, 80),
        fails_at=st.one_of(st.none(), st.none(), st.integers(0, 60)),
        pauses=st.booleans(),
    )


sinks = st.one_of(
    st.builds(End, st.sampled_from(["each", "one by one", "at once"]), faults),
    st.builds(End, st.sampled_from(["fold", "enough"]), own_faults),
)


joins = st.builds(Join, st.sampled_from(["merge", "zip", "strict zip"]))
splits = st.builds(Split, st.sampled_from(["broadcast", "partition", "partition"]), faults)


@st.composite
def cases(draw: st.DrawFn, *, threads: bool = False) -> Case:
    kinds = [*KINDS, *(["blocking"] * 4 if threads else [])]
    produced = ["pulled", "chunks", "async", *(["blocking"] * 2 if threads else [])]
    number = draw(st.sampled_from([1, 1, 1, 2, 2]))
    return Case(
        [draw(sources(produced, number)) for number in range(number)],
        [draw(st.lists(stages(kinds), max_size=3)) for _ in range(number)],
        draw(joins),
        draw(st.lists(stages(kinds), max_size=3)),
        draw(splits),
        draw(st.lists(sinks, min_size=1, max_size=draw(st.sampled_from([1, 1, 2])))),
    )


endings = st.one_of(
    st.just(Ending("through")),
    st.builds(lambda step: Ending("cancel", step=step), st.integers(1, 300)),
    st.builds(
        lambda at, deadline: Ending("stop", at=at, deadline=deadline),
        st.sampled_from([0, 0.1, 0.5, 1.3, 4]),
        st.sampled_from([0, 0.4, 2, float("inf")]),
    ),
    st.builds(lambda call: Ending("Ctrl-C", call=call), st.integers(1, 150)),
)


@given(cases(), endings)
@settings(max_examples=100)
def test_the_report_agrees_with_what_every_stage_knows_of_itself(
    case: Case, ending: Ending
) -> None:
    run_case(case, ending)


@given(cases(threads=True), endings)
@settings(max_examples=10)
def test_so_it_does_where_threads_work(case: Case, ending: Ending) -> None:
    run_case(case, ending)
