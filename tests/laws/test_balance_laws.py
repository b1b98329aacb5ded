"""However a run goes and ends, its report agrees with what every stage knows of itself.

Pipelines are made at random, of stages that keep their own account: what the sources made, what
the functions were called with, what they raised, what the sinks received. The report must say the
same, and add up: of everything made it is known whether it was received, filtered, skipped,
dead-lettered, dropped or abandoned.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import trio
from hypothesis import given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import penstock as ps
from penstock import testing
from penstock._plan import Plan, plan

from .accounts import (
    End,
    Fault,
    Source,
    Stage,
    filtering,
    multiplying,
    one_to_one,
    taking,
    transforming,
    waiting,
)

Check: TypeAlias = Callable[[ps.StageStats], None]

FOREVER = 1_000_000.0
LOOK_EVERY = 9


@dataclass(frozen=True)
class Ending:
    """How a run is ended from outside, if it is."""

    kind: str
    step: int = 0
    at: float = 0
    deadline: float = 0


@dataclass
class Case:
    """One pipeline, and all that its stages know of themselves."""

    sources: list[Source]
    chains: list[list[Stage]]
    trunk: list[Stage]
    ends: list[End]
    letters: list[ps.DeadLetter[Any]] = field(default_factory=list[ps.DeadLetter[Any]])

    def build(self) -> Watched:
        """The pipeline with the checks of its stages."""
        letters = ps.dead_letter(ps.for_each(self.letters.append))
        checks: dict[int, Check] = {}
        sources: dict[int, Source] = {}

        def grown(stream: ps.Stream[Any], stages: list[Stage]) -> ps.Stream[Any]:
            for stage in stages:
                stream = stage.build(stream, letters)
                checks[id(stream._node)] = stage.check
            return stream

        streams: list[ps.Stream[Any]] = []
        for source, chain in zip(self.sources, self.chains, strict=True):
            stream = source.stream()
            sources[id(stream._node)] = source
            streams.append(grown(stream, chain))
        trunk = grown(ps.merge(*streams), self.trunk)
        branches = trunk.broadcast(len(self.ends)) if len(self.ends) > 1 else (trunk,)
        parts: list[ps.Pipeline[Any]] = []
        for branch, end in zip(branches, self.ends, strict=True):
            parts.append(branch.to(end.sink(letters)))
            checks[id(parts[-1]._node)] = end.check
        pipeline = ps.gather(*parts) if len(parts) > 1 else parts[0]
        return Watched(pipeline, sources, checks)

    @property
    def stages(self) -> list[Stage]:
        return [stage for chain in (*self.chains, self.trunk) for stage in chain]

    @property
    def in_threads(self) -> bool:
        blocking = any(source.kind == "blocking" for source in self.sources)
        return blocking or any(stage.in_threads for stage in self.stages)

    @property
    def may_end_early(self) -> bool:
        """Whether a stage may want no more before the sources end."""
        return any(stage.may_end for stage in self.stages) or any(
            end.kind == "enough" for end in self.ends
        )

    def check_all_is_known(self, report: ps.Report) -> None:
        """Of a run that nothing ended before its time: nothing was lost on the way."""
        assert sum(stage.abandoned for stage in report.stages) == 0
        if len(self.ends) > 1 or not all(stage.keeps_count for stage in self.stages):
            return
        made = sum(source.made for source in self.sources)
        received = sum(len(end.account.done) for end in self.ends)
        filtered = sum(stage.account.rejected for stage in self.stages)
        skipped = sum(stage.skipped for stage in report.stages)
        dropped = sum(stage.dropped for stage in report.stages)
        assert made == received + filtered + skipped + dropped + len(self.letters)


class Watched(trio.abc.Instrument):
    """A pipeline whose counts are looked at every few steps, and which may be cancelled at one."""

    def __init__(
        self, pipeline: ps.Pipeline[Any], sources: dict[int, Source], checks: dict[int, Check]
    ) -> None:
        self.pipeline = pipeline
        self.scope = trio.CancelScope()
        self.run: ps.Run[Any] | None = None
        self.cancel_at = 0
        self.problem: BaseException | None = None
        self._plan = plan(pipeline._node)
        self._nodes = [node for segment in self._plan.segments for node in segment.stages]
        self._sources = sources
        self._checks = checks
        self._steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.run is None or self.problem is not None:
            return
        self._steps += 1
        if self._steps == self.cancel_at:
            self.scope.cancel()
        if self._steps % LOOK_EVERY == 0:
            try:
                self.check(self.run.stats())
            except BaseException as problem:  # noqa: BLE001 - an instrument must not raise
                self.problem = problem
                self.scope.cancel()

    def check(self, stats: ps.RunStats) -> None:
        """What the run says adds up, and is what the stages know."""
        testing.assert_balanced(stats)
        assert [node.name for node in self._nodes] == [
            stage.name.partition("#")[0] for stage in stats.stages
        ]
        by_node = dict(zip(map(id, self._nodes), stats.stages, strict=True))
        is_running = stats.outcome == "running"
        check_neighbours(self._plan, by_node, over=not is_running)
        for node, source in self._sources.items():
            source.check(by_node[node], is_running=is_running)
        for node, check in self._checks.items():
            try:
                check(by_node[node])
            except AssertionError:
                note(str(by_node[node]))
                raise


def check_neighbours(planned: Plan, stats: dict[int, ps.StageStats], *, over: bool) -> None:
    """What one stage gives on is what the next takes in, and a letter is one for its sink."""
    for segment in planned.segments:
        for before, after in pairwise(segment.stages):
            assert stats[id(before)].items_out == stats[id(after)].items_in
        numbers = [number for number in segment.outlets if number is not None]
        if numbers:
            readers = {id(planned.reader(number).stages[0]) for number in numbers}
            feeds = {id(feed.stages[-1]) for number in numbers for feed in planned.feeds(number)}
            given = sum(stats[each].items_out for each in feeds)
            assert given == sum(stats[each].items_in for each in readers)
        for sink, number in segment.sides.items():
            reader = stats[id(planned.reader(number).stages[0])]
            tellers = [
                stats[id(node)]
                for teller in planned.tellers(number)
                for node in teller.stages
                if sink in node.sides
            ]
            sent = sum(each.dead_lettered for each in tellers)
            assert reader.items_in == sent or (reader.items_in < sent and not over)


async def play(watched: Watched, ending: Ending) -> ps.Report:
    with suppress(ps.StageError, ps.RunStopped), watched.scope:
        try:
            async with watched.pipeline.open() as run:
                watched.run = run
                if ending.kind == "stop":
                    with trio.move_on_after(ending.at):
                        await run.result()
                    await run.stop(ending.deadline)
                await run.result()
        except* ps.StageError:
            pass
    assert watched.run is not None
    report = watched.run.report()
    watched.run = None
    return report


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
    # While a thread works, a clock that jumped at once would run on.
    clock = MockClock(autojump_threshold=0.01 if case.in_threads else 0)
    to_play = play if case.in_threads else play_in_time
    report = trio.run(to_play, watched, ending, clock=clock, instruments=[watched])
    note(str(report))
    if watched.problem is not None:
        raise watched.problem
    watched.check(report)
    drained = ending.kind == "stop" and ending.deadline == float("inf")
    whole = report.outcome == "done" or (report.outcome == "stopped" and drained)
    for letters in (stage for stage in report.stages if stage.name == "for_each(append)"):
        assert len(case.letters) == letters.absorbed
        assert letters.abandoned == 0 or not whole, "a letter of a run that ended early is lost"
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


@st.composite
def cases(draw: st.DrawFn, *, threads: bool = False) -> Case:
    kinds = [*KINDS, *(["blocking"] * 4 if threads else [])]
    produced = ["pulled", "chunks", "async", *(["blocking"] * 2 if threads else [])]
    number = draw(st.sampled_from([1, 1, 1, 2]))
    return Case(
        [draw(sources(produced, number)) for number in range(number)],
        [draw(st.lists(stages(kinds), max_size=3)) for _ in range(number)],
        draw(st.lists(stages(kinds), max_size=3)),
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
