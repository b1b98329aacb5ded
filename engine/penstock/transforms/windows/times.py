"""What ``time=`` may give: seconds as a number, or a datetime."""

from __future__ import annotations

from datetime import datetime
from math import isfinite
from numbers import Real
from typing import Any

from ..calling import Answer


def _seconds(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"time must give a number of seconds or a datetime, but gave {value!r}")
    seconds = float(value)
    if not isfinite(seconds):
        raise ValueError(f"time must give a finite number of seconds, but gave {value!r}")
    return seconds


def _are_seconds(values: list[Any]) -> bool:
    return set(map(type, values)) == {float} and isfinite(sum(values))


TIME = Answer(_seconds, _are_seconds)
"""Checks for an answer in seconds, and gives it as a float."""
