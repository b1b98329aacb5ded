"""NDJSON over real sockets: a server that says what it is told to, and cuts where it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
import trio

from penstock import Backoff
from penstock.net.ndjson import LineDecoder, read_topic, retry_after_seconds
from penstock.net.resuming import ConnectionLost, Loss, Message, Refused

QUICK = Backoff(initial=0.001, maximum=0.001, jitter=False)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n"


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def event(offset: int) -> bytes:
    return line(type="event", topic="cpu", id=f"e-{offset}", data={"load": offset})


def stream(*lines: bytes) -> bytes:
    """An answer that ends where the connection does."""
    return HEAD + b"Connection: close\r\n\r\n" + b"".join(lines)


def cut(*lines: bytes) -> bytes:
    """An answer in chunks whose last one never comes."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in lines)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


SUBSCRIBED = line(type="subscribed", topic="cpu", id="e-0")
END = line(type="end", topic="cpu", id="e-9")


class ScriptedServer:
    """Gives each connection its own answer, then closes it, or holds it where there is none."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        self.url = ""

    @property
    def targets(self) -> list[str]:
        return [request.split(" ")[1] for request in self.requests]

    async def handle(self, connection: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            received = await connection.receive_some()
            if not received:
                return
            request += received
        self.requests.append(request.decode())
        await connection.send_all(self._answers.pop(0))
        if not self._answers:
            await connection.receive_some()  # until the client goes


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncGenerator[ScriptedServer, None]:
    server = ScriptedServer(answers)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port: int = listeners[0].socket.getsockname()[1]
        server.url = f"http://127.0.0.1:{port}/topics/cpu"
        yield server
        nursery.cancel_scope.cancel("the test is over")


async def read(
    server: ScriptedServer, after: str | None = None, losses: list[Loss] | None = None
) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    told = [] if losses is None else losses
    with trio.fail_after(10):
        await read_topic(send, server.url, after=after, backoff=QUICK, on_loss=told.append)
    return messages


# Bytes to messages


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_messages_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    data = b"".join([SUBSCRIBED, b"\n", event(1), b"\r\n", event(2)[:-1] + b"\r\n", event(3)[:9]])
    decoder = LineDecoder()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    messages = [message for piece in pieces for message in decoder.feed(piece)]
    assert [message["id"] for message in messages] == ["e-0", "e-1", "e-2"]
    assert messages[1]["data"] == {"load": 1}


@pytest.mark.parametrize(
    "bad", [b"{", b"[]", b"[{}, {}]", b"7", b"{}", b'{"type": 1}', b'{"type": "\xff"}', b"<html>"]
)
def test_a_line_that_is_no_message_is_a_lost_connection(bad: bytes) -> None:
    with pytest.raises(ConnectionLost, match="the server sent a"):
        list(LineDecoder().feed(bad + b"\n"))


def test_a_line_without_end_takes_bounded_memory() -> None:
    decoder = LineDecoder(max_line_bytes=100)
    assert list(decoder.feed(b"x" * 60)) == []
    with pytest.raises(ConnectionLost, match="a line of over 100 bytes"):
        decoder.feed(b"x" * 60)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("7", 7),
        (" 0 ", 0),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Thu, 01 Jan 2026 00:01:30", 90),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0),
        ("-3", 0),
        ("soon", 0),
        ("²", 0),
    ],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    assert retry_after_seconds(value, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


# Over sockets


async def test_it_asks_for_ndjson_and_reads_to_the_end() -> None:
    gap = line(type="gap", topic="cpu", requested="d-1", resumed="e-1", missed=None, reason="epoch")
    async with serving(stream(SUBSCRIBED, gap, event(2), line(type="keepalive"), END)) as server:
        messages = await read(server, after="d-1")
    assert [message["type"] for message in messages] == ["gap", "event", "end"]
    assert messages[1] == {"type": "event", "topic": "cpu", "id": "e-2", "data": {"load": 2}}
    assert server.targets == ["/topics/cpu?after=d-1"]
    assert "accept: application/x-ndjson\r\n" in server.requests[0].lower()


async def test_cut_connections_are_taken_up_after_the_last_whole_event() -> None:
    losses: list[Loss] = []
    answers = [
        cut(SUBSCRIBED),
        cut(SUBSCRIBED, event(1), event(2)[:10]),
        stream(event(2), event(3)[:-1]),
        stream(event(3), b"garbage\n", event(4)),
        b"",
        stream(event(4), END),
    ]
    async with serving(*answers) as server:
        messages = await read(server, losses=losses)
    assert [message["id"] for message in messages] == ["e-1", "e-2", "e-3", "e-4", "e-9"]
    afters = ["", "?after=e-0", "?after=e-1", "?after=e-2", "?after=e-3", "?after=e-3"]
    assert server.targets == [f"/topics/cpu{after}" for after in afters]
    assert len(losses) == 5


async def test_what_else_is_in_the_url_stays() -> None:
    async with serving(stream(event(1)), stream(END)) as server:
        server.url += "?token=abc&after=earliest"
        await read(server)
    assert server.targets == [
        "/topics/cpu?token=abc&after=earliest",
        "/topics/cpu?token=abc&after=e-1",
    ]


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
async def test_retry_after_is_honoured(status: str) -> None:
    losses: list[Loss] = []

    async def send(message: Message) -> None:
        raise AssertionError(message)

    async with serving(answer(status, "Retry-After: 33")) as server:
        with trio.CancelScope() as scope:

            def lost(loss: Loss) -> None:
                losses.append(loss)
                scope.cancel("that was all to see")

            await read_topic(send, server.url, backoff=QUICK, on_loss=lost)
    assert [(loss.problem, loss.delay) for loss in losses] == [
        (f"the server answered {status}", 33)
    ]


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "408 Request Timeout"])
async def test_what_may_pass_is_tried_again(status: str) -> None:
    async with serving(answer(status), stream(END)) as server:
        messages = await read(server)
    assert [message["type"] for message in messages] == ["end"]


PROBLEM = b'{"type": "about:blank", "title": "Not Found", "detail": "There is no topic cpu."}'


@pytest.mark.parametrize(
    ("refusal", "problem"),
    [
        (answer("404 Not Found", body=PROBLEM), "404 Not Found: There is no topic cpu."),
        (answer("401 Unauthorized", body=b'{"title": "Who?"}'), "401 Unauthorized: Who?"),
        (answer("400 Bad Request", body=b"<html>"), "400 Bad Request"),
        (answer("403 Forbidden", body=b"[]"), "403 Forbidden"),
        (answer("405 Method Not Allowed", body=b"x" * 100_000), "405 Method Not Allowed"),
        (answer("410 ", body=b""), "410"),
        (
            answer("200 OK", "Content-Type: text/html"),
            "not a topic of a penstock server: the answer is text/html, not application/x-ndjson",
        ),
    ],
)
async def test_a_refusal_is_for_good_and_says_why(refusal: bytes, problem: str) -> None:
    async with serving(refusal) as server:
        with pytest.raises(Refused) as caught:
            await read(server)
    assert str(caught.value) == problem
    assert len(server.requests) == 1


async def test_no_content_is_the_end() -> None:
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        assert await read(server, after="e-9") == []


@pytest.mark.parametrize("url", ["cpu", "ftp://x/y", "http://", "http://[", "http://a:b/c"])
async def test_what_is_no_url_is_refused(url: str) -> None:
    server = ScriptedServer(())
    server.url = url
    with pytest.raises(Refused, match="not "):
        await read(server)


async def test_the_system_says_why_a_connection_failed() -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        losses: list[Loss] = []
        with trio.CancelScope() as scope:

            def lost(loss: Loss) -> None:
                losses.append(loss)
                scope.cancel("that was all to see")

            async def send(message: Message) -> None:
                raise AssertionError(message)

            url = f"http://127.0.0.1:{unused.getsockname()[1]}/topics/cpu"
            await read_topic(send, url, backoff=QUICK, on_loss=lost)
    assert [loss.problem for loss in losses] == ["Connection refused"]


# penstock tail


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "penstock.cli", "tail", *arguments]


async def tail(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(30):
        return await trio.run_process(
            command(*arguments), capture_stdout=True, capture_stderr=True, check=False
        )


async def test_tail_prints_events_gaps_and_the_end() -> None:
    gap = line(type="gap", topic="cpu", requested="d-1", resumed="e-1", missed=3, reason="slow")
    first = stream(SUBSCRIBED, gap, event(2))
    second = stream(SUBSCRIBED, line(type="keepalive"), event(3), END)
    async with serving(first, second) as server:
        done = await tail(server.url, "--after", "d-1")
    types = [json.loads(printed)["type"] for printed in done.stdout.splitlines()]
    assert (done.returncode, types) == (0, ["gap", "event", "event", "end"])
    note = f"{server.url}: the server closed the connection; trying again after e-2\n"
    assert done.stderr.decode() == note
    assert server.targets == ["/topics/cpu?after=d-1", "/topics/cpu?after=e-2"]


async def test_tail_stops_after_some_events() -> None:
    gap = line(type="gap", topic="cpu", requested="d-1", resumed="e-0", missed=3, reason="slow")
    async with serving(cut(SUBSCRIBED, gap, event(1), event(2), event(3))) as server:
        done = await tail(server.url, "--count", "2")
    ids = [json.loads(printed).get("id") for printed in done.stdout.splitlines()]
    assert (done.returncode, ids, done.stderr) == (0, [None, "e-1", "e-2"], b"")


async def test_tail_says_in_a_line_why_it_was_refused() -> None:
    async with serving(answer("404 Not Found", body=PROBLEM)) as server:
        done = await tail(server.url)
    said = f"error: {server.url}: 404 Not Found: There is no topic cpu.\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", said)


async def test_tail_ends_silently_on_ctrl_c() -> None:
    async with serving(cut(SUBSCRIBED, event(1))) as server:
        process = await trio.lowlevel.open_process(
            command(server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.fail_after(30):
            assert await process.stdout.receive_some() == json_line(event(1))
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            assert await process.stdout.receive_some() == b""
            assert await process.stderr.receive_some() == b""


async def test_tail_ends_quietly_when_nobody_reads_any_more() -> None:
    async with serving(stream(event(1)), stream(*map(event, range(2, 50)))) as server:
        process = await trio.lowlevel.open_process(
            command(server.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.fail_after(30):
            assert await process.stdout.receive_some() == json_line(event(1))
            await process.stdout.aclose()
            assert await process.wait() == 0
            said = await process.stderr.receive_some()
    assert said in (
        b"",
        f"{server.url}: the server closed the connection; trying again after e-1\n".encode(),
    )


async def test_tail_without_httpx_says_what_to_install() -> None:
    code = "import sys; sys.modules['httpx'] = None; from penstock.cli import main; main()"
    done = await trio.run_process(
        [sys.executable, "-c", code, "tail", "http://127.0.0.1:1/topics/cpu"],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    said = "error: tail needs more: pip install 'penstock[net]'\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", said)


def json_line(line: bytes) -> bytes:
    return json.dumps(json.loads(line), separators=(",", ":")).encode() + b"\n"
