"""How long to wait before another attempt."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from penstock import Backoff
from penstock.net.waiting import LONGEST_WAIT, retry_after_seconds, wait_for

STEADY = Backoff(initial=2.0, maximum=2.0, jitter=False)
RANDOM = Backoff(initial=2.0, maximum=2.0)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [(0.0, 2.0), (1.0, 2.0), (5.0, 5.0), (-5.0, 2.0), (math.nan, 2.0), (1e9, LONGEST_WAIT)],
)
def test_the_wait_is_as_long_as_the_server_asks_for_within_reason(
    asked: float, wait: float
) -> None:
    assert wait_for(asked, STEADY, 0, 0.5) == wait


def test_jitter_comes_on_top_of_what_the_server_asks_for() -> None:
    assert wait_for(5.0, RANDOM, 0, 0.5) == 5.0 + RANDOM.delay(0, 0.5)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("7", 7),
        (" 0 ", 0),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Thu, 01 Jan 2026 00:01:30", 90),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0),
        ("-3", 0),
        ("soon", 0),
        ("²", 0),
    ],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    assert retry_after_seconds(value, datetime(2026, 1, 1, tzinfo=UTC)) == seconds
