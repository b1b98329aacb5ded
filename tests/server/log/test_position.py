"""Where a reader starts: one test a case."""

import pytest

from penstock.wire import Cursor, Gap
from penstock_server.log import Bounds, Start, gap_to_oldest, resolve

BOUNDS = Bounds(first=5, last=9, size=0, ended=False)


def start(asked: object, bounds: Bounds = BOUNDS) -> Start:
    return resolve(asked, "cpu", "now", bounds)  # type: ignore[arg-type]  # cases are a mixture


def gap(requested: str, resumed: str, missed: int | None, reason: str) -> Gap:
    return Gap("cpu", requested, resumed, missed, reason)  # type: ignore[arg-type]  # as above


def test_latest_is_after_the_newest_event() -> None:
    assert start("latest") == Start(9)


def test_earliest_is_before_the_oldest_event_and_no_gap() -> None:
    assert start("earliest") == Start(4)


@pytest.mark.parametrize("offset", [4, 5, 8, 9])
def test_a_retained_position_is_given_whole(offset: int) -> None:
    assert start(Cursor("now", offset)) == Start(offset)


@pytest.mark.parametrize(("offset", "missed"), [(0, 4), (1, 3), (3, 1)])
def test_a_trimmed_position_has_expired(offset: int, missed: int) -> None:
    assert start(Cursor("now", offset)) == Start(
        4, gap(f"now-{offset}", "now-4", missed, "expired")
    )


@pytest.mark.parametrize("offset", [0, 7, 100])
def test_another_epoch_says_nothing_of_what_was_missed(offset: int) -> None:
    asked = Cursor("then", offset)
    assert start(asked) == Start(4, gap(str(asked), "now-4", None, "epoch"))


def test_an_offset_not_reached_yet_is_another_logs() -> None:
    assert start(Cursor("now", 10)) == Start(4, gap("now-a", "now-4", None, "epoch"))


def test_a_slow_reader_goes_on_with_the_oldest() -> None:
    assert gap_to_oldest(1, "cpu", "now", BOUNDS) == Start(4, gap("now-1", "now-4", 3, "slow"))


EMPTY = Bounds(first=1, last=0, size=0, ended=False)
ALL_EXPIRED = Bounds(first=10, last=9, size=0, ended=False)


@pytest.mark.parametrize("asked", ["latest", "earliest", Cursor("now", 0)])
def test_an_empty_log_starts_at_nought(asked: object) -> None:
    assert start(asked, EMPTY) == Start(0)


@pytest.mark.parametrize("asked", ["latest", "earliest", Cursor("now", 9)])
def test_a_log_whose_events_have_all_expired_starts_at_its_end(asked: object) -> None:
    assert start(asked, ALL_EXPIRED) == Start(9)


def test_everything_expired_is_missed() -> None:
    assert start(Cursor("now", 2), ALL_EXPIRED) == Start(9, gap("now-2", "now-9", 7, "expired"))
