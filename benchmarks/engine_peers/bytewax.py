"""bytewax: a dataflow on Timely in Rust, by batches of 1,000 items, on one worker."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, count_window
from bytewax.testing import TestingSink, TestingSource, run_main

from ..engine_rows.work import (
    WINDOW,
    Counts,
    Event,
    add,
    double,
    key_of,
    no_multiple_of_three,
    plus_one,
    time_of,
)

BATCH = 1_000
_START = datetime(2026, 1, 1, tzinfo=UTC)


def sum_of(numbers: Iterable[int]) -> int:
    found: list[tuple[str, int]] = []
    flow = Dataflow("sum")
    stream = op.input("numbers", flow, TestingSource(numbers, batch_size=BATCH))
    stream = op.map("double", stream, double)
    stream = op.filter("no_multiple_of_three", stream, no_multiple_of_three)
    stream = op.map("plus_one", stream, plus_one)
    keyed = op.key_on("one_key", stream, _one_key)
    op.output("out", op.fold_final("add", keyed, int, add), TestingSink(found))
    run_main(flow)
    ((_, total),) = found
    return total


def _one_key(_: object) -> str:
    """A fold is by key here."""
    return "all"


def dated(events: Iterable[Event]) -> list[tuple[str, datetime]]:
    """The events as it takes them: times must be datetimes."""
    return [(key_of(event), _START + timedelta(seconds=time_of(event))) for event in events]


def count_windows(events: list[tuple[str, datetime]]) -> Counts:
    found: list[tuple[str, tuple[int, int]]] = []
    flow = Dataflow("windows")
    stream = op.input("events", flow, TestingSource(events, batch_size=BATCH))
    # By the events' times alone: its clock would go on by the machine's between two of a key, and
    # make late what takes longer to be counted than it took to happen.
    clock: EventClock[Any] = EventClock(
        _time_of, timedelta(0), now_getter=lambda: _START, to_system_utc=lambda _: None
    )
    windower = TumblingWindower(length=timedelta(seconds=WINDOW), align_to=_START)
    windows = count_window("count", stream, clock, windower, _key_of)
    op.output("out", windows.down, TestingSink(found))
    run_main(flow)
    return {(key, window): number for key, (window, number) in found}


def _key_of(event: tuple[str, datetime]) -> str:
    return event[0]


def _time_of(event: tuple[str, datetime]) -> datetime:
    return event[1]
