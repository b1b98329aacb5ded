"""A run that is looked at on its way, by what all its stages know of themselves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import trio
from hypothesis import note

import penstock as ps
from penstock import testing
from penstock._plan import Plan, plan
from penstock._spec import Node

from .ends import Source
from .joints import Checks

LOOK_EVERY = 9


class Watched(trio.abc.Instrument):
    """A pipeline whose counts are looked at every few steps, and which may be cancelled at one."""

    def __init__(
        self,
        pipeline: ps.Pipeline[Any],
        letters: ps.Sink[Any, Any],
        sources: list[tuple[Node, Source]],
        checks: Checks,
    ) -> None:
        self.pipeline = pipeline
        self.scope = trio.CancelScope()
        self.run: ps.Run[Any] | None = None
        self.cancel_at = 0
        self.interrupted = False
        self.problem: BaseException | None = None
        self._plan = plan(pipeline._node)
        self._nodes = [node for segment in self._plan.segments for node in segment.stages]
        self._letters = letters
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
        check_neighbours(self._plan, by_node, self._letters, over=not is_running)
        for node, source in self._sources:
            source.check(by_node[id(node)], is_running=is_running)
        for nodes, check in self._checks:
            checked = [by_node[id(node)] for node in nodes]
            try:
                check(*checked)
            except AssertionError:
                note("\n".join(map(str, checked)))
                raise


def check_neighbours(
    planned: Plan, stats: dict[int, ps.StageStats], letters: ps.Sink[Any, Any], *, over: bool
) -> None:
    """What one stage gives on is what the next takes in.

    So is a letter, and, for any other sink beside the stream, an item that came too late.
    """
    for segment in planned.segments:
        for before, after in pairwise(segment.stages):
            assert stats[id(before)].items_out == stats[id(after)].items_in
        numbers = [number for number in segment.outlets if number is not None]
        if numbers:
            readers = [planned.reader(number) for number in numbers]
            feeds = [
                feed for reader in readers for each in reader.inlets for feed in planned.feeds(each)
            ]
            given = {id(feed.stages[-1]): stats[id(feed.stages[-1])].items_out for feed in feeds}
            taken = sum(stats[id(reader.stages[0])].items_in for reader in readers)
            assert sum(given.values()) == taken
        for sink, number in segment.sides.items():
            reader = stats[id(planned.reader(number).stages[0])]
            tellers = [
                stats[id(node)]
                for teller in planned.tellers(number)
                for node in teller.stages
                if sink in node.sides
            ]
            is_of_letters = sink is letters
            sent = sum(each.dead_lettered if is_of_letters else each.late for each in tellers)
            assert reader.items_in == sent or (reader.items_in < sent and not over)
