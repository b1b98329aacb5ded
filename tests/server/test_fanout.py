"""Framed once, joined once, bounded, and woken once."""

import gc
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
import trio
import trio.testing

from penstock.wire import End, Gap, ServerMessage
from penstock_server.fanout import (
    PIECE_BYTES,
    PIECE_EVENTS,
    Delivery,
    Form,
    Lane,
    Reader,
    Slow,
    Waker,
    milder_or_same,
)
from penstock_server.log import EncodedEvent, MemoryLog, Start, StoredEvent
from penstock_server.settings import Retention


class CountingFraming:
    """Frames data as it is, and counts."""

    transport = "sse"

    def __init__(self) -> None:
        self.framed: Counter[int] = Counter()
        self.joined = 0
        self.messages: list[ServerMessage] = []

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002 - the protocol's name
        self.framed[event.offset] += 1
        return event.json + b"|"

    def message(self, message: ServerMessage) -> bytes:
        self.messages.append(message)
        return type(message).__name__.encode() + b"|"

    def join(self, framed: Sequence[bytes]) -> bytes:
        self.joined += 1
        return b"".join(framed)


class Bench:
    """A log with a feed over it."""

    def __init__(
        self,
        *,
        retain: int = 100_000,
        retain_bytes: int = 1 << 30,
        keyed: bool = False,
        max_lag: int = 1000,
    ) -> None:
        self.framing = CountingFraming()
        self.log = MemoryLog(Retention(retain, retain_bytes), lambda: 0, keyed=keyed)
        self.delivery = Delivery("t", self.log, max_lag=max_lag)

    def append_keyed(self, *events: tuple[str, bytes]) -> None:
        self.log.append([EncodedEvent(data, b"", None, key) for key, data in events])

    def append(self, *data: bytes) -> None:
        self.log.append([EncodedEvent(each, b"") for each in data])

    def reader(self, after: int = 0, gap: Gap | None = None) -> Reader:
        return self.delivery.join(self.framing, Start(after, gap))


def read(reader: Reader) -> list[bytes]:
    """All that is there now, piece by piece."""
    pieces: list[bytes] = []
    while (piece := reader.next()) is not None:
        pieces.append(piece.joined)
    return pieces


def test_each_event_is_framed_once_however_many_readers() -> None:
    bench = Bench()
    readers = [bench.reader() for _ in range(50)]
    for n in range(20):
        bench.append(b"%d" % n)
        (piece,) = {reader.next() for reader in readers}
        assert piece is not None
        assert (piece.framed, piece.joined, piece.upto) == ((b"%d|" % n,), b"%d|" % n, n + 1)
    assert bench.framing.framed == Counter(range(1, 21))
    assert bench.framing.joined == 20


def test_equal_ranges_are_the_same_bytes() -> None:
    bench = Bench()
    bench.append(b"a", b"b")
    one, other = bench.reader().next(), bench.reader().next()
    assert one is not None
    assert one is other


def test_readers_at_different_places_share_frames() -> None:
    bench = Bench()
    bench.append(b"a", b"b", b"c")
    assert read(bench.reader(0)) == [b"a|b|c|"]
    assert read(bench.reader(1)) == [b"b|c|"]
    assert read(bench.reader(2)) == [b"c|"]
    assert bench.framing.framed == Counter([1, 2, 3])


def test_a_piece_is_bounded_in_events() -> None:
    bench = Bench()
    bench.append(*[b"x"] * (2 * PIECE_EVENTS + 5))
    assert [len(piece) for piece in read(bench.reader())] == [
        2 * PIECE_EVENTS,
        2 * PIECE_EVENTS,
        10,
    ]


