"""Frozen snapshots of a run: what each stage did, how full each buffer is, where the time goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ._errors import Location

Outcome: TypeAlias = Literal["running", "done", "stopped", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class StageStats:
    """One stage. Counts are items since the start of the run.

    Attributes:
        name: the stage's name, unique in its pipeline (``map(parse)``, ``map(parse)#2``).
        task: the number of the task it runs in; stages that share one are fused.
        items_in: items taken. A source takes none.
        items_out: items given on.
        errors: failures of its function, skipped ones included.
        skipped: items left out by ``errors="skip"``.
        dropped: items thrown away by the overflow policy of the buffer in front of it.
        abandoned: items that were in its hands, or in the buffer in front of it, when it ended
            early.
        busy: seconds spent in the function of a fused stage; of a task stage, the seconds in which
            it waited for neither of its neighbours.
        where: the line it was written on.
    """

    name: str
    task: int
    items_in: int
    items_out: int
    errors: int
    skipped: int
    dropped: int
    abandoned: int
    busy: float
    where: Location | None


@dataclass(frozen=True, slots=True)
class BufferStats:
    """The channel in front of a task.

    Attributes:
        before: the stage that reads from it.
        after: the stages that send into it; several where streams are merged.
        capacity, held, peak: items: the bound, right now, and the most so far.
        passed: items that went in.
        dropped: items thrown away by its overflow policy.
        send_wait: seconds that the stages before it waited for room.
        receive_wait: seconds that the stage behind it waited for items.
    """

    before: str
    after: tuple[str, ...]
    capacity: int
    held: int
    peak: int
    passed: int
    dropped: int
    send_wait: float
    receive_wait: float


@dataclass(frozen=True, slots=True)
class RunStats:
    """A run at one moment: ``run.stats()``.

    Attributes:
        seconds: since the start, or the whole duration once it is over.
        outcome: ``running``, or how it ended.
        stages: in the order of the data.
        buffers: in the order of the data.
        bottleneck: the stage whose task waits least for its neighbours (a source only where no
            other comes near it); None before anything ran.
    """

    seconds: float
    outcome: Outcome
    stages: tuple[StageStats, ...]
    buffers: tuple[BufferStats, ...]
    bottleneck: str | None


@dataclass(frozen=True, slots=True)
class Report(RunStats):
    """What a run did, once it is over. ``str(report)`` is a table for people."""

    error: str | None = field(default=None)

    def __str__(self) -> str:
        rows = [("stage", "in", "out", "skipped", "dropped", "abandoned", "busy s")]
        rows += [
            (
                stage.name,
                f"{stage.items_in:,}",
                f"{stage.items_out:,}",
                f"{stage.skipped:,}",
                f"{stage.dropped:,}",
                f"{stage.abandoned:,}",
                f"{stage.busy:.3f}",
            )
            for stage in self.stages
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        ending = f"{self.outcome} after {self.seconds:.2f} s"
        if self.error:
            ending += f": {self.error}"
        return "\n".join([*lines, ending])
