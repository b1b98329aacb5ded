"""`MemoryLog`: what is kept, for how long, and who hears of it."""

import tracemalloc

import pytest
import trio
import trio.testing

from penstock_server.log import Bounds, EncodedEvent, MemoryLog, StoredEvent, Trimmed
from penstock_server.settings import Retention


def event(text: str, size: int = 2) -> EncodedEvent:
    """An event that takes `size` bytes in a log."""
    return EncodedEvent(text.encode().ljust(size - 1), b".", None)


def make(events: int = 100, size: int = 10_000, seconds: float | None = None) -> MemoryLog:
    return MemoryLog(Retention(events, size, seconds), trio.current_time)


def offsets(read: list[StoredEvent] | Trimmed) -> list[int]:
    assert not isinstance(read, Trimmed)
    return [each.offset for each in read]


def test_an_empty_log() -> None:
    log = make()
    assert log.bounds() == Bounds(first=1, last=0, size=0, ended=False)
    assert log.read(0, 10) == []


def test_offsets_are_counted_from_one() -> None:
    log = make()
    assert log.append([event("a"), event("b")]) == 2
    assert log.append([event("c")]) == 3
    assert offsets(log.read(0, 10)) == [1, 2, 3]


def test_appending_nothing_changes_nothing() -> None:
    log = make()
    heard: list[str] = []
    log.watch(lambda: heard.append("woken"))
    log.append([event("a")])
    assert log.append([]) == 1
    assert heard == ["woken"]


def test_what_is_read_is_what_was_appended() -> None:
    log = make()
    log.append([EncodedEvent(b'{"n":1}', b"\x81\xa1n\x01", "tick")])
    assert log.read(0, 1) == [StoredEvent(1, b'{"n":1}', b"\x81\xa1n\x01", "tick")]


def test_reading_is_bounded_and_begins_after_the_offset() -> None:
    log = make()
    log.append([event(str(n)) for n in range(10)])
    assert offsets(log.read(3, 4)) == [4, 5, 6, 7]
    assert log.read(10, 4) == []
    assert log.read(99, 4) == []


def test_the_number_of_events_is_bounded() -> None:
    log = make(events=3)
    log.append([event(str(n)) for n in range(5)])
    assert log.bounds() == Bounds(first=3, last=5, size=6, ended=False)
    assert offsets(log.read(2, 10)) == [3, 4, 5]
    assert log.read(1, 10) == Trimmed(3)


def test_the_bytes_are_bounded() -> None:
    log = make(size=10)
    log.append([event("a", 4), event("b", 4), event("c", 4)])
    assert log.bounds() == Bounds(first=2, last=3, size=8, ended=False)


def test_the_newest_event_is_kept_however_big() -> None:
    log = make(size=10)
    log.append([event("a", 4)])
    log.append([event("b", 50)])
    assert log.bounds() == Bounds(first=2, last=2, size=50, ended=False)
    log.append([event("c", 4)])
    assert log.bounds() == Bounds(first=3, last=3, size=4, ended=False)


async def test_the_age_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    log = make(seconds=10)
    log.append([event("a")])
    await trio.sleep(6)
    log.append([event("b")])
    await trio.sleep(4)
    assert offsets(log.read(0, 10)) == [1, 2]
    await trio.sleep(1)
    assert log.read(0, 10) == Trimmed(2)
    assert log.bounds() == Bounds(first=2, last=2, size=2, ended=False)
    await trio.sleep(10)
    assert log.bounds() == Bounds(first=3, last=2, size=0, ended=False)
    assert log.append([event("c")]) == 3
    assert offsets(log.read(2, 10)) == [3]


async def test_the_clock_is_asked_only_where_age_counts() -> None:
    def clock() -> float:
        raise AssertionError("asked")

    log = MemoryLog(Retention(2, 100, None), clock)
    log.append([event(str(n)) for n in range(5)])
    assert offsets(log.read(3, 10)) == [4, 5]


def test_places_are_right_after_many_compactions() -> None:
    log = make(events=7)
    for n in range(1, 1000):
        assert log.append([event(str(n))]) == n
        read = log.read(max(0, n - 7), 100)
        assert not isinstance(read, Trimmed)
        assert [each.json.strip() for each in read] == [
            str(kept).encode() for kept in range(max(1, n - 6), n + 1)
        ]


def test_events_let_go_take_no_memory() -> None:
    size = 100_000
    log = make(events=1000, size=2 * size)
    tracemalloc.start()
    try:
        for _ in range(60):
            log.append([EncodedEvent(bytes(size), b"", None)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3 * size


def test_a_finished_log_can_be_read_and_takes_no_more() -> None:
    log = make()
    log.append([event("a")])
    log.finish()
    assert log.bounds() == Bounds(first=1, last=1, size=2, ended=True)
    assert offsets(log.read(0, 10)) == [1]
    with pytest.raises(ValueError, match="has ended"):
        log.append([event("b")])


def test_watchers_hear_of_each_append_and_of_the_end_until_they_stop() -> None:
    log = make()
    heard: list[str] = []
    stop_first = log.watch(lambda: heard.append("first"))
    log.watch(lambda: heard.append("second"))
    log.append([event("a"), event("b")])
    assert heard == ["first", "second"]
    stop_first()
    stop_first()
    log.finish()
    assert heard == ["first", "second", "second"]


def test_a_watcher_may_stop_watching_while_it_is_called() -> None:
    log = make()
    heard: list[int] = []

    def once() -> None:
        heard.append(log.bounds().last)
        stop()

    stop = log.watch(once)
    log.watch(lambda: heard.append(0))
    log.append([event("a")])
    log.append([event("b")])
    assert heard == [1, 0, 0]


def test_every_log_has_an_epoch_of_its_own() -> None:
    epochs = {make().epoch for _ in range(100)}
    assert len(epochs) == 100
