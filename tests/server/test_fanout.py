"""Framed once, joined once, bounded, and woken once."""

import tracemalloc
from collections import Counter
from collections.abc import Sequence

import trio
import trio.testing

from penstock.wire import End, Gap, ServerMessage
from penstock_server.fanout import PIECE_BYTES, PIECE_EVENTS, Feed, Piece, Reader, Readers, Waker
from penstock_server.log import EncodedEvent, MemoryLog, Start, StoredEvent
from penstock_server.settings import Retention


class CountingFraming:
    """Frames data as it is, and counts."""

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

    def __init__(self, *, retain: int = 100_000, retain_bytes: int = 1 << 30) -> None:
        self.framing = CountingFraming()
        self.log = MemoryLog(Retention(retain, retain_bytes), lambda: 0)
        self.feed = Feed("t", self.log, self.framing)

    def append(self, *data: bytes) -> None:
        self.log.append([EncodedEvent(each, b"") for each in data])

    def reader(self, after: int = 0, gap: Gap | None = None) -> Reader:
        return Reader(self.feed, Start(after, gap))


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
        assert {reader.next() for reader in readers} == {Piece((b"%d|" % n,), b"%d|" % n, n + 1)}
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


async def test_many_appends_are_one_wake() -> None:
    waker = Waker()
    readers, others = Readers(), Readers()
    woken: Counter[str] = Counter()
    readers.add(lambda: woken.update("a"))
    readers.add(lambda: woken.update("b"))
    others.add(lambda: woken.update("c"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waker.run)
        for _ in range(100):
            waker.due(readers)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == Counter("ab")
        waker.due(readers)
        waker.due(others)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == Counter("aabbc")
        nursery.cancel_scope.cancel()


def test_who_has_left_is_not_woken() -> None:
    readers = Readers()
    woken: list[str] = []
    leave = readers.add(lambda: woken.append("left"))
    readers.add(lambda: woken.append("stays"))
    leave()
    leave()
    assert len(readers) == 1
    readers.wake_all()
    assert woken == ["stays"]
