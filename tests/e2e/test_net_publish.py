"""Publishing to real servers, through a proxy that breaks connections: once each, in order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

import penstock as ps
from penstock import Backoff, StageError
from penstock.net import Event, ItemRefused, Loss, Refused, events, publish, publisher, websocket

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
from .tls import make_certificate

QUICK = Backoff(initial=0.001, maximum=0.002)
CUTS = 1_000


@pytest.fixture(scope="module")
def clients(launch: Launch) -> Iterator[ServerProcess]:
    command = (*SERVE, str(CONFIGS / "clients.py"), "--bind", "127.0.0.1:0")
    with ExitStack() as stack:
        yield launch(stack, command)


@asynccontextmanager
async def through_proxy(
    server: ServerProcess, faults: Iterable[Fault] = (), seconds: float = 500
) -> AsyncGenerator[FaultyProxy, None]:
    with trio.fail_after(seconds):
        async with faulty_proxy(server.host, server.port, faults) as proxy:
            yield proxy


def ignore(_: Loss) -> None:
    """Losses are expected."""


async def stored(server: ServerProcess, topic: str, number: int) -> list[Any]:
    """The data of that many events of a topic, all it has."""
    stream = websocket(server.websocket_url, topic, after="earliest").take(number)
    with trio.fail_after(30):
        items = await stream.to(ps.collect()).run()
    page = await trio.to_thread.run_sync(server.cursor, topic)
    assert isinstance(items[-1], Event)
    assert items[-1].id == page  # there are no more
    return [item.data for item in items if isinstance(item, Event)]


def faults(random: Random, number: int) -> Iterator[Fault]:
    """So many, in requests and in answers."""
    for _ in range(number):
        if random.random() < 0.5:
            yield random.choice((cut, reset, half_close))(random.randint(0, 600), "up")
        else:
            yield random.choice((cut, reset))(random.randint(0, 250), "down")
    yield passing()


async def test_a_thousand_cuts_store_each_item_once_in_order(clients: ServerProcess) -> None:
    number = 0
    async with through_proxy(clients, faults(Random(1), CUTS)) as proxy:
        async with publisher(
            proxy.url("/topics/said.a"),
            reconnect=QUICK,
            overflow="block",
            queue=50,
            batch=8,
            timeout=5,
            on_loss=ignore,
        ) as p:
            while proxy.accepted <= CUTS:
                await p.publish(number)
                number += 1
        report = p.statistics()
    assert await stored(clients, "said.a", number) == list(range(number))
    assert report.acknowledged == report.taken == number
    assert report.failures >= CUTS
    assert report.replayed > CUTS / 10  # answers that were lost
    assert (report.dropped, report.uncertain, report.waiting) == (0, 0, 0)


@pytest.mark.parametrize(
    "fault",
    [
        black_hole(0, "up"),
        black_hole(100, "up"),
        black_hole(20, "down"),
        stall(100, "up"),
        stall(20, "down"),
        half_close(20, "down"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.way}-{fault.after}",
)
async def test_silence_is_not_waited_for_for_ever(clients: ServerProcess, fault: Fault) -> None:
    before = await trio.to_thread.run_sync(clients.cursor, "said.b")
    losses: list[Loss] = []
    async with through_proxy(clients, [fault, passing()]) as proxy:
        url = proxy.url("/topics/said.b")
        async with publisher(url, reconnect=QUICK, timeout=0.5, on_loss=losses.append) as p:
            await p.publish(str(fault))
    assert len(losses) >= 1
    items = await websocket(clients.url, {"said.b": before}).take(1).to(ps.collect()).run()
    after = await trio.to_thread.run_sync(clients.cursor, "said.b")
    assert items == [Event("said.b", after, str(fault))]  # and no more


async def test_offline_and_back_loses_the_oldest_and_never_the_order(
    clients: ServerProcess,
) -> None:
    async with through_proxy(clients) as proxy:
        async with publisher(
            proxy.url("/topics/said.c"), reconnect=QUICK, queue=100, on_loss=ignore
        ) as p:
            await p.publish(0)
            await p.flush()
            async with proxy.down():
                number = 1
                while p.statistics().reachable:
                    await p.publish(number)
                    number += 1
                for _ in range(10_000):
                    await p.publish(number)
                    number += 1
        report = p.statistics()
    data = await stored(clients, "said.c", report.acknowledged)
    assert data[0] == 0
    assert data == sorted(set(data))
    assert data[-100:] == list(range(number - 100, number))
    assert report.dropped > 9_000
    assert report.taken == number == report.acknowledged + report.dropped


async def test_a_server_that_restarts_gets_the_rest(start_server: StartServer) -> None:
    first = start_server("clients.py")
    async with through_proxy(first) as proxy:
        async with publisher(
            proxy.url("/topics/said.a"), reconnect=QUICK, overflow="block", on_loss=ignore
        ) as p:
            for n in range(100):
                await p.publish(n)
            await p.flush()
            before = await stored(first, "said.a", 100)
            first.signal()
            await trio.to_thread.run_sync(first.wait, 20)
            for n in range(100, 200):
                await p.publish(n)
            second = start_server("clients.py")
            proxy.target = (second.host, second.port)
        assert before + await stored(second, "said.a", 100) == list(range(200))


async def test_a_pipeline_from_server_to_server(
    clients: ServerProcess, start_server: StartServer
) -> None:
    url = f"{clients.url}/topics/said.d"
    source = websocket(clients.websocket_url, "ticks", after="earliest").take(500)
    report = await source.to(publish(url)).run()
    assert (report.acknowledged, report.last is not None) == (500, True)
    mirrored = await stored(clients, "said.d", 500)
    original = (
        await websocket(clients.url, "ticks", after="earliest").take(500).to(ps.collect()).run()
    )
    assert mirrored == [each.data for each in original if isinstance(each, Event)]


async def test_items_that_the_topic_refuses(clients: ServerProcess) -> None:
    items: list[object] = [1, 2, "three", 4]
    url = f"{clients.url}/topics/numbers"
    with pytest.raises(StageError) as caught:
        await ps.from_iterable(items).to(publish(url)).run()
    refused = caught.value.__cause__
    assert isinstance(refused, ItemRefused)
    assert (refused.index, refused.item, refused.path, refused.status) == (2, "three", "$", 422)
    report = await ps.from_iterable(items).to(publish(url, errors="skip")).run()
    assert (report.acknowledged, report.skipped) == (3, 1)
    assert await stored(clients, "numbers", 5) == [1, 2, 1, 2, 4]


async def test_batches_that_are_too_large_are_halved(clients: ServerProcess) -> None:
    items = ["x" * 20_000 for _ in range(50)]
    sink = publish(f"{clients.url}/topics/said.d", batch_bytes=10_000_000)
    report = await ps.from_iterable(items).to(sink).run()
    assert report.acknowledged == 50
    with pytest.raises(StageError, match=r"item 0 .* 413 ") as caught:
        await ps.from_iterable(["x" * 300_000]).to(sink).run()
    assert isinstance(caught.value.__cause__, ItemRefused)


async def test_a_rate_is_backpressure(start_server: StartServer) -> None:
    """Three at once, and then one every two seconds; a batch of more is split."""
    server = start_server("limited.py")
    url = f"{server.url}/topics/anything"
    losses: list[Loss] = []
    report = await ps.from_iterable(range(4)).to(publish(url, on_loss=losses.append)).run()
    assert (report.acknowledged, report.dropped) == (4, 0)
    assert "429" in losses[0].problem
    assert losses[0].delay >= 1
    assert await stored(server, "anything", 4) == list(range(4))


async def test_over_tls(launch: Launch, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    command = (*SERVE, str(CONFIGS / "clients.py"), "--bind", "127.0.0.1:0", *certificate.options)
    with ExitStack() as stack:
        server = launch(stack, command)
        url = f"https://localhost:{server.port}/topics/said.a"
        trusting = certificate.client()
        report = await ps.from_iterable(range(9)).to(publish(url, ssl_context=trusting)).run()
        assert report.acknowledged == 9
        reader = websocket(url, "said.a", after="earliest", ssl_context=trusting)
        with pytest.raises(StageError, match="404 Not Found"):  # not the WebSocket's path
            await reader.to(ps.drain()).run()
        origin = f"https://localhost:{server.port}"
        reader = websocket(origin, "said.a", after="earliest", ssl_context=trusting)
        assert await reader.take(9).to(ps.count()).run() == 9
        strangers: list[ps.Pipeline[Any]] = [
            websocket(origin, "said.a").to(ps.drain()),
            events(url).to(ps.drain()),
            ps.from_iterable([1]).to(publish(url)),
        ]
        for pipeline in strangers:
            with pytest.raises(StageError, match="certificate is not trusted") as caught:
                await pipeline.run()
            assert isinstance(caught.value.__cause__, Refused)


# The command


def test_the_command(clients: ServerProcess) -> None:
    command = (sys.executable, "-m", "penstock.cli", "publish", f"{clients.url}/topics/said.d")
    run = subprocess.run(
        (*command, "--event", "greeting", "--text", "hello", "wörld"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    answer = json.loads(run.stdout)
    assert answer["count"] == 2
    page = clients.get("/topics/said.d?format=json&after=earliest&limit=1000").json()
    assert [(e["data"], e["event"]) for e in page["events"][-2:]] == [
        ("hello", "greeting"),
        ("wörld", "greeting"),
    ]
    piped = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert piped.stdin is not None
    assert piped.stdout is not None
    piped.stdin.write('{"n": 1}\n')
    piped.stdin.flush()
    assert json.loads(piped.stdout.readline())["count"] == 1  # while the input is open
    _, errors = piped.communicate("2\nthree\n4\n", timeout=30)
    assert piped.returncode == 1
    assert errors.startswith("error: line 3 is no JSON: ")
    page = clients.get("/topics/said.d?format=json&after=earliest&limit=1000").json()
    assert [each["data"] for each in page["events"][-2:]] == [{"n": 1}, 2]
