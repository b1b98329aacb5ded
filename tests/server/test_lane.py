"""Lanes: all who ride get the same bytes, and who can't take them leaves with the rest."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from math import inf

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.wire import End, Gap, ServerMessage
from penstock_server.compression import Checksum
from penstock_server.fanout import (
    LANE_READERS,
    Delivery,
    Form,
    Framing,
    Lane,
    Piece,
    Reader,
    Slow,
    Waker,
)
from penstock_server.log import EncodedEvent, MemoryLog, Start, StoredEvent
from penstock_server.settings import Retention

PLAIN = Form("plain", lambda piece: piece.joined)
QUOTED = Form("quoted", lambda piece: b"'%b'" % piece.joined)
CHECKED = Form("checked", lambda piece: piece.joined, checked=True)
FRAMED = Form("framed", lambda piece: piece.joined, framed=True)


class BarFraming:
    """Data as it is, and a bar; messages by their names."""

    transport = "sse"

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002 - the protocol's name
        return event.json + b"|"

    def message(self, message: ServerMessage) -> bytes:
        if isinstance(message, Gap):
            return b"Gap %b|" % str(message.missed).encode()
        return type(message).__name__.encode() + b"|"

    def join(self, framed: Sequence[bytes]) -> bytes:
        return b"".join(framed)


class Rider:
    """A connection: a socket with a buffer of so many bytes, and the task that serves it."""

    def __init__(self, delivery: Delivery, framing: Framing, slow: Slow = "skip") -> None:
        self.got = b""
        self.room: float = inf
        self.broken = False
        self.owed = b""
        self.wakes = 0
        self.writes = 0
        self.gave_up = False
        self.check = Checksum()
        self._boarded_at = Checksum()
        self.delivery = delivery
        last = delivery.log.bounds().last
        self.reader: Reader = delivery.join(
            framing, Start(last, None), slow=slow, wake=self._wake, give_up=self._give_up
        )

    def _wake(self) -> None:
        self.wakes += 1

    def _give_up(self) -> None:
        self.gave_up = True

    # As a sink

    @property
    def send(self) -> Callable[[bytes], int]:
        return self._send

    def _send(self, data: bytes) -> int:
        assert not self.owed, "nothing may be written before what is owed"
        self.writes += 1
        if self.broken:
            raise BrokenPipeError
        if not self.room:
            raise BlockingIOError
        taken = data[: len(data) if self.room == inf else int(self.room)]
        self.room -= len(taken)
        self.got += taken
        return len(taken)

    def owe(self, rest: bytes) -> None:
        assert rest
        self.owed = rest
        self.delivery.alight(self.reader)

    def boarded(self, lane: Lane) -> None:
        self._boarded_at = lane.check.copy()

    def alighted(self, lane: Lane) -> None:
        self.check.extend(lane.check.since(self._boarded_at))

    # Its own task's work

    def recover(self) -> None:
        """The peer reads again: first what is owed, then whatever there is."""
        self.room = inf
        self.got += self.owed
        self.owed = b""
        while (piece := self.reader.next()) is not None:
            self.got += piece.joined


class Bench:
    """A topic's delivery, with nobody in it."""

    def __init__(
        self,
        *,
        retain: int = 10_000,
        retain_bytes: int = 1 << 30,
        seconds: float | None = None,
        batch: int = 1000,
        patience: int = 512,
        keyed: bool = False,
        max_lag: int = 1000,
    ) -> None:
        self.framing = BarFraming()
        self.log = MemoryLog(
            Retention(retain, retain_bytes, seconds), trio.current_time, keyed=keyed
        )
        self.delivery = Delivery(
            "t",
            self.log,
            batch=batch,
            patience=patience,
            patience_bytes=retain_bytes // 2,
            max_lag=max_lag,
        )
        self.due: list[Delivery] = []
        self.delivery.on_due = self.due.append

    def append(self, *data: str, key: str | None = None) -> None:
        self.log.append([EncodedEvent(each.encode(), b"", None, key) for each in data])

    def rider(self, form: Form = PLAIN, *, slow: Slow = "skip") -> Rider:
        """One that rides from the start."""
        rider = Rider(self.delivery, self.framing, slow)
        assert self.delivery.board(rider.reader, form, rider)
        return rider

    def serve(self) -> None:
        """What the waker does, in one go."""
        self.delivery.begin()
        for lane in self.delivery.lanes:
            while self.delivery.step(lane):
                pass


