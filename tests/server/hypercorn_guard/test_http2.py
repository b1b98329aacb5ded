"""HTTP/2: flow control (trap 2), and streams that are cut."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER

from .applications import START, Flood, Message, Receive, Send, body, echo
from .h2_client import h2_client
from .serving import both, happens, hypercorn_classes, patience, serving, settled

WINDOW = 2**16 - 1


@both
async def test_a_closed_window_holds_the_application(kind: str) -> None:
    app = Flood()
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server, h2_client(server) as client:
            await client.request()
            bound = WINDOW + 2 * BUFFER_HIGH_WATER
            if kind == "plain":
                assert await happens(lambda: app.sent > 20 * bound)
            else:
                assert WINDOW < await settled(lambda: app.sent) <= bound
                await client.grant()  # and no wake-up is lost
                assert await happens(lambda: app.sent > 20 * bound)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("chunk", [100, BUFFER_HIGH_WATER, 3 * 2**20])
async def test_all_arrives_once_the_window_opens(chunk: int) -> None:
    size = max(chunk, 300_000) // chunk * chunk
    data = bytes(range(256)) * (size // 256 + 1)
    buffered: list[int] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        protocol = send.__self__.send.__self__  # type: ignore[attr-defined] # a bound method
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, protocol)
            for start in range(0, size, chunk):
                await send(body(data[start : start + chunk], more=True))
            nursery.cancel_scope.cancel()
        await send(body(b""))

    async def watch(protocol: Any) -> None:
        while True:
            buffered.extend(len(buffer.buffer) for buffer in protocol.stream_buffers.values())
            await trio.lowlevel.checkpoint()

    async with serving(app) as server, h2_client(server) as client:
        await client.request()
        assert await happens(lambda: len(client.data()) == WINDOW)
        await client.grant()
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)), 5)
        assert client.data() == data[:size]
        assert max(buffered) <= 2 * BUFFER_HIGH_WATER


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("end", ["reset", "close"])
async def test_an_end_lets_go_of_a_sender_that_waits(end: str) -> None:
    returned = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(bytes(4 * WINDOW), more=True))
        returned.set()

    async with serving(app) as server:
        tasks = server.tasks()
        async with h2_client(server) as client:
            stream_id = await client.request()
            assert await happens(lambda: len(client.data()) == WINDOW)
            assert not returned.is_set()
            if end == "reset":
                client.protocol.reset_stream(stream_id)
                await client.flush()
                assert await happens(returned.is_set)
        assert await happens(returned.is_set)
        assert await happens(lambda: server.tasks() == tasks)


@pytest.mark.usefixtures("guarded")
async def test_an_echo_through_a_closed_window_is_no_deadlock() -> None:
    upload = bytes(20_000)
    async with serving(echo) as server, h2_client(server) as client:
        stream_id = await client.request(method="POST", end=False)
        sent = 0
        while sent < 15 * len(upload):
            allowed = client.protocol.local_flow_control_window(stream_id)
            if allowed >= len(upload):
                for part in range(0, len(upload), 500):  # many frames, more than an inbox takes
                    client.protocol.send_data(stream_id, upload[part : part + 500])
                sent += len(upload)
                await client.flush()
            elif not client.grants:
                await settled(lambda: len(client.data()))
                await client.grant()
            else:
                await trio.sleep(0.01)
        client.protocol.end_stream(stream_id)
        await client.flush()
        assert await happens(lambda: bool(client.of(h2.events.StreamEnded)))
        assert len(client.data()) == len(b"/ ") + sent


@pytest.mark.usefixtures("guarded")
async def test_a_stream_that_nobody_receives_is_reset_and_the_others_go_on() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        if scope["method"] == "POST":
            await trio.sleep_forever()
        await send(body(b"hello"))

    async with serving(app) as server, h2_client(server) as client:
        upload = await client.request(method="POST", end=False)
        for _ in range(2000):
            client.protocol.send_data(upload, b"")
        await client.flush()
        await client.request()
        assert await happens(lambda: client.data() == b"hello")
        assert [event.error_code for event in client.of(h2.events.StreamReset)] == [0xB]


@both
async def test_a_cut_answer_leaves_the_client_waiting(kind: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", more=True))
        raise ValueError

    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server, h2_client(server) as client:
            await client.request()
            told = await happens(lambda: bool(client.of(h2.events.StreamReset)), patience(kind))
            assert told == (kind == "guarded")
            assert not client.of(h2.events.StreamEnded)
