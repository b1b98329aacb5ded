"""Reading through lost connections: where it goes on, how long it waits, when it gives up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing

from penstock import Backoff
from penstock.net.losses import ConnectionLost, Loss, Refused
from penstock.net.over_http.position import Item, Moved, Position, Retry, Signal
from penstock.net.over_http.resuming import AlreadyFinished, read_resuming
from penstock.net.received import Event
from penstock.net.waiting import LONGEST_WAIT
from penstock.wire import End, Gap, Keepalive, Reconnect, Subscribed

PLAIN = Backoff(initial=1, maximum=8, jitter=False)


def event(offset: int, epoch: str = "e") -> Event:
    return Event("t", f"{epoch}-{offset}", offset)


def end(offset: int, epoch: str = "e") -> End:
    return End("t", f"{epoch}-{offset}")


def subscribed(offset: int = 0, epoch: str = "e") -> Subscribed:
    return Subscribed("t", f"{epoch}-{offset}")


KEEPALIVE = Keepalive()
GAP = Gap("t", "e-1", "e-6", 5, "expired")
LOST = ConnectionLost("cut")


class Transport:
    """Connections that say what was written down for them, and when they were asked for."""

    def __init__(self, *connections: list[Signal]) -> None:
        self._connections = list(connections)
        self.asked: list[tuple[float, str | None]] = []
        self.open = 0

    def connect(
        self, after: str | None
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Signal]]]:
        return self._connection(after)

    @asynccontextmanager
    async def _connection(
        self, after: str | None
    ) -> AsyncGenerator[AsyncIterator[Sequence[Signal]], None]:
        self.asked.append((trio.current_time(), after))
        self.open += 1
        try:
            async with aclosing(self._signals(self._connections.pop(0))) as signals:
                yield signals
        finally:
            self.open -= 1

    async def _signals(self, steps: list[Signal]) -> AsyncGenerator[Sequence[Signal], None]:
        for step in steps:
            await trio.lowlevel.checkpoint()
            yield [step]


class Reader:
    """A run of `read_resuming` and what came of it."""

    def __init__(self, *connections: list[Signal]) -> None:
        self.transport = Transport(*connections)
        self.items: list[Item] = []
        self.losses: list[Loss] = []

    async def read(
        self,
        after: str | None = None,
        backoff: Backoff = PLAIN,
        chance: Callable[[], float] = lambda: 1.0,
        *,
        conflated: bool = False,
    ) -> End | None:
        async def send(items: list[Item]) -> None:
            self.items += items

        position = Position(after, conflated=conflated)
        await read_resuming(
            self.transport.connect,
            send,
            position,
            backoff=backoff,
            on_loss=self.losses.append,
            chance=chance,
        )
        assert self.transport.open == 0
        return position.end

    @property
    def positions(self) -> list[str | None]:
        return [after for _, after in self.transport.asked]

    @property
    def delays(self) -> list[float]:
        return [loss.delay for loss in self.losses]

    @property
    def problems(self) -> list[str]:
        return [loss.problem for loss in self.losses]


async def test_it_reads_to_the_end_and_passes_on_what_concerns_the_reader() -> None:
    reader = Reader([subscribed(), event(1), KEEPALIVE, GAP, event(7), end(7), event(99)])
    assert await reader.read("earliest") == end(7)
    assert reader.items == [event(1), GAP, event(7)]
    assert reader.positions == ["earliest"]
    assert reader.losses == []


async def test_it_goes_on_after_the_last_cursor(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader(
        [LOST],
        [subscribed(), LOST],
        [subscribed(), event(1), event(2), LOST],
        [subscribed(2), GAP],
        [subscribed(6), event(7), end(7)],
    )
    await reader.read("latest")
    assert reader.positions == ["latest", "latest", "e-0", "e-2", "e-6"]
    assert [loss.cursor for loss in reader.losses] == [None, "e-0", "e-2", "e-6"]
    assert reader.items == [event(1), event(2), GAP, event(7)]


async def test_waits_grow_until_the_server_shows_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reader = Reader(
        [LOST],
        [LOST],
        [subscribed(), LOST],  # it accepts and falls over: no sign of life
        [LOST],
        [LOST],
        [KEEPALIVE, LOST],
        [GAP, LOST],
        [event(7), LOST],
        [end(7)],
    )
    await reader.read()
    assert reader.delays == [1, 2, 4, 8, 8, 1, 1, 1]
    assert [loss.attempt for loss in reader.losses] == [1, 2, 3, 4, 5, 1, 1, 1]
    times = [when for when, _ in reader.transport.asked]
    waited = [after - before for before, after in pairwise(times)]
    assert waited == pytest.approx(reader.delays)


async def test_jitter_draws_from_the_whole_range(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chances = iter([0.0, 0.5, 1.0])
    reader = Reader([LOST], [LOST], [LOST], [end(0)])
    backoff = Backoff(initial=1, maximum=8)
    await reader.read(backoff=backoff, chance=lambda: next(chances))
    assert reader.delays == [0, 1, 4]


async def test_it_waits_at_least_as_long_as_the_server_asks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reader = Reader(
        [ConnectionLost("503", retry_after=20)],
        [event(1), Reconnect(12), event(99)],
        [event(2), Reconnect(0.1)],
        [event(3), Reconnect(-1)],
        [event(3), Reconnect(float("nan"))],
        [end(3)],
    )
    await reader.read()
    assert reader.delays == [20, 12, 1, 1, 1]
    assert reader.items == [event(1), event(2), event(3), event(3)]


async def test_jitter_comes_on_top_of_what_the_server_asks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chances = iter([0.0, 0.5, 0.5])
    reader = Reader(
        [event(1), Retry(3), LOST],
        [event(2), LOST],
        [Retry(0), event(3), LOST],
        [end(3)],
    )
    await reader.read(backoff=Backoff(initial=1), chance=lambda: next(chances))
    assert reader.delays == [3, 3.5, 0.5]


async def test_a_server_cannot_make_it_wait_for_days(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reader = Reader([Retry(10**15), LOST], [ConnectionLost("503", float("inf"))], [end(1)])
    await reader.read()
    assert reader.delays == [LONGEST_WAIT, LONGEST_WAIT]


async def test_a_log_that_was_finished_already_has_nothing_more() -> None:
    transport = Transport()

    @asynccontextmanager
    async def finished(after: str | None) -> AsyncGenerator[AsyncIterator[Sequence[Signal]], None]:
        await trio.lowlevel.checkpoint()
        if transport.open == 0:
            raise AlreadyFinished
        yield transport._signals([])

    async def send(items: list[Item]) -> None:
        raise AssertionError(items)

    position = Position("e-9")
    await read_resuming(finished, send, position, backoff=PLAIN, on_loss=print)
    assert position.end is None


async def test_a_refusal_is_for_good() -> None:
    reader = Reader([event(1), Refused("404: no such topic", 404)])
    with pytest.raises(Refused, match="no such topic") as caught:
        await reader.read()
    assert caught.value.status == 404
    assert reader.items == [event(1)]
    assert len(reader.positions) == 1


async def test_what_the_reader_raises_comes_through_and_closes_the_connection() -> None:
    transport = Transport([event(1), event(2)])

    async def send(items: list[Item]) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await read_resuming(
            transport.connect, send, Position(None), backoff=PLAIN, on_loss=lambda _: None
        )
    assert transport.open == 0


# Every event once, or a gap


async def test_what_was_had_already_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader(
        [subscribed(), event(1), event(1), event(2), LOST],
        [subscribed(), event(1), event(2), event(3), event(2), event(4), end(4)],
    )
    await reader.read()
    assert reader.items == [event(1), event(2), event(3), event(4)]


async def test_a_cursor_that_is_given_counts_from_the_beginning() -> None:
    reader = Reader([subscribed(2), event(2), event(3), event(4), end(4)])
    await reader.read("e-2")
    assert reader.items == [event(3), event(4)]


async def test_what_the_server_left_out_is_asked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reader = Reader(
        [subscribed(), event(1), event(3), event(4)],
        [subscribed(1), event(2), event(3), end(5)],
        [subscribed(3), event(4), event(5), end(5)],
    )
    await reader.read()
    assert reader.items == [event(offset) for offset in (1, 2, 3, 4, 5)]
    assert reader.positions == [None, "e-1", "e-3"]
    assert reader.problems == ["the server left out events"] * 2


async def test_what_the_server_leaves_out_every_time_is_a_gap(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reader = Reader(
        [subscribed(), event(1), event(4)],
        [subscribed(1), event(4), event(5), event(9), End("t", "e-c")],
    )
    await reader.read()
    assert reader.items == [
        event(1),
        Gap("t", "e-1", "e-3", 2, "slow"),
        event(4),
        event(5),
        Gap("t", "e-5", "e-8", 3, "slow"),
        event(9),
        Gap("t", "e-9", "e-c", 3, "slow"),
    ]


async def test_another_epoch_that_nobody_told_of_is_a_gap(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reader = Reader(
        [subscribed(), event(1), event(1, "f")],
        [subscribed(0, "f"), event(1, "f"), event(2, "f"), end(2, "f")],
    )
    await reader.read()
    gap = Gap("t", "e-1", "f-0", None, "epoch")
    assert reader.items == [event(1), gap, event(1, "f"), event(2, "f")]


async def test_a_conflated_topic_misses_nothing_between_two_newest_events() -> None:
    reader = Reader([subscribed(), event(1), event(9), event(20), end(30)])
    await reader.read(conflated=True)
    assert reader.items == [event(1), event(9), event(20)]
    assert reader.losses == []


async def test_a_gap_before_what_was_had_is_none() -> None:
    reader = Reader([subscribed(), GAP, event(7), GAP, event(8), end(8)])
    await reader.read()
    assert reader.items == [GAP, event(7), event(8)]


@pytest.mark.parametrize("bad", ["", "e", "e-", "e-!", "7", "e--1", "e-" + "z" * 10_000])
async def test_what_is_no_cursor_is_a_lost_connection(
    bad: str, autojump_clock: trio.testing.MockClock
) -> None:
    reader = Reader([subscribed(), event(1), Event("t", bad, 2)], [subscribed(1), end(1)])
    await reader.read()
    assert reader.items == [event(1)]
    assert len(reader.problems) == 1
    assert reader.problems[0].startswith("the server sent what is no cursor")
    assert len(reader.problems[0]) < 200


async def test_ids_of_other_servers_mean_nothing_here(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def other(id_: str) -> Event:
        return Event("t", id_, None)

    reader = Reader(
        [other("b-9"), other("b-3"), other("b-3"), other("x"), LOST],
        [other("b-1"), other(""), LOST],
        [Moved("m"), LOST],
        [end(0)],
    )
    await reader.read("start")
    assert [item.id for item in reader.items if isinstance(item, Event)] == [
        *("b-9", "b-3", "b-3", "x", "b-1", "")
    ]
    assert reader.positions == ["start", "x", "start", "m"]
