"""``penstock_server.testing``: what its users rely on."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Server, Timing, testing


@dataclass
class Message:
    text: str


def chat_server(**options: Any) -> Server:
    server = Server(**options)
    server.topic("chat", accepts=Message, retain=3)
    return server


FORMATS: tuple[Literal["sse", "ndjson", "msgpack"], ...] = ("sse", "ndjson", "msgpack")


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_is_published_in_a_stream_arrives(
    format_: Literal["sse", "ndjson", "msgpack"],
) -> None:
    server = chat_server()
    async with (
        testing.serve(server) as client,
        client.stream("chat", format=format_) as events,
    ):
        first = await client.publish("chat", {"text": "a"})
        second = await client.publish("chat", {"text": "b"}, event="shout")
        assert await events.take(2) == [
            testing.ReceivedEvent(first, {"text": "a"}),
            testing.ReceivedEvent(second, {"text": "b"}, "shout"),
        ]


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_gap_is_told_and_a_stream_ends_with_its_log(
    format_: Literal["sse", "ndjson", "msgpack"],
) -> None:
    server = chat_server()
    chat = server.topics["chat"]
    async with testing.serve(server) as client:
        cursors = [await client.publish("chat", {"text": str(n)}) for n in range(6)]
        chat.log.finish()
        async with client.stream("chat", after=cursors[0], format=format_) as events:
            gap, *rest = [event async for event in events]
        assert (gap.event, gap.data["missed"], gap.id) == ("gap", 2, None)
        assert [event.data["text"] for event in rest] == ["3", "4", "5"]


async def test_text_is_text() -> None:
    server = Server()
    server.topic("lines", accepts=str, encoding="text")
    async with testing.serve(server) as client, client.stream("lines") as events:
        await client.publish("lines", "not {json")
        assert (await anext(events)).data == "not {json"


async def test_what_is_refused_is_told() -> None:
    async with testing.serve(chat_server()) as client:
        with pytest.raises(testing.UnexpectedAnswer, match=r"status 422: .*text") as refused:
            await client.publish("chat", {"txt": "a"})
        assert refused.value.response.status == 422
        with pytest.raises(testing.UnexpectedAnswer, match="status 404"):
            async with client.stream("nowhere"):
                pytest.fail("it was opened")
        with pytest.raises(testing.UnexpectedAnswer, match="status 403"):
            async with client.websocket(headers={"origin": "https://evil.example"}):
                pytest.fail("it was opened")


async def test_any_request() -> None:
    async with testing.serve(chat_server()) as client:
        answer = await client.get("/topics?x=y")
        assert answer.status == 200
        assert [topic["name"] for topic in answer.json()["topics"]] == ["chat"]
        assert (await client.request("DELETE", "/topics/chat")).status == 405


@pytest.mark.parametrize("subprotocol", ["penstock.v1.json", "penstock.v1.msgpack"])
async def test_a_websocket(subprotocol: testing.Subprotocol) -> None:
    async with testing.serve(chat_server()) as client:
        async with client.websocket(subprotocol) as ws:
            assert ws.subprotocol == subprotocol
            hello = await ws.receive()
            assert hello is not None
            assert hello["type"] == "hello"
            await ws.send({"type": "subscribe", "topic": "chat"}, {"type": "ping", "ref": 1})
            assert (await ws.receive_until("subscribed"))["topic"] == "chat"
            cursor = await client.publish("chat", {"text": "x"})
            event = await ws.receive_until("event")
            assert (event["id"], event["data"]) == (cursor, {"text": "x"})
        assert len(client.server.hub.connections) == 0


async def test_leaving_drains_and_tells_who_listens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = chat_server()
    server.topic("ticks")(lambda: ps.every(1))
    told: list[int | None] = []
    heard: list[Any] = []

    async with trio.open_nursery() as nursery:  # noqa: SIM117 - listeners outlive it
        async with testing.serve(server) as client:

            async def listen(task_status: trio.TaskStatus[None]) -> None:
                async with client.stream("ticks") as events:
                    task_status.started()
                    heard.extend([event.data async for event in events])

            async def talk(task_status: trio.TaskStatus[None]) -> None:
                async with client.websocket() as ws:
                    task_status.started()
                    await ws.receive_until("reconnect")
                    assert await ws.receive() is None
                    told.append(ws.close_code)

            await nursery.start(listen)
            await nursery.start(talk)
            await trio.sleep(2.5)
    assert told == [1012]
    assert heard == [1, 2], "the first came before anybody listened"


async def test_the_error_of_a_test_comes_out_as_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        async with testing.serve(chat_server()):
            _ = 1 / 0


async def test_waiting_for_what_never_comes_ends(autojump_clock: trio.testing.MockClock) -> None:
    server = chat_server(timing=Timing(keepalive=1000))
    async with testing.serve(server, patience=7) as client, client.stream("chat") as events:
        with pytest.raises(trio.TooSlowError):
            await anext(events)
        assert trio.current_time() == 7


async def test_a_start_that_fails_is_an_error() -> None:
    server = chat_server()

    @server.lifespan
    async def broken() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.raises(AssertionError, match="startup failed: lifespan: OSError: no database"):
        async with testing.serve(server):
            pytest.fail("it was started")


# Over a port


async def test_over_a_real_port() -> None:
    server = chat_server()
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    async with testing.serve_on_port(server) as url, httpx.AsyncClient(trust_env=False) as http:
        assert url.startswith("http://127.0.0.1:")
        page: list[Any] = []

        async def wait_for_it() -> None:
            page.append((await http.get(f"{url}/topics/chat?format=json&wait=20")).json())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_it)
            while not server.hub.connections:  # noqa: ASYNC110 - a test looks from outside
                await trio.sleep(0.01)
            posted = await http.post(f"{url}/topics/chat", json={"text": "hi"})
            assert posted.status_code == 201
        assert [event["data"] for event in page[0]["events"]] == [{"text": "hi"}]
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{url}/topics")


async def test_a_port_and_a_start_that_fails() -> None:
    server = chat_server()

    @server.lifespan
    async def broken() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.raises(AssertionError, match="startup failed: lifespan: OSError: no database"):
        async with testing.serve_on_port(server):
            pytest.fail("it was started")


def test_it_needs_no_test_framework() -> None:
    script = """
import sys
from penstock_server import testing
sys.exit(", ".join({"pytest", "_pytest", "hypothesis", "tests"} & set(sys.modules)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
