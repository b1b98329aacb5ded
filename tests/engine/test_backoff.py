"""Waits that grow, are bounded, and spread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock import Backoff, PenstockError


def test_bounds_grow_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(initial=0.5, maximum=30)
    assert [backoff.bound(failures) for failures in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert Backoff(initial=1, maximum=50, factor=7).bound(2) == 49


def test_a_server_that_is_away_for_days_overflows_nothing() -> None:
    assert Backoff().bound(100_000) == 30


@pytest.mark.parametrize("failures", [0, 3, 100])
def test_full_jitter_draws_from_nothing_to_the_bound(failures: int) -> None:
    backoff = Backoff()
    bound = backoff.bound(failures)
    assert [backoff.delay(failures, chance) for chance in (0.0, 0.25, 1.0)] == [0, bound / 4, bound]


def test_without_jitter_chance_has_no_say() -> None:
    backoff = Backoff(initial=2, maximum=9, jitter=False)
    assert [backoff.delay(failures, 0.1) for failures in range(4)] == [2, 4, 8, 9]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Backoff(initial=0),
        lambda: Backoff(initial=-1),
        lambda: Backoff(initial=2, maximum=1),
        lambda: Backoff(factor=0.5),
    ],
)
def test_options_that_make_no_backoff_are_refused(build: Callable[[], Backoff]) -> None:
    with pytest.raises(PenstockError, match=r"^Backoff: "):
        build()
