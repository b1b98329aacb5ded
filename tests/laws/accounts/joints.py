"""Where streams come together, or part: what is known there of their items.

Each gives, beside the streams, checks of what the run says of one or several of its stages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import penstock as ps
from penstock._spec import Node

from .account import Account, Fault, Item

Streams: TypeAlias = list[ps.Stream[Any]]
Check: TypeAlias = Callable[..., None]
Checks: TypeAlias = list[tuple[tuple[Node, ...], Check]]


@dataclass
class Join:
    """How several streams become one; its account is of the tuples of a ``zip``."""

    kind: Literal["merge", "zip", "strict zip"]
    account: Account = field(default_factory=Account)

    def build(self, streams: Streams) -> tuple[ps.Stream[Any], Checks]:
        if self.kind == "merge" or len(streams) == 1:
            return ps.merge(*streams), []
        zipped: ps.Stream[Any] = ps.zip(*streams, strict=self.kind == "strict zip")
        items = zipped.map(self._put_together)
        return items, [
            ((zipped._node,), self._check_zip),
            ((items._node,), self.account.check),
        ]

    def _put_together(self, items: tuple[Item, ...]) -> Item:
        return self.account.call(tuple(number for item in items for number in item))

    def _check_zip(self, stats: ps.StageStats) -> None:
        """It takes two for each that it gives; what one stream had more than the other is lost."""
        assert (stats.made, stats.skipped, stats.dead_lettered, stats.late) == (0, 0, 0, 0)
        assert stats.absorbed == stats.items_out, "put together"
        assert stats.errors == 0 or self.kind == "strict zip"


@dataclass
class Split:
    """How one stream becomes several: copies, or each item to where a function says."""

    kind: Literal["broadcast", "partition"]
    fault: Fault
    account: Account = field(default_factory=Account)
    matching: int = 0

    def __post_init__(self) -> None:
        self.account.fault = self.fault

    def build(self, stream: ps.Stream[Any], letters: Any) -> tuple[Streams, Checks]:
        """Two streams."""
        if self.kind == "broadcast":
            return list(stream.broadcast(2)), []
        matching, others = stream.partition(self._matches, errors=self.fault.errors(letters))
        (split,) = matching._node.inputs
        (labelled,) = split.inputs
        return [matching, others], [
            ((labelled,), self._check_calls),
            ((labelled, split, matching._node, others._node), self._check_dealt),
        ]

    def _matches(self, item: Item) -> bool:
        matches = sum(self.account.call(item)) % 3 == 0
        self.matching += matches
        return matches

    def _check_calls(self, stats: ps.StageStats) -> None:
        self.account.check(stats)
        lost = stats.abandoned + stats.held
        assert (stats.made, stats.absorbed) == (0, 0)
        assert len(self.account.done) - lost <= stats.items_out <= len(self.account.done), "dealt"

    def _check_dealt(
        self,
        labelled: ps.StageStats,
        split: ps.StageStats,
        matching: ps.StageStats,
        others: ps.StageStats,
    ) -> None:
        lost = sum(stats.abandoned + stats.held for stats in (labelled, split))
        for stats, dealt in (
            (matching, self.matching),
            (others, len(self.account.done) - self.matching),
        ):
            assert dealt - lost <= stats.items_in <= dealt, "dealt to a branch"