def test_a_piece_is_bounded_in_bytes() -> None:
    bench = Bench()
    third = b"x" * (PIECE_BYTES // 3)
    bench.append(*[third] * 5)
    sizes = [len(piece) // len(third) for piece in read(bench.reader())]
    assert sizes == [2, 2, 1]
    assert bench.framing.framed == Counter(range(1, 6))


def test_an_event_bigger_than_a_piece_comes_alone() -> None:
    bench = Bench()
    big = b"x" * (2 * PIECE_BYTES)
    bench.append(b"a", big, b"b")
    assert read(bench.reader()) == [b"a|", big + b"|", b"b|"]


def test_what_a_feed_keeps_is_bounded_in_bytes() -> None:
    size = PIECE_BYTES
    bench = Bench(retain=2)
    reader = bench.reader()
    tracemalloc.start()
    try:
        for _ in range(60):
            bench.append(bytes(size))
            assert reader.next() is not None
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 16 * size


def test_a_gap_comes_first_and_once() -> None:
    bench = Bench()
    bench.append(b"a")
    gap = Gap("t", "x-1", "y-0", None, "epoch")
    assert read(bench.reader(0, gap)) == [b"Gap|", b"a|"]
    assert bench.framing.messages == [gap]


def test_a_reader_that_was_too_slow_is_told_once() -> None:
    bench = Bench(retain=2)
    reader = bench.reader()
    bench.append(b"a")
    assert read(reader) == [b"a|"]
    bench.append(b"b", b"c", b"d", b"e")
    assert reader.lag == 4
    assert read(reader) == [b"Gap|", b"d|e|"]
    epoch = bench.log.epoch
    assert bench.framing.messages == [Gap("t", f"{epoch}-1", f"{epoch}-3", 2, "slow")]
    assert (reader.lag, reader.cursor) == (0, f"{epoch}-5")


def test_the_end_is_told_once_after_all_events() -> None:
    bench = Bench()
    reader = bench.reader()
    bench.append(b"a")
    bench.log.finish()
    assert not reader.end_told
    assert read(reader) == [b"a|", b"End|"]
    assert reader.end_told
    assert read(reader) == []
    assert bench.framing.messages == [End("t", f"{bench.log.epoch}-1")]


def test_up_to_date_is_nothing_to_send() -> None:
    bench = Bench()
    bench.append(b"a")
    assert bench.reader(1).next() is None


@pytest.mark.usefixtures("autojump_clock")
async def test_many_appends_are_one_wake() -> None:
    waker = Waker()
    bench, other = Bench(), Bench()
    bench.delivery.on_due = other.delivery.on_due = waker.due
    woken: Counter[str] = Counter()
    for name in "ab":
        bench.delivery.join(bench.framing, Start(0), wake=partial(woken.update, name))
    other.delivery.join(other.framing, Start(0), wake=lambda: woken.update("c"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waker.run)
        for _ in range(100):
            bench.append(b"x")
        await trio.sleep(1)  # by the mock clock: when there is nothing left to do
        assert woken == Counter("ab")
        bench.append(b"x")
        other.append(b"x")
        await trio.sleep(1)  # by the mock clock: when there is nothing left to do
        assert woken == Counter("aabbc")
        nursery.cancel_scope.cancel()


async def test_who_has_left_is_not_woken() -> None:
    bench = Bench()
    woken: list[str] = []
    left = bench.delivery.join(bench.framing, Start(0), wake=lambda: woken.append("left"))
    bench.delivery.join(bench.framing, Start(0), wake=lambda: woken.append("stays"))
    bench.delivery.leave(left)
    bench.delivery.leave(left)
    bench.delivery.begin()
    assert woken == ["stays"]


class NoSink:
    """A sink that nothing is written to."""

    def send(self, data: bytes) -> int:
        raise AssertionError(data)

    def owe(self, rest: bytes) -> None:
        raise AssertionError(rest)

    def boarded(self, lane: Lane) -> None:
        raise AssertionError(lane)

    def alighted(self, lane: Lane) -> None:
        raise AssertionError(lane)


def test_a_feed_without_readers_keeps_nothing() -> None:
    bench = Bench()
    one, other = bench.reader(), bench.reader()
    feed = one.feed
    bench.append(b"x" * 1000)
    form = Form("plain", lambda piece: piece.joined)
    assert not bench.delivery.board(other, form, NoSink()), "it is behind"
    assert read(one)
    bench.delivery.leave(one)
    bench.delivery.leave(one)
    assert bench.reader().feed is feed, "others still read it"
    for reader in (other, *bench.delivery.behind):
        bench.delivery.leave(reader)
    assert feed._frames.get(1) is None, "at once, whoever still refers to it"
    gone = weakref.ref(feed)
    del feed, one, other, reader
    gc.collect()
    assert gone() is None


# Conflating


def test_a_conflating_reader_gets_the_newest_of_each_key() -> None:
    bench = Bench(keyed=True)
    reader = bench.delivery.join(bench.framing, Start(0), slow="conflate")
    bench.append_keyed(("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", b"4"), ("b", b"5"))
    piece = reader.next()
    assert piece is not None
    assert (piece.joined, piece.upto, piece.events, piece.replaced) == (b"3|4|5|", 5, 3, 2)
    assert reader.next() is None


def test_conflated_without_a_key_is_the_newest_event() -> None:
    bench = Bench()
    reader = bench.delivery.join(bench.framing, Start(0), slow="conflate")
    bench.append(b"1", b"2", b"3")
    assert read(reader) == [b"3|"]
    bench.append(b"4")
    assert read(reader) == [b"4|"]


def test_a_key_that_changes_seldom_is_not_lost_with_what_is_trimmed() -> None:
    bench = Bench(retain=2, keyed=True)
    reader = bench.delivery.join(bench.framing, Start(0), slow="conflate")
    bench.append_keyed(("rare", b"1"), ("a", b"2"), ("a", b"3"), ("a", b"4"))
    assert read(reader) == [b"1|4|"]
    assert bench.framing.messages == []


def test_a_key_that_had_to_go_is_a_gap() -> None:
    bench = Bench(retain=1, keyed=True)
    reader = bench.delivery.join(bench.framing, Start(0), slow="conflate")
    bench.append_keyed(("a", b"1"), ("b", b"2"), ("c", b"3"), ("d", b"4"))
    assert read(reader) == [b"Gap|", b"3|4|"]
    epoch = bench.log.epoch
    assert bench.framing.messages == [Gap("t", f"{epoch}-0", f"{epoch}-2", None, "slow")]


def test_conflating_readers_share_a_feed_of_their_own() -> None:
    bench = Bench()
    plain = bench.delivery.join(bench.framing, Start(0))
    one, other = (bench.delivery.join(bench.framing, Start(0), slow="conflate") for _ in range(2))
    assert one.feed is other.feed
    assert one.feed is not plain.feed


# Too slow


def test_a_reader_is_given_up_once_it_is_max_lag_behind() -> None:
    bench = Bench(max_lag=3)
    given_up: list[int] = []
    reader = bench.delivery.join(
        bench.framing, Start(0), slow="disconnect", give_up=lambda: given_up.append(1)
    )
    bench.append(b"1", b"2", b"3")
    bench.delivery.begin()
    assert not given_up
    bench.append(b"4")
    bench.delivery.begin()
    assert given_up == [1]
    assert reader.lag == 4


def test_a_reader_with_an_old_cursor_may_catch_up() -> None:
    bench = Bench(max_lag=1)
    bench.append(*[b"x"] * 10)
    given_up: list[int] = []
    reader = bench.delivery.join(
        bench.framing, Start(2), slow="disconnect", give_up=lambda: given_up.append(1)
    )
    bench.delivery.begin()
    assert not given_up, "it is as far behind as it began"
    bench.append(b"x")
    bench.delivery.begin()
    assert given_up == [1], "it falls further behind"
    assert read(reader)
    bench.append(b"x", b"x")
    bench.delivery.begin()
    assert given_up == [1, 1], "once it was up to date, max_lag counts"


@pytest.mark.parametrize(
    ("asked", "own", "granted"),
    [
        ("skip", "skip", True),
        ("conflate", "skip", True),
        ("disconnect", "skip", False),
        ("block", "skip", False),
        ("block", "block", True),
        ("disconnect", "block", True),
        ("skip", "disconnect", True),
        ("skip", "conflate", False),
        ("conflate", "conflate", True),
    ],
)
def test_only_milder_policies_are_granted(asked: Slow, own: Slow, granted: bool) -> None:
    assert milder_or_same(asked, own) is granted
