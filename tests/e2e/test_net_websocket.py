"""The WebSocket reader against real servers, through a proxy that breaks connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from random import Random
from typing import Any

import pytest
import trio

import penstock as ps
from penstock import Backoff, StageError
from penstock.net import Event, Gap, Loss, Refused, SubscriptionRefused, websocket
from penstock.wire import Cursor

from .conftest import Launch, StartServer
from .faulty_proxy import (
    Fault,
    FaultyProxy,
    black_hole,
    cut,
    faulty_proxy,
    half_close,
    passing,
    reset,
    stall,
)
from .serving import CONFIGS, SERVE, ServerProcess

QUICK = Backoff(initial=0.001, maximum=0.002)
CUTS = 1_000


@pytest.fixture(scope="module")
def clients(launch: Launch) -> Iterator[ServerProcess]:
    command = (*SERVE, str(CONFIGS / "clients.py"), "--bind", "127.0.0.1:0")
    with ExitStack() as stack:
        yield launch(stack, command)


@asynccontextmanager
async def through_proxy(
    server: ServerProcess, faults: Any = (), seconds: float = 500
) -> AsyncGenerator[FaultyProxy, None]:
    with trio.fail_after(seconds):
        async with faulty_proxy(server.host, server.port, faults) as proxy:
            yield proxy


class InOrder:
    """Takes events and checks that each is the next one of its topic; gaps count as a failure."""

    def __init__(self) -> None:
        self.last: dict[str, Cursor] = {}

    def take(self, item: Event | Gap) -> None:
        assert isinstance(item, Event), item
        cursor = Cursor.parse(item.id)
        last = self.last.get(item.topic)
        if last is not None:
            assert cursor == Cursor(last.epoch, last.offset + 1)
        self.last[item.topic] = cursor

    def counted(self) -> int:
        return sum(each.offset for each in self.last.values())


def faults(random: Random) -> Iterator[Fault]:
    """Endless ones in the handshake and in frames; each fourth connection is the test's to cut."""
    while True:
        for _ in range(3):
            if random.random() < 0.2:
                yield cut(random.randint(0, 250), "up")
            else:
                yield random.choice((cut, reset, half_close))(random.randint(0, 3_000))
        yield passing()


async def test_a_thousand_cuts_lose_and_repeat_nothing(clients: ServerProcess) -> None:
    random, seen, losses = Random(1), InOrder(), count()
    async with through_proxy(clients, faults(random)) as proxy:
        stream = websocket(
            proxy.url("/ws", "ws"),
            ["ticks", "more.ticks"],
            after="earliest",
            reconnect=QUICK,
            on_loss=lambda _: next(losses),
        )
        async with stream.open() as items:
            async for item in items:
                seen.take(item)
                if proxy.accepted > CUTS:
                    break
                if proxy.accepted % 4 == 0 and random.random() < 0.2:
                    random.choice((proxy.cut_all, proxy.reset_all))()
    assert next(losses) >= CUTS
    assert seen.last.keys() == {"ticks", "more.ticks"}


@pytest.mark.parametrize(
    "fault", [black_hole(800), black_hole(0), stall(800), stall(0)], ids=lambda fault: fault.kind
)
async def test_a_dead_connection_is_noticed(
    clients: ServerProcess, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("connection", "producer"):
        monkeypatch.setattr(f"penstock.net.over_websocket.{module}.CONNECT_SECONDS", 1.0)
    losses: list[Loss] = []
    seen = InOrder()
    async with through_proxy(clients, [fault, passing()]) as proxy:
        url = proxy.url("/ws", "ws")
        stream = websocket(url, "ticks", reconnect=QUICK, on_loss=losses.append)
        async with stream.open() as items:
            async for item in items:
                seen.take(item)
                if losses:
                    break
    (loss,) = losses
    if fault.after == 0:
        assert loss.problem.startswith("the server did not answer within")
    elif fault.kind == "stall" or loss.problem != "the connection broke off":
        # In a black hole the server misses our pongs, too, and may be the first to give up.
        assert loss.problem.startswith("the server is silent for")


async def test_an_idle_connection_is_not_a_dead_one(clients: ServerProcess) -> None:
    losses: list[Loss] = []
    stream = websocket(clients.websocket_url, "said.b", on_loss=losses.append)
    with trio.move_on_after(2.5):  # two and a half deaths by silence
        await stream.to(ps.drain()).run()
    assert losses == []


async def test_a_server_without_pings_is_asked(start_hypercorn: StartServer) -> None:
    """A plain ASGI server pings nobody, and answers all the same."""
    server = start_hypercorn("examples.machine:server")
    losses: list[Loss] = []
    with trio.move_on_after(2):
        stream = websocket(server.websocket_url, "cpu", on_loss=losses.append)
        await stream.to(ps.drain()).run()
    assert losses == []


async def test_a_restart_is_a_gap_of_another_epoch(
    start_server: StartServer, clients: ServerProcess
) -> None:
    server = start_server("clients.py")
    async with through_proxy(server) as proxy:
        stream = websocket(
            proxy.url("/ws", "ws"), "ticks", after="earliest", reconnect=QUICK, on_loss=_pass
        )
        seen = InOrder()
        gaps: list[Gap] = []
        async with stream.open() as items:
            async for item in items:
                if isinstance(item, Gap):
                    gaps.append(item)
                    break
                seen.take(item)
                if seen.counted() == 50:
                    server.signal()  # it says farewell, and goes
                    proxy.target = (clients.host, clients.port)
    assert [(each.reason, each.topic, each.missed) for each in gaps] == [("epoch", "ticks", None)]


async def test_a_reader_that_is_too_slow_is_told(clients: ServerProcess) -> None:
    gaps = 0
    stream = websocket(clients.websocket_url, "firehose", slow="skip", on_loss=_pass).buffer(1)
    at = 0
    with trio.fail_after(30):
        async with stream.open() as items:
            async for item in items:
                if isinstance(item, Gap):
                    gaps += 1
                    at = Cursor.parse(item.resumed).offset
                    if gaps == 3:
                        break
                else:
                    offset = Cursor.parse(item.id).offset
                    assert at in (0, offset - 1)
                    at = offset
                    await trio.sleep(0.02)


async def test_topics_that_end_end_the_stream(clients: ServerProcess) -> None:
    stream = websocket(clients.url, "countdown", after="earliest", codec="json")
    items = await stream.to(ps.collect()).run()
    assert [each.data for each in items if isinstance(each, Event)] == [3, 2, 1]


async def test_refusals(clients: ServerProcess) -> None:
    with pytest.raises(StageError) as caught:
        await websocket(clients.websocket_url, ["ticks", "absent"]).to(ps.drain()).run()
    refused = caught.value.__cause__
    assert isinstance(refused, SubscriptionRefused)
    assert (refused.topic, refused.code) == ("absent", "unknown_topic")
    with pytest.raises(StageError) as caught:
        await websocket(f"{clients.websocket_url}x", "ticks").to(ps.drain()).run()
    assert isinstance(caught.value.__cause__, Refused)
    assert caught.value.__cause__.status == 404


async def test_a_token_is_asked_for(start_server: StartServer) -> None:
    server = start_server("guarded.py")
    with pytest.raises(StageError) as caught:
        await websocket(server.websocket_url, "secret").to(ps.drain()).run()
    refused = caught.value.__cause__
    assert isinstance(refused, Refused)
    assert refused.status == 401
    assert len(str(refused)) > len("401 Unauthorized: ")


def _pass(_: Loss) -> None:
    """Losses are expected."""
