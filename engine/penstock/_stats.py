"""Frozen snapshots of a run: what each stage did, how full each buffer is, where the time goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ._errors import Location

Outcome: TypeAlias = Literal["running", "done", "stopped", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class StageStats:
    """One stage. Counts are items since the start of the run, unless they say otherwise.

    They balance, at any moment: ``items_in + made`` is ``items_out + absorbed + skipped +
    dead_lettered + dropped + late + abandoned + held``; at the end ``held`` is 0. What one stage
    gives on is what the next takes in.

    Attributes:
        name: the stage's name, unique in its pipeline (``map(parse)``, ``map(parse)#2``).
        task: the number of the task it runs in; stages that share one are fused.
        items_in: items sent to it. A source takes none.
        items_out: items given on, to all branches together.
        made: items that it gave beyond one for each it took: all of a source's, what a
            ``flat_map`` adds, the copies of a ``broadcast``.
        absorbed: items that it took and did not give on, as it should: what a ``filter`` leaves
            out, what a ``batch`` gathers into one, all that a sink takes.
        held: items in the buffers in front of it, or waiting for room there, and in its hands.
            A stage of one's own has what it took last, until it asks for more.
        errors: failures of its function, those that were mended or passed over included.
        skipped: items left out by ``errors="skip"``.
        retried: calls made again after a failure; of a source, starts after the first.
        dead_lettered: items sent to the sink of ``errors=dead_letter(sink)``.
        late: items that came too late for their window, sent to its ``late`` sink.
        dropped: items thrown away by a policy: the overflow of the buffer in front of it, a
            throttle, a window without a ``late`` sink.
        abandoned: items that were in its hands, or in the buffers in front of it, when it ended
            early.
        evicted: keys whose state it let go of, to keep within its bounds.
        rate: items given on a second (by a sink: taken), in about the last two seconds; of a run
            that is over, in all its time.
        busy: seconds spent in the function of a fused stage; of a task stage, the seconds in which
            it waited for neither of its neighbours.
        wait_in, wait_out: seconds that its task waited for items, and for room behind it; 0 for a
            stage that isn't the first of its task.
        held_the_loop: how often it kept all other tasks waiting for over 0.1 s.
        held_the_loop_longest: seconds, the longest of these.
        where: the line it was written on.
    """

    name: str
    task: int
    items_in: int
    items_out: int
    made: int
    absorbed: int
    held: int
    errors: int
    skipped: int
    retried: int
    dead_lettered: int
    late: int
    dropped: int
    abandoned: int
    evicted: int
    rate: float
    busy: float
    wait_in: float
    wait_out: float
    held_the_loop: int
    held_the_loop_longest: float
    where: Location | None


@dataclass(frozen=True, slots=True)
class BufferStats:
    """The channel in front of a task.

    Attributes:
        before: the stage that reads from it.
        after: the stages that send into it; several where streams are merged.
        capacity, held, peak: items: the bound, right now, and the most so far.
        passed: items that went in.
        rate: items that went in a second, as above.
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
    rate: float
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


_COLUMNS = (
    ("in", "items_in"),
    ("out", "items_out"),
    ("skipped", "skipped"),
    ("retried", "retried"),
    ("dead-lettered", "dead_lettered"),
    ("late", "late"),
    ("dropped", "dropped"),
    ("abandoned", "abandoned"),
    ("evicted", "evicted"),
)
_ALWAYS = ("in", "out", "skipped", "dropped", "abandoned")


@dataclass(frozen=True, slots=True)
class Report(RunStats):
    """What a run did, once it is over. ``str(report)`` is a table for people.

    Columns of counts that are 0 for every stage are left out, but for the commonest.
    """

    error: str | None = field(default=None)

    def __str__(self) -> str:
        counted = [
            (label, [getattr(stage, name) for stage in self.stages])
            for label, name in _COLUMNS
            if label in _ALWAYS or any(getattr(stage, name) for stage in self.stages)
        ]
        rows = [("stage", *(label for label, _ in counted), "busy s")]
        rows += [
            (stage.name, *(f"{column[number]:,}" for _, column in counted), f"{stage.busy:.3f}")
            for number, stage in enumerate(self.stages)
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
