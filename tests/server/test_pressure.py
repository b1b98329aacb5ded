"""``slow="block"``: appends wait for the slowest reader, in turn, and lose nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.wire import Gap, ServerMessage
from penstock_server.fanout import Delivery, Reader, Slow
from penstock_server.log import EncodedEvent, MemoryLog, Start, StoredEvent
from penstock_server.pressure import NoRoom, Pressure, TooMany
from penstock_server.settings import Retention


class PlainFraming:
    """Data as it is; no gap is ever told."""

    transport = "ndjson"

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002 - the protocol's name
        return event.json

    def message(self, message: ServerMessage) -> bytes:
        assert not isinstance(message, Gap), message
        return b""

    def join(self, framed: Sequence[bytes]) -> bytes:
        return b"".join(framed)


FRAMING = PlainFraming()


class Bench:
    """A log that retains few events, and those who append to it."""

    def __init__(self, retain: int = 3, retain_bytes: int = 1 << 20) -> None:
        self.log = MemoryLog(Retention(retain, retain_bytes), trio.current_time)
        self.delivery = Delivery("t", self.log)
        self.pressure = Pressure(self.log, self.delivery)
        self.done: list[str] = []

    def reader(self, slow: Slow = "block", after: int | None = None) -> Reader:
        start = self.log.bounds().last if after is None else after
        return self.delivery.join(FRAMING, Start(start, None), slow=slow)

    async def append(self, *data: str, within: float = inf) -> int:
        events = [EncodedEvent(each.encode(), b"") for each in data]
        offset = await self.pressure.append(events, within)
        self.done.append("".join(data))
        return offset


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_without_readers_nobody_waits() -> None:
    bench = Bench()
    for number in range(10):
        assert await bench.append(str(number)) == number + 1
    assert bench.log.bounds().first == 8


async def test_milder_readers_are_not_waited_for() -> None:
    bench = Bench()
    policies: tuple[Slow, ...] = ("skip", "conflate", "disconnect")
    for slow in policies:
        bench.reader(slow)
    with trio.fail_after(1):
        for number in range(10):
            await bench.append(str(number))


async def test_it_waits_for_the_slowest_and_no_longer() -> None:
    bench = Bench(retain=3)
    slow, prompt = bench.reader(), bench.reader()
    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(bench.append, name)
            await settle()
        assert bench.done == ["a", "b", "c"], "as many as are retained"
        assert bench.pressure.waiting == 1
        assert prompt.next() is not None
        await settle()
        assert bench.done == ["a", "b", "c"]
        assert slow.next() is not None
        await settle()
        assert bench.done == ["a", "b", "c", "d"]
        assert bench.pressure.waiting == 0
    assert slow.lag == prompt.lag == 1


async def test_those_who_append_have_their_turn_in_the_order_they_came() -> None:
    bench = Bench(retain=1)
    reader = bench.reader()
    order = [f"{number}." for number in range(8)]
    async with trio.open_nursery() as nursery:
        for name in order:
            nursery.start_soon(bench.append, name)
            await settle()
        read: list[bytes] = []
        while len(read) < len(order):
            piece = reader.next()
            assert piece is not None
            read.append(piece.joined)
            await settle()
    assert bench.done == order
    assert b"".join(read).decode() == "".join(order)


async def test_a_big_append_is_not_overtaken_by_a_small_one() -> None:
    bench = Bench(retain=4)
    reader = bench.reader()
    await bench.append("a", "b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.append, "x", "y", "z")
        await settle()
        nursery.start_soon(bench.append, "c")
        await settle()
        assert bench.done == ["ab"], "there is room for the small one"
        assert reader.next() is not None
        await settle()
        assert bench.done == ["ab", "xyz", "c"]


async def test_bytes_are_room_too() -> None:
    bench = Bench(retain=100, retain_bytes=10)
    reader = bench.reader()
    await bench.append("12345")
    await bench.append("67890")
    with pytest.raises(NoRoom):
        await bench.append("x", within=0.01)
    assert reader.next() is not None
    await bench.append("x")
    assert bench.log.bounds().first == 2


async def test_no_room_in_time(autojump_clock: MockClock) -> None:
    bench = Bench(retain=1)
    reader = bench.reader()
    await bench.append("a")
    with pytest.raises(NoRoom):
        await bench.append("b", within=5)
    assert trio.current_time() == 5
    assert bench.log.bounds().last == 1
    assert bench.pressure.waiting == 0
    assert reader.next() is not None
    assert await bench.append("c") == 2


async def test_the_time_in_the_queue_counts(autojump_clock: MockClock) -> None:
    bench = Bench(retain=1)
    bench.reader()
    await bench.append("a")
    late: list[float] = []

    async def append(seconds: float) -> None:
        with pytest.raises(NoRoom):
            await bench.append("x", within=seconds)
        late.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for seconds in (5, 3, 7):
            nursery.start_soon(append, seconds)
            await settle()
    assert late == [3, 5, 7]


@pytest.mark.parametrize("seconds", [0, 1e-9])
async def test_where_there_is_room_no_time_is_needed(seconds: float) -> None:
    bench = Bench()
    bench.reader()
    assert await bench.append("a", within=seconds) == 1


async def test_more_than_there_ever_is_room_for() -> None:
    bench = Bench(retain=3, retain_bytes=10)
    bench.reader()
    with pytest.raises(TooMany):
        await bench.append(*"abcd")
    with pytest.raises(TooMany):
        await bench.append("12345678901")
    assert bench.log.bounds().last == 0
    assert await bench.append(*"abc") == 3


async def test_an_ended_log_takes_nothing() -> None:
    bench = Bench()
    bench.log.finish()
    with pytest.raises(ValueError, match="ended"):
        await bench.append("a")


async def test_a_reader_that_leaves_lets_go() -> None:
    bench = Bench(retain=1)
    reader = bench.reader()
    await bench.append("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.append, "b")
        await settle()
        assert bench.done == ["a"]
        bench.delivery.leave(reader)
        await settle()
        assert bench.done == ["a", "b"]


async def test_a_reader_that_comes_is_waited_for() -> None:
    bench = Bench(retain=2)
    for name in "abc":
        await bench.append(name)
    reader = bench.reader(after=1)
    with pytest.raises(NoRoom):
        await bench.append("d", within=0.01)
    while reader.next() is not None:
        pass
    assert await bench.append("d") == 4


async def test_cancelled_nothing_is_stored() -> None:
    bench = Bench(retain=1)
    reader = bench.reader()
    await bench.append("a")
    async with trio.open_nursery() as nursery:
        for name in "bcd":
            nursery.start_soon(bench.append, name)
            await settle()
        nursery.cancel_scope.cancel()
    assert bench.done == ["a"]
    assert (bench.log.bounds().last, bench.pressure.waiting) == (1, 0)
    assert reader.next() is not None
    assert await bench.append("e") == 2


async def test_cancelled_before_it_began_nothing_is_stored() -> None:
    bench = Bench()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.append("a")
    assert scope.cancelled_caught
    assert bench.log.bounds().last == 0


async def test_it_is_a_checkpoint_where_there_is_room() -> None:
    bench = Bench()
    with trio.testing.assert_checkpoints():
        await bench.append("a")


@pytest.mark.parametrize("at", range(1, 12))
async def test_whenever_it_is_cancelled_the_next_gets_on(
    at: int, autojump_clock: MockClock
) -> None:
    bench = Bench(retain=1)
    reader = bench.reader()

    async def read() -> None:
        while True:
            await trio.sleep(1)
            reader.next()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with trio.move_on_after(at * 0.5):
            for number in range(10):
                await bench.append(f"{number},")
        stored = bench.log.bounds().last
        assert len(bench.done) == stored
        with trio.fail_after(5):
            assert await bench.append("z") == stored + 1
        nursery.cancel_scope.cancel()


# The law

steps = st.lists(
    st.tuples(st.just("append"), st.integers(1, 5))
    | st.tuples(st.just("read"), st.integers(0, 5))
    | st.tuples(st.just("join"), st.integers(0, 60))
    | st.tuples(st.just("leave"), st.integers(0, 5)),
    max_size=40,
)


@given(steps, st.integers(1, 8), st.integers(8, 60))
@settings(max_examples=60, deadline=None)
def test_nothing_is_trimmed_that_a_blocking_reader_has_not_read(
    steps: list[tuple[str, int]], retain: int, size: int
) -> None:
    trio.run(_law, steps, retain, size, clock=MockClock(autojump_threshold=0))


async def _law(steps: list[tuple[str, int]], retain: int, size: int) -> None:
    bench = Bench(retain, size)
    readers: list[Reader] = []
    expected: list[str] = []
    numbers = 0

    async def append(events: list[str]) -> None:
        try:
            await bench.append(*events)
        except TooMany:
            return
        expected.extend(events)

    def check() -> None:
        first = bench.log.bounds().first
        assert all(reader.position >= first - 1 for reader in readers)

    async with trio.open_nursery() as nursery:
        for action, number in steps:
            if action == "append":
                events = [f"{numbers + each}," for each in range(number)]
                numbers += number
                nursery.start_soon(append, events)
            elif action == "join":
                bounds = bench.log.bounds()
                after = min(max(number, bounds.first - 1), bounds.last)
                readers.append(bench.reader(after=after))
            elif readers and action == "read":
                readers[number % len(readers)].next()
            elif readers:
                bench.delivery.leave(readers.pop(number % len(readers)))
            await settle()
            check()
        while bench.pressure.waiting:
            moved = [reader for reader in readers if reader.next() is not None]
            assert moved, "all have read, and it still waits"
            await settle()
            check()
    assert bench.log.bounds().last == len(expected)
    for reader in readers:
        position = reader.position
        rest = b""
        while (piece := reader.next()) is not None:
            rest += piece.joined
        assert rest.decode() == "".join(expected[position:])
