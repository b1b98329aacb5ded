"""A finished run, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from penstock._errors import PenstockError, describe, short_repr
from penstock._stats import StageStats
from penstock.config.errors import one_line

from .attended import Finished


def error_lines(finished: Finished) -> list[str]:
    """A line for each failure."""
    return [
        one_line(str(error) if isinstance(error, PenstockError) else describe(error))
        for error in finished.errors
    ]


def result_line(finished: Finished) -> str | None:
    """The sink's result as ``repr``, cut to 200 characters; None where there is none."""
    return None if finished.result is None else one_line(short_repr(finished.result))


def as_json(name: str, finished: Finished) -> bytes:
    """One JSON object on one line.

    Its fields are ``name``, ``outcome``, ``result`` (its ``repr`` where JSON can't hold it),
    ``error`` (null, or what failed), ``seconds``, ``bottleneck``, ``stages`` and ``buffers``.
    """
    report = finished.report
    return msgspec.json.encode(
        {
            "name": name,
            "outcome": "failed" if report is None else report.outcome,
            "result": _jsonable(finished.result),
            "error": "; ".join(error_lines(finished)) or None,
            "seconds": 0.0 if report is None else report.seconds,
            "bottleneck": None if report is None else report.bottleneck,
            "stages": [] if report is None else [_stage(stage) for stage in report.stages],
            "buffers": [] if report is None else [asdict(buffer) for buffer in report.buffers],
        }
    )


def _jsonable(result: Any) -> Any:
    try:
        return msgspec.Raw(msgspec.json.encode(result))
    except Exception:  # noqa: BLE001 - a result may be anything, and fail in any way
        return short_repr(result)


def _stage(stage: StageStats) -> dict[str, Any]:
    return {**asdict(stage), "where": None if stage.where is None else str(stage.where)}
