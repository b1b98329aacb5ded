"""A short soak; and the checks that it stands on, which must find what is wrong."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..e2e.serving import SERVE, Reaper, serving
from .soak import Load, soak_server
from .trail import Ledger, Order, Report, Trail
from .vitals import MIB, WARM_UP, Sample, leftover_fault, memory_fault, slope

CONFIG = Path(__file__).with_name("config.py")
SECONDS = 10.0


async def test_a_short_soak(tmp_path: Path) -> None:
    command = (*SERVE, str(CONFIG), "--bind", "127.0.0.1:0")
    with closing(Reaper()) as reaper, serving(command, tmp_path / "log", reaper) as server:
        verdict = await soak_server(server, SECONDS, load=Load(readers=8, faults=3))
    assert verdict.faults == []
    report = verdict.soak.report
    assert report.events > 500
    assert report.published > 50
    assert report.sessions > 10
    assert report.faults > 5


# The checks


def found(report: Report) -> list[str]:
    return [violation.what.partition("; lately")[0] for violation in report.violations]


def gap(requested: str, resumed: str, missed: int | None) -> dict[str, Any]:
    return {"requested": requested, "resumed": resumed, "missed": missed}


def test_a_whole_trail_has_nothing_wrong() -> None:
    report = Report()
    trail = Trail("t", "reader", report, order=Order(lambda data: ("", data)))
    trail.begin("e-0")
    for number in (1, 2):
        trail.event(f"e-{number}", number)
    trail.begin("e-2")
    trail.gap(gap("e-2", "e-9", 7))
    trail.event("e-a", 10)
    trail.gap(gap("e-a", "f-3", None))
    trail.event("f-4", 4)
    assert found(report) == []
    assert (report.events, report.gaps, trail.after) == (4, 2, "f-4")


@pytest.mark.parametrize("id_", ["e-2", "e-1", "e-4", "f-3"])
def test_an_event_out_of_its_place_is_found(id_: str) -> None:
    report = Report()
    trail = Trail("t", "reader", report)
    trail.begin("e-2")
    trail.event(id_, None)
    assert found(report) == [f"{id_} after e-2"]


def test_only_a_conflated_trail_may_skip() -> None:
    report = Report()
    trail = Trail("t", "reader", report, conflated=True)
    trail.begin("e-2")
    trail.event("e-5", None)
    assert found(report) == []
    trail.event("e-4", None)
    assert found(report) == ["e-4 after e-5"]


@pytest.mark.parametrize(
    "wrong",
    [gap("e-1", "e-9", 8), gap("e-2", "e-9", 6), gap("e-2", "e-2", 0), gap("e-2", "f-9", 7)],
)
def test_a_gap_that_says_something_wrong_is_found(wrong: dict[str, Any]) -> None:
    report = Report()
    trail = Trail("t", "reader", report)
    trail.begin("e-2")
    trail.gap(wrong)
    assert len(report.violations) == 1


def test_wrong_data_in_the_right_place_is_found() -> None:
    report = Report()
    trail = Trail("t", "reader", report, order=Order(lambda data: (data[0], data[1])))
    for offset, data in enumerate([["a", 1], ["b", 7], ["a", 2], ["a", 2], ["b", 9]]):
        trail.event(f"e-{offset}", data)
    assert found(report) == ["at e-3: 'a': 2 after 2", "at e-4: 'b': 9 after 7"]


def test_what_was_stored_twice_or_is_told_differently_is_found() -> None:
    report = Report()
    ledger = Ledger("t", report)
    ledger.note(1, "a", "publisher")
    ledger.note(1, "a", "reader")
    assert found(report) == []
    ledger.note(1, "b", "reader")
    ledger.note(2, "a", "reader")
    assert found(report) == ["offset 1 holds 'b', and held 'a'", "'a' is at 2 and at 1"]


def test_a_ledger_is_bounded() -> None:
    report = Report()
    ledger = Ledger("t", report, kept=10)
    for offset in range(1000):
        ledger.note(offset, offset, "publisher")
    assert len(ledger) == 10
    assert found(report) == []


def samples(rss: list[float]) -> list[Sample]:
    return [Sample(float(at), int(each * MIB), 10, 10) for at, each in enumerate(rss)]


def test_memory_that_stays_and_memory_that_grows() -> None:
    warm = [50 + min(at, 50) * 0.5 for at in range(60)]
    noise = [3.0 * (at % 7 == 0) for at in range(600)]
    flat = [75 + each for each in noise]
    rising = [75 + each + at * 0.02 for at, each in enumerate(noise)]
    assert memory_fault(samples(warm + flat), WARM_UP) is None
    assert "MiB/h" in (memory_fault(samples(warm + rising), WARM_UP) or "")
    assert "went from" in (memory_fault(samples([50, 120]), WARM_UP) or "")


def test_the_slope_is_not_moved_by_outliers() -> None:
    points = [(float(at), 2.0 * at + (1e6 if at % 10 == 0 else 0)) for at in range(100)]
    assert slope(points) == pytest.approx(2.0)


def test_what_is_left_behind_is_found() -> None:
    before = Sample(0, 0, 10, 10)
    assert leftover_fault(before, Sample(1, 99, 9, 10)) is None
    assert "11 tasks" in (leftover_fault(before, Sample(1, 0, 11, 10)) or "")
    assert "11 descriptors" in (leftover_fault(before, Sample(1, 0, 10, 11)) or "")
