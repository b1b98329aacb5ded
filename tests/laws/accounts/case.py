"""A pipeline of stages that keep an account, and what must be so of all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import penstock as ps
from penstock._spec import Node

from .account import CtrlC, Item
from .ends import End, Source
from .joints import Checks, Join, Split
from .stages import Stage
from .watched import Watched


@dataclass
class Case:
    """One pipeline, and all that its stages know of themselves.

    The sources with the chains behind them are joined; behind that is the trunk, and, where there
    are two ends, a split.
    """

    sources: list[Source]
    chains: list[list[Stage]]
    join: Join
    trunk: list[Stage]
    split: Split
    ends: list[End]
    letters: list[ps.DeadLetter[Item]] = field(default_factory=list[ps.DeadLetter[Item]])
    ctrl_c: CtrlC = field(default_factory=CtrlC)

    def __post_init__(self) -> None:
        for source in self.sources:
            source.ctrl_c = self.ctrl_c
        for account in (
            *(stage.account for stage in self.stages),
            self.join.account,
            self.split.account,
            *(end.account for end in self.ends),
        ):
            account.ctrl_c = self.ctrl_c

    def build(self) -> Watched:
        """The pipeline with the checks of its stages."""
        sink = ps.for_each(self.letters.append)
        letters = ps.dead_letter(sink)
        sources: list[tuple[Node, Source]] = []
        checks: Checks = []

        def grown(stream: ps.Stream[Any], stages: list[Stage]) -> ps.Stream[Any]:
            for stage in stages:
                stream = stage.build(stream, letters)
                checks.append(((stream._node,), stage.check))
                if stage.then is not None:
                    stream = stream.map(stage.then)
            return stream

        streams: list[ps.Stream[Any]] = []
        for source, chain in zip(self.sources, self.chains, strict=True):
            stream = source.stream()
            sources.append((stream._node, source))
            streams.append(grown(stream, chain))
        joined, checks_of_join = self.join.build(streams)
        branches = [grown(joined, self.trunk)]
        checks_of_split: Checks = []
        if len(self.ends) > 1:
            branches, checks_of_split = self.split.build(branches[0], letters)
        parts: list[ps.Pipeline[Any]] = []
        for branch, end in zip(branches, self.ends, strict=True):
            parts.append(branch.to(end.sink(letters)))
            checks.append(((parts[-1]._node,), end.check))
        pipeline = ps.gather(*parts) if len(parts) > 1 else parts[0]
        return Watched(pipeline, sink, sources, [*checks, *checks_of_join, *checks_of_split])

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
        return (
            any(stage.may_end for stage in self.stages)
            or any(end.kind == "enough" for end in self.ends)
            or (self.is_zipped and self.join.kind == "zip")
        )

    @property
    def is_zipped(self) -> bool:
        return len(self.sources) > 1 and self.join.kind != "merge"

    @property
    def copies(self) -> bool:
        return len(self.ends) > 1 and self.split.kind == "broadcast"

    def check_asides(self, report: ps.Report, *, whole: bool) -> None:
        """The sinks beside the stream received what the report says; of a whole run, everything."""
        letters = [stage for stage in report.stages if stage.name == "for_each(append)"]
        assert len(self.letters) == sum(stage.absorbed for stage in letters)
        late = [stage for stage in report.stages if stage.name.startswith("for_each(too_late)")]
        assert sum(len(stage.aside) for stage in self.stages) == sum(
            stage.absorbed for stage in late
        )
        assert not whole or sum(stage.abandoned for stage in (*letters, *late)) == 0

    def check_all_is_known(self, report: ps.Report) -> None:
        """Of a run that nothing ended before its time: nothing was lost on the way.

        Counted in items of the sources, of which a ``zip`` makes one of two.
        """
        assert sum(stage.abandoned for stage in report.stages) == 0
        if self.copies or not all(stage.keeps_count for stage in self.stages):
            return
        made = sum(source.made for source in self.sources)
        received = sum(worth(item) for end in self.ends for item in end.account.done)
        behind = [(stage, 2 if self.is_zipped else 1) for stage in self.trunk]
        before = [(stage, 1) for chain in self.chains for stage in chain]
        filtered = sum(stage.account.rejected * each for stage, each in (*before, *behind))
        left_out = 0
        each = 1
        for stats in report.stages:
            if stats.name == "zip":
                each = 2
            left_out += each * (stats.skipped + stats.dropped)
        left_out += sum(worth(letter.item) for letter in self.letters)
        assert made == received + filtered + left_out


def worth(item: Item) -> int:
    """Of how many items of the sources an item is."""
    return len(item) // 2