def bars(*numbers: int) -> bytes:
    return b"".join(b"%d|" % number for number in numbers)


# Riding


async def test_all_who_ride_get_the_same_bytes_without_being_woken() -> None:
    bench = Bench()
    riders = [bench.rider() for _ in range(5)]
    assert len(bench.delivery.lanes) == 1
    bench.append("1")
    bench.append("2", "3")
    bench.serve()
    bench.append("4")
    bench.serve()
    for rider in riders:
        assert rider.got == bars(1, 2, 3, 4)
        assert (rider.writes, rider.wakes) == (2, 0)
        assert (rider.reader.position, rider.reader.lag) == (4, 0)


async def test_who_rides_is_given_to_no_task() -> None:
    bench = Bench()
    rider = bench.rider()
    assert bench.delivery.behind == []
    with pytest.raises(AssertionError, match="lane"):
        rider.reader.next()
    bench.delivery.alight(rider.reader)
    assert bench.delivery.behind == [rider.reader]
    assert bench.delivery.lanes == []


async def test_each_form_has_a_lane_of_its_own() -> None:
    bench = Bench()
    plain, quoted = bench.rider(PLAIN), bench.rider(QUOTED)
    assert len(bench.delivery.lanes) == 2
    bench.append("1")
    bench.serve()
    assert (plain.got, quoted.got) == (b"1|", b"'1|'")


async def test_a_piece_is_put_in_a_form_once_for_all_lanes() -> None:
    made: list[Piece] = []

    def make(piece: Piece) -> bytes:
        made.append(piece)
        return piece.joined

    form = Form("counted", make)
    bench = Bench()
    riders = [bench.rider(form) for _ in range(LANE_READERS + 1)]
    assert len(bench.delivery.lanes) == 2
    bench.append("1")
    bench.serve()
    assert len(made) == 1
    assert {rider.got for rider in riders} == {b"1|"}


async def test_who_is_behind_boards_no_lane() -> None:
    bench = Bench()
    rider = Rider(bench.delivery, bench.framing)
    bench.append("1")
    assert not bench.delivery.board(rider.reader, PLAIN, rider)
    rider.recover()
    assert bench.delivery.board(rider.reader, PLAIN, rider)
    assert bench.delivery.board(rider.reader, PLAIN, rider), "boarding twice is boarding once"
    bench.append("2")
    bench.serve()
    assert rider.got == bars(1, 2)


async def test_who_is_as_far_as_a_lane_boards_it_though_events_are_due() -> None:
    bench = Bench()
    first, second = bench.rider(), Rider(bench.delivery, bench.framing)
    bench.append("1")
    assert bench.delivery.board(second.reader, PLAIN, second)
    bench.serve()
    assert first.got == second.got == b"1|"


async def test_who_has_something_to_be_told_boards_no_lane() -> None:
    bench = Bench()
    gap = Gap("t", "x-1", "y-0", None, "epoch")
    reader = bench.delivery.join(bench.framing, Start(0, gap))
    assert not bench.delivery.board(reader, PLAIN, bench.rider())
    assert reader.next() is not None
    assert bench.delivery.board(reader, PLAIN, bench.rider())


async def test_who_leaves_gets_nothing_more() -> None:
    bench = Bench()
    left, stays = bench.rider(), bench.rider()
    bench.delivery.leave(left.reader)
    bench.delivery.leave(left.reader)
    bench.append("1")
    bench.serve()
    assert (left.got, stays.got) == (b"", b"1|")
    bench.delivery.leave(stays.reader)
    assert (bench.delivery.lanes, bench.delivery.behind) == ([], [])


# Sockets that take less


@pytest.mark.parametrize("room", range(6))
async def test_what_a_socket_does_not_take_leaves_the_lane_with_it(room: int) -> None:
    bench = Bench()
    slow, prompt = bench.rider(), bench.rider()
    slow.room = room
    bench.append("100")
    bench.append("101")
    bench.serve()
    whole = bars(100, 101)
    assert slow.got == whole[:room]
    assert slow.owed == whole[room:]
    assert bench.delivery.behind == [slow.reader]
    assert slow.reader.position == 2, "what is owed counts as read"
    bench.append("102")
    bench.serve()
    assert (prompt.got, prompt.wakes) == (bars(100, 101, 102), 0)
    assert slow.writes == 1, "the lane has let go of it"
    slow.recover()
    assert slow.got == prompt.got
    assert bench.delivery.board(slow.reader, PLAIN, slow)
    assert len(bench.delivery.lanes) == 1, "it is where the others are"


