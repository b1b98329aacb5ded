"""Reading through lost connections: where it goes on, how long it waits, when it gives up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing

from penstock import Backoff
from penstock.net.resuming import (
    AlreadyFinished,
    ConnectionLost,
    Loss,
    Message,
    Refused,
    read_resuming,
)

Step = Message | Exception
PLAIN = Backoff(initial=1, maximum=8, jitter=False)


def event(offset: int) -> Message:
    return {"type": "event", "topic": "t", "id": f"e-{offset}", "data": offset}


SUBSCRIBED: Message = {"type": "subscribed", "topic": "t", "id": "e-0"}
KEEPALIVE: Message = {"type": "keepalive"}
END: Message = {"type": "end", "topic": "t", "id": "e-9"}
GAP: Message = {"type": "gap", "topic": "t", "requested": "e-1", "resumed": "e-6", "missed": 5}


class Transport:
    """Connections that say what was written down for them, and when they were asked for."""

    def __init__(self, *connections: list[Step]) -> None:
        self._connections = list(connections)
        self.asked: list[tuple[float, str | None]] = []
        self.open = 0

    def connect(self, after: str | None) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        return self._connection(after)

    @asynccontextmanager
    async def _connection(self, after: str | None) -> AsyncGenerator[AsyncIterator[Message], None]:
        self.asked.append((trio.current_time(), after))
        self.open += 1
        try:
            async with aclosing(self._messages(self._connections.pop(0))) as messages:
                yield messages
        finally:
            self.open -= 1

    async def _messages(self, steps: list[Step]) -> AsyncGenerator[Message, None]:
        for step in steps:
            await trio.lowlevel.checkpoint()
            if isinstance(step, Exception):
                raise step
            yield step


class Reader:
    """A run of `read_resuming` and what came of it."""

    def __init__(self, *connections: list[Step]) -> None:
        self.transport = Transport(*connections)
        self.messages: list[Message] = []
        self.losses: list[Loss] = []

    async def read(
        self,
        after: str | None = None,
        backoff: Backoff = PLAIN,
        chance: Callable[[], float] = lambda: 1.0,
    ) -> None:
        async def send(message: Message) -> None:
            self.messages.append(message)

        await read_resuming(
            self.transport.connect,
            send,
            after=after,
            backoff=backoff,
            on_loss=self.losses.append,
            chance=chance,
        )

    @property
    def positions(self) -> list[str | None]:
        return [after for _, after in self.transport.asked]

    @property
    def delays(self) -> list[float]:
        return [loss.delay for loss in self.losses]


async def test_it_reads_to_the_end_and_passes_on_what_concerns_the_reader() -> None:
    reader = Reader([SUBSCRIBED, event(1), KEEPALIVE, GAP, event(7), END, event(99)])
    await reader.read("earliest")
    assert reader.messages == [event(1), GAP, event(7), END]
    assert reader.positions == ["earliest"]
    assert reader.losses == []
    assert reader.transport.open == 0


async def test_it_goes_on_after_the_last_cursor(autojump_clock: trio.testing.MockClock) -> None:
    lost = ConnectionLost("cut")
    reader = Reader(
        [lost],
        [SUBSCRIBED, lost],
        [SUBSCRIBED, event(1), event(2), lost],
        [SUBSCRIBED | {"id": "e-2"}, GAP],
        [event(7), END],
    )
    await reader.read("latest")
    assert reader.positions == ["latest", "latest", "e-0", "e-2", "e-6"]
    assert [loss.cursor for loss in reader.losses] == [None, "e-0", "e-2", "e-6"]
    assert reader.messages == [event(1), event(2), GAP, event(7), END]


async def test_waits_grow_until_the_server_shows_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lost = ConnectionLost("cut")
    reader = Reader(
        [lost],
        [lost],
        [SUBSCRIBED, lost],  # it accepts and falls over: no sign of life
        [lost],
        [lost],
        [KEEPALIVE, lost],
        [GAP, lost],
        [event(7), lost],
        [END],
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
    lost = ConnectionLost("cut")
    reader = Reader([lost], [lost], [lost], [END])
    backoff = Backoff(initial=1, maximum=8)
    await reader.read(backoff=backoff, chance=lambda: next(chances))
    assert reader.delays == [0, 1, 4]


async def test_it_waits_at_least_as_long_as_the_server_asks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reader = Reader(
        [ConnectionLost("503", retry_after=20)],
        [event(1), {"type": "reconnect", "after": 12}, event(99)],
        [event(2), {"type": "reconnect", "after": 0.1}],
        [event(3), {"type": "reconnect"}],
        [END],
    )
    await reader.read()
    assert reader.delays == [20, 12, 1, 1]
    assert reader.messages == [event(1), event(2), event(3), END]


async def test_a_log_that_was_finished_already_has_nothing_more() -> None:
    reader = Reader([AlreadyFinished()])
    await reader.read("e-9")
    assert reader.messages == []
    assert reader.losses == []


async def test_a_refusal_is_for_good() -> None:
    reader = Reader([Refused("404: no such topic", 404)])
    with pytest.raises(Refused, match="no such topic") as caught:
        await reader.read()
    assert caught.value.status == 404
    assert len(reader.positions) == 1


async def test_what_the_reader_raises_comes_through_and_closes_the_connection() -> None:
    transport = Transport([event(1), event(2)])

    async def send(message: Message) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await read_resuming(
            transport.connect, send, after=None, backoff=PLAIN, on_loss=lambda _: None
        )
    assert transport.open == 0
