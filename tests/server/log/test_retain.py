"""What a log retains can be changed while it is in use."""

from __future__ import annotations

import pytest

from penstock_server.log import EncodedEvent, MemoryLog, Trimmed
from penstock_server.settings import Retention


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def events(number: int) -> list[EncodedEvent]:
    return [EncodedEvent(b"%d" % each, b"") for each in range(number)]


def offsets(log: MemoryLog) -> list[int]:
    bounds = log.bounds()
    read = log.read(bounds.first - 1, 1000)
    assert not isinstance(read, Trimmed)
    return [event.offset for event in read]


def test_less_lets_go_at_once_and_more_keeps_what_comes(clock: Clock) -> None:
    log = MemoryLog(Retention(events=10), clock)
    log.append(events(10))
    epoch = log.epoch
    log.retain(Retention(events=3))
    assert offsets(log) == [8, 9, 10]
    log.retain(Retention(events=5))
    log.append(events(4))
    assert offsets(log) == [10, 11, 12, 13, 14]
    log.retain(Retention(bytes=2))
    assert offsets(log) == [13, 14]
    assert log.epoch == epoch


def test_an_age_counts_from_when_it_was_given(clock: Clock) -> None:
    log = MemoryLog(Retention(), clock)
    log.append(events(2))
    clock.now = 100.0
    log.retain(Retention(seconds=10))
    assert offsets(log) == [1, 2]
    clock.now = 105.0
    log.append(events(1))
    clock.now = 111.0
    assert offsets(log) == [3]
    log.retain(Retention())
    log.append(events(1))
    clock.now = 1000.0
    assert offsets(log) == [3, 4]
    log.retain(Retention(seconds=1))
    log.append(events(1))
    assert offsets(log) == [3, 4, 5]
    clock.now = 1002.0
    assert offsets(log) == []


def test_the_newest_of_each_key_follow(clock: Clock) -> None:
    log = MemoryLog(Retention(events=4), clock, keyed=True)
    log.append([EncodedEvent(b"1", b"", key=key) for key in "abcd"])
    log.retain(Retention(events=1))
    assert offsets(log) == [4]
    log.append([EncodedEvent(b"2", b"", key="d")])
    newest = log.newest(3, 10)
    assert not isinstance(newest, Trimmed)
    assert [event.key for event in newest] == ["d"]
    assert isinstance(log.newest(0, 10), Trimmed)