async def test_a_lane_whose_last_rider_blocks_is_closed() -> None:
    bench = Bench()
    riders = [bench.rider() for _ in range(3)]
    for rider in riders:
        rider.room = 1
    bench.append("1")
    bench.append("2")
    bench.serve()
    assert bench.delivery.lanes == []
    assert set(bench.delivery.behind) == {rider.reader for rider in riders}


async def test_a_broken_socket_bothers_nobody() -> None:
    bench = Bench()
    broken, fine = bench.rider(), bench.rider()
    broken.broken = True
    for number in range(3):
        bench.append(str(number))
        bench.serve()
    assert (broken.got, fine.got) == (b"", bars(0, 1, 2))


async def test_a_lane_goes_on_piece_by_piece_without_the_slow() -> None:
    bench = Bench(batch=2)
    slow, prompt = bench.rider(), bench.rider()
    slow.room = 5
    bench.append(*"12345")
    bench.serve()
    assert (prompt.got, prompt.writes) == (bars(1, 2, 3, 4, 5), 3)
    assert (slow.got, slow.owed, slow.reader.position) == (b"1|2|3", b"|4|", 4)
    slow.recover()
    assert slow.got == prompt.got


async def test_the_checksum_of_who_rides_is_of_what_it_got() -> None:
    bench = Bench()
    early = bench.rider(CHECKED)
    bench.append("1")
    bench.serve()
    late = bench.rider(CHECKED)
    bench.append("2")
    bench.serve()
    late.room = 1
    bench.append("3")
    bench.serve()
    bench.append("4")
    bench.serve()
    bench.delivery.alight(early.reader)
    assert (early.check.crc, early.check.size) == (zlib.crc32(bars(1, 2, 3, 4)), 8)
    assert late.check.crc == zlib.crc32(late.got + late.owed) == zlib.crc32(bars(2, 3))


# The end, and what is gone


async def test_the_end_makes_all_alight_and_is_told_by_their_tasks() -> None:
    bench = Bench()
    riders = [bench.rider() for _ in range(3)]
    bench.append("1")
    bench.log.finish()
    bench.serve()
    assert bench.delivery.lanes == []
    for rider in riders:
        assert (rider.got, rider.wakes) == (b"1|", 1)
        rider.recover()
        assert rider.got == b"1|End|"
        assert rider.reader.end_told
        assert not bench.delivery.board(rider.reader, PLAIN, rider) or rider.reader.lag == 0


async def test_what_is_gone_makes_all_alight_and_be_told() -> None:
    bench = Bench(retain=3, patience=1000)
    riders = [bench.rider() for _ in range(3)]
    bench.append(*"12345678")
    bench.serve()
    assert bench.delivery.lanes == []
    for rider in riders:
        assert (rider.got, rider.wakes) == (b"", 1)
        rider.recover()
        assert rider.got == b"Gap 5|" + bars(6, 7, 8)


# Many


async def test_a_lane_has_a_bounded_number_of_readers() -> None:
    bench = Bench()
    riders = [bench.rider() for _ in range(2 * LANE_READERS + 7)]
    assert sorted(map(len, bench.delivery.lanes)) == [7, LANE_READERS, LANE_READERS]
    bench.append("1")
    bench.serve()
    assert {rider.got for rider in riders} == {b"1|"}


