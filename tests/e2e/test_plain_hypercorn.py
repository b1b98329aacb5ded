"""The command ``hypercorn -k trio`` ends cleanly, too: it is guarded from the first reader on."""

import time
from contextlib import ExitStack

from .clients import open_messages, open_socket, open_sse, raw_client
from .conftest import StartServer
from .serving import eventually


async def test_readers_are_told_at_once(start_hypercorn: StartServer) -> None:
    server = start_hypercorn("examples.machine:server")
    with ExitStack() as stack:
        events = stack.enter_context(open_sse(server, "notes"))
        messages = stack.enter_context(open_messages(server, "notes"))
        messages.next()
        async with open_socket(server) as websocket:
            await websocket.ask(type="subscribe", topic="notes")
            while events.decoder.retry is None:
                events.pull()
            server.signal()
            told = time.monotonic()
            assert events.rest() == []
            assert events.decoder.retry > 2000
            assert messages.rest()[-1]["type"] == "reconnect"
            await websocket.find("reconnect")
            assert await websocket.close_code() == 1012
            assert time.monotonic() - told < 1
        assert server.wait(5) == 0
        assert time.monotonic() - told < 2


def test_a_stuck_reader_is_cut_within_the_graceful_time(start_hypercorn: StartServer) -> None:
    server = start_hypercorn("tests.e2e.configs.patient:server", "--graceful-timeout", "1")
    with raw_client(server, receive_buffer=4096) as stuck, open_sse(server, "firehose") as reader:
        stuck.get("/topics/firehose")
        reader.next()
        eventually(lambda: server.stats()["topics"]["firehose"]["max_lag"] > 20)
        server.signal()
        told = time.monotonic()
        reader.rest()
        assert time.monotonic() - told < 1
        server.wait(5)
        assert time.monotonic() - told < 3
