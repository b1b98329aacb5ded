"""A run as lines and as JSON: what a script reads of it."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import Any

import msgspec

from penstock._errors import PenstockError, describe, short_repr
from penstock._run import RunStopped
from penstock._stats import Report, RunStats, StageStats
from penstock.config.errors import one_line

from .attended import Finished


def error_lines(finished: Finished) -> list[str]:
    """A line for each failure."""
    return [one_line(_error_text(error, finished.report)) for error in finished.errors]


def _error_text(error: BaseException, report: Report | None) -> str:
    if isinstance(error, RunStopped):
        lost = sum(stage.abandoned for stage in report.stages) if report else 0
        return (
            "it was not drained in time, so its sink has no result;"
            f" {lost:,} items are abandoned; --deadline gives it more time"
        )
    return str(error) if isinstance(error, PenstockError) else describe(error)


def result_line(finished: Finished) -> str | None:
    """The sink's result as ``repr``, cut to 200 characters; None where there is none."""
    return None if finished.result is None else one_line(short_repr(finished.result))


def report_json(name: str, finished: Finished) -> dict[str, Any]:
    """What a run did, as a JSON object.

    Its fields are ``type`` (``report``), ``name``, ``outcome``, ``result`` (its ``repr`` where JSON
    can't hold it), ``error`` (null, or what failed), and those of `progress_json`.
    """
    report = finished.report
    return {
        "type": "report",
        "name": name,
        "outcome": "failed" if report is None else report.outcome,
        "result": _jsonable(finished.result),
        "error": "; ".join(error_lines(finished)) or None,
        **_seen(report),
    }


def progress_json(name: str, now: RunStats) -> dict[str, Any]:
    """How a run is doing, as a JSON object.

    Its fields are ``type`` (``progress``), ``name``, ``seconds``, ``bottleneck``, ``stages`` and
    ``buffers``, the last two with the fields of `StageStats` and `BufferStats`. Tasks are numbered
    from 1, as in the graph.
    """
    return {"type": "progress", "name": name, **_seen(now)}


def signal_json(name: str, number: int, before: int, deadline: float) -> dict[str, Any]:
    """That a signal came, as a JSON object: ``stopping``, or ``cancelled``."""
    told: dict[str, Any] = {"name": name, "signal": signal.Signals(number).name}
    if before:
        return {"type": "cancelled", **told}
    return {"type": "stopping", **told, "deadline": deadline}


def _seen(stats: RunStats | None) -> dict[str, Any]:
    if stats is None:
        return {"seconds": 0.0, "bottleneck": None, "stages": [], "buffers": []}
    return {
        "seconds": stats.seconds,
        "bottleneck": stats.bottleneck,
        "stages": [_stage(stage) for stage in stats.stages],
        "buffers": [asdict(buffer) for buffer in stats.buffers],
    }


def _jsonable(result: Any) -> Any:
    try:
        return msgspec.Raw(msgspec.json.encode(result))
    except Exception:  # noqa: BLE001 - a result may be anything, and fail in any way
        return short_repr(result)


def _stage(stage: StageStats) -> dict[str, Any]:
    where = None if stage.where is None else str(stage.where)
    return {**asdict(stage), "task": stage.task + 1, "where": where}
