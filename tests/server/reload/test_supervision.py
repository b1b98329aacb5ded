"""A supervised pipeline can be held, released, and started anew from another function."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock as Clock

import penstock as ps
from penstock_server import Server
from penstock_server.supervisor import Supervisor


def ticks(label: str) -> Any:
    return lambda: ps.every(1).map(lambda _: label)


async def take_long(item: int) -> int:
    await trio.sleep(60)
    return item


@asynccontextmanager
async def supervised(source: Any) -> AsyncGenerator[Supervisor]:
    topic = Server().topic("t")
    supervisor = Supervisor(topic(source))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.supervise, {})
        yield supervisor
        await supervisor.stop(1)


def stored(supervisor: Supervisor) -> list[Any]:
    events: Any = supervisor.topic.log.read(0, 10_000)
    return [msgspec.json.decode(event.json) for event in events]


async def test_held_it_does_nothing_until_it_is_released(autojump_clock: Clock) -> None:
    async with supervised(ticks("a")) as supervisor:
        await trio.sleep(2.5)
        await supervisor.hold(1)
        await trio.sleep(10)
        assert supervisor.state == "waiting"
        assert len(stored(supervisor)) == 3
        supervisor.topic.source = ticks("b")
        await supervisor.renew(1)
        await trio.sleep(10)
        assert len(stored(supervisor)) == 3
        supervisor.release()
        await trio.sleep(0.5)
        assert stored(supervisor) == ["a", "a", "a", "b"]
        assert supervisor.topic.restarts == 0


async def test_held_it_can_be_stopped(autojump_clock: Clock) -> None:
    async with supervised(ticks("a")) as supervisor:
        await trio.sleep(0.5)
        await supervisor.hold(1)
    assert supervisor.is_over


async def test_renewed_before_it_runs_it_runs_the_new_function(autojump_clock: Clock) -> None:
    async with supervised(ticks("a")) as supervisor:
        supervisor.topic.source = ticks("b")
        await supervisor.renew(1)
        await trio.sleep(0.5)
        assert stored(supervisor) == ["b"]


async def test_what_does_not_drain_in_time_is_cut_off(autojump_clock: Clock) -> None:
    async with supervised(lambda: ps.every(1).map_async(take_long, concurrency=8)) as supervisor:
        await trio.sleep(5)
        supervisor.topic.source = ticks("b")
        started = trio.current_time()
        await supervisor.renew(2)
        assert trio.current_time() - started == pytest.approx(2)
        await trio.sleep(0.5)
        assert stored(supervisor) == ["b"]