async def test_small_lanes_at_one_position_are_merged() -> None:
    bench = Bench()
    riders = [bench.rider(CHECKED) for _ in range(LANE_READERS + 5)]
    bench.append("1")
    bench.serve()
    for rider in riders[: LANE_READERS // 2]:
        bench.delivery.leave(rider.reader)
    assert len(bench.delivery.lanes) == 2
    bench.delivery.merge()
    (lane,) = bench.delivery.lanes
    assert len(lane) == LANE_READERS + 5 - LANE_READERS // 2
    bench.append("2")
    bench.serve()
    for rider in riders[LANE_READERS // 2 :]:
        assert rider.got == bars(1, 2)
        bench.delivery.alight(rider.reader)
        assert rider.check.crc == zlib.crc32(rider.got)


async def test_lanes_at_other_positions_and_in_other_forms_are_not_merged() -> None:
    bench = Bench(patience=1000)
    behind = bench.rider()
    bench.append("1")
    other = Rider(bench.delivery, bench.framing)
    other.recover()
    assert bench.delivery.board(other.reader, PLAIN, other)
    quoted = Rider(bench.delivery, bench.framing)
    assert bench.delivery.board(quoted.reader, QUOTED, quoted)
    bench.delivery.merge()
    assert len(bench.delivery.lanes) == 3
    bench.serve()
    bench.delivery.merge()
    assert len(bench.delivery.lanes) == 2
    bench.append("2")
    bench.serve()
    assert (behind.got, other.got, quoted.got) == (bars(1, 2), b"2|", b"'2|'")


async def test_lanes_that_meet_behind_another_one_are_merged() -> None:
    bench = Bench(patience=1000)
    full = [bench.rider() for _ in range(LANE_READERS)]
    bench.rider()
    second = bench.delivery.lanes[1]
    bench.append("1")
    ahead = Rider(bench.delivery, bench.framing)
    assert bench.delivery.board(ahead.reader, PLAIN, ahead)
    while bench.delivery.step(second):
        pass
    bench.delivery.merge()
    assert sorted(map(len, bench.delivery.lanes)) == [2, LANE_READERS]
    bench.serve()
    assert {rider.got for rider in full} == {b"1|"}


# Signs of life


async def test_an_idle_lane_gets_a_sign_of_life(autojump_clock: MockClock) -> None:
    bench = Bench()
    idle, websocket = bench.rider(), bench.rider(FRAMED)
    await trio.sleep(10)
    bench.delivery.keep_alive(trio.current_time() - 15)
    assert idle.got == b""
    await trio.sleep(5)
    bench.delivery.keep_alive(trio.current_time() - 15)
    assert idle.got == b"Keepalive|"
    assert websocket.got == b"", "it has a heartbeat of its own"
    bench.delivery.keep_alive(trio.current_time() - 15)
    assert idle.got == b"Keepalive|"
    bench.append("1")
    await trio.sleep(14)
    bench.serve()
    await trio.sleep(14)
    bench.delivery.keep_alive(trio.current_time() - 15)
    assert idle.got == b"Keepalive|1|", "an event is a sign of life, too"


async def test_a_sign_of_life_that_blocks_is_owed(autojump_clock: MockClock) -> None:
    bench = Bench()
    slow, prompt = bench.rider(CHECKED), bench.rider(CHECKED)
    slow.room = 4
    await trio.sleep(15)
    bench.delivery.keep_alive(trio.current_time() - 15)
    bench.append("1")
    bench.serve()
    assert (slow.got, slow.owed) == (b"Keep", b"alive|")
    slow.recover()
    assert slow.got == prompt.got == b"Keepalive|1|"
    assert slow.check.crc == zlib.crc32(b"Keepalive|")


# A producer that gives nobody a turn


@pytest.mark.parametrize("retain", [1, 2, 3, 10, 64])
@pytest.mark.parametrize("together", [1, 3, 7])
async def test_who_rides_misses_nothing_of_a_long_turn(retain: int, together: int) -> None:
    """As `Topic` sets it: half of what is retained. No append is by itself more than that."""
    together = min(together, max(1, retain // 2))
    bench = Bench(retain=retain, patience=retain // 2)
    riders = [bench.rider() for _ in range(3)]
    numbers = list(range(10 * retain + 50))
    for start in range(0, len(numbers), together):
        bench.append(*map(str, numbers[start : start + together]))
    bench.serve()
    for rider in riders:
        assert rider.got == bars(*numbers)
        assert rider.wakes == 0


@pytest.mark.parametrize("retain_bytes", [100, 1_000, 10_000])
async def test_nor_where_bytes_are_what_is_retained(retain_bytes: int) -> None:
    bench = Bench(retain_bytes=retain_bytes)
    riders = [bench.rider() for _ in range(3)]
    numbers = list(range(1_000, 3_000))
    for number in numbers:
        bench.append(str(number))
    bench.serve()
    for rider in riders:
        assert rider.got == bars(*numbers)
        assert rider.writes < len(numbers) / (retain_bytes // 50)


async def test_what_expires_is_no_reason_to_write_at_once(autojump_clock: MockClock) -> None:
    bench = Bench(seconds=1)
    rider = bench.rider()
    for number in range(20):
        bench.append(str(number))
        assert rider.writes == number
        bench.serve()
        await trio.sleep(2)
    assert rider.got == bars(*range(20))


async def test_what_is_appended_while_lanes_are_served_is_not_missed() -> None:
    bench = Bench(retain=20, patience=10)
    riders = [bench.rider() for _ in range(2 * LANE_READERS)]
    numbers = iter(range(1000))
    sent: list[int] = []

    def append(count: int) -> None:
        for _ in range(count):
            sent.append(next(numbers))
            bench.append(str(sent[-1]))

    for _ in range(10):
        append(8)
        bench.delivery.begin()
        bench.delivery.step(bench.delivery.lanes[0])
        append(8)
        bench.delivery.begin()
    bench.serve()
    assert {rider.got for rider in riders} == {bars(*sent)}


async def test_a_long_turn_is_told_to_others_once() -> None:
    bench = Bench(patience=5)
    bench.rider()
    waits = Rider(bench.delivery, bench.framing)
    for number in range(100):
        bench.append(str(number))
    assert len(bench.due) == 1
    bench.serve()
    assert waits.wakes == 1


# Served by the waker


async def test_the_waker_serves_all_lanes_of_all_that_is_due() -> None:
    benches = [Bench(batch=3) for _ in range(3)]
    waker = Waker()
    riders: list[Rider] = []
    for bench in benches:
        bench.delivery.on_due = waker.due
        riders += [bench.rider(form) for form in (PLAIN, CHECKED) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waker.run)
        for bench in benches:
            bench.append(*map(str, range(10)))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert {rider.got for rider in riders} == {bars(*range(10))}


async def test_others_have_their_turn_between_lanes() -> None:
    bench = Bench(batch=1)
    waker = Waker()
    bench.delivery.on_due = waker.due
    riders = [bench.rider() for _ in range(LANE_READERS)]
    turns: list[int] = []

    async def watch() -> None:
        while not riders[0].got.endswith(bars(9)):
            turns.append(len(riders[0].got))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waker.run)
        bench.append(*map(str, range(10)))
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(set(turns)) >= 5


async def test_what_was_delivered_is_told(autojump_clock: MockClock) -> None:
    bench = Bench()
    told: list[tuple[int, int, int, float | None]] = []
    moved: list[int] = []
    bench.delivery.on_delivered = lambda framing, piece, size, readers, age: told.append(
        (piece.events, size, readers, age)
    )
    bench.delivery.on_moved = lambda: moved.append(1)
    for _ in range(3):
        bench.rider(QUOTED)
    bench.append("1")
    bench.append("2")
    await trio.sleep(2)
    bench.serve()
    await trio.sleep(600)
    bench.append("3", "4")
    await trio.sleep(1)
    bench.serve()
    assert told == [(2, len(b"'1|2|'"), 3, 2.0), (2, len(b"'3|4|'"), 3, 1.0)]
    assert len(moved) == 2


# Policies


async def test_conflating_riders_share_a_lane_and_get_the_newest() -> None:
    bench = Bench(keyed=True)
    riders = [bench.rider(slow="conflate") for _ in range(3)]
    bench.append("a1", "a2", key="a")
    bench.append("b1", key="b")
    bench.append("a3", key="a")
    bench.serve()
    assert {rider.got for rider in riders} == {b"b1|a3|"}


async def test_who_rides_is_never_too_slow_but_who_is_blocked_may_become() -> None:
    bench = Bench(max_lag=3)
    slow, prompt = bench.rider(slow="disconnect"), bench.rider(slow="disconnect")
    slow.room = 1
    for number in range(4):
        bench.append(str(number))
        bench.serve()
    assert not slow.gave_up, "it has three to read"
    bench.append("4")
    bench.serve()
    assert slow.gave_up
    assert not prompt.gave_up


async def test_the_slowest_is_who_is_blocked_or_what_rides() -> None:
    bench = Bench(patience=1000)
    assert bench.delivery.slowest() is None
    rider = bench.rider(slow="block")
    bench.append("1")
    assert bench.delivery.slowest() == 0
    bench.serve()
    assert bench.delivery.slowest() == 1
    rider.room = 1
    bench.append("2")
    bench.serve()
    bench.append("3")
    bench.serve()
    assert bench.delivery.slowest() == 2
    rider.recover()
    assert bench.delivery.slowest() == 3
    bench.delivery.leave(rider.reader)
    assert bench.delivery.slowest() is None


async def test_a_milder_reader_that_is_behind_holds_nobody() -> None:
    bench = Bench()
    mild = Rider(bench.delivery, bench.framing, "skip")
    bench.append("1")
    assert mild.reader.lag == 1
    assert bench.delivery.slowest() is None


def test_the_end_is_a_message() -> None:
    assert BarFraming().message(End("t", "e-1")) == b"End|"
