"""``penstock tail``, run as a process against a server that says what it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import trio

from ..net.scripted import (
    PROBLEM,
    SSE_HEAD,
    SUBSCRIBED,
    answer,
    cut,
    end,
    event,
    line,
    serving,
    stream,
)


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
    second = stream(SUBSCRIBED, line(type="keepalive"), event(3), end(3))
    async with serving(first, second) as server:
        done = await tail(server.url, "--after", "d-1")
    types = [json.loads(printed)["type"] for printed in done.stdout.splitlines()]
    assert (done.returncode, types) == (0, ["gap", "event", "event", "end"])
    note = f"{server.url}: the server closed the connection; trying again after e-2\n"
    assert done.stderr.decode() == note
    assert server.targets == ["/topics/cpu?after=d-1", "/topics/cpu?after=e-2"]


async def test_tail_stops_after_some_events() -> None:
    gap = line(type="gap", topic="cpu", requested="e-0", resumed="e-3", missed=3, reason="slow")
    async with serving(cut(SUBSCRIBED, gap, event(4), event(5), event(6))) as server:
        done = await tail(server.url, "--count", "2")
    ids = [json.loads(printed).get("id") for printed in done.stdout.splitlines()]
    assert (done.returncode, ids, done.stderr) == (0, [None, "e-4", "e-5"], b"")


async def test_tail_says_in_a_line_why_it_was_refused() -> None:
    async with serving(answer("404 Not Found", body=PROBLEM)) as server:
        done = await tail(server.url)
    said = f"error: {server.url}: 404 Not Found: There is no topic cpu.\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", said)


async def test_tail_says_who_is_asking() -> None:
    async with serving(stream(end(0)), stream(end(0))) as server:
        given = await tail(server.url, "--token", "abc", "-H", "X-One: 1", "--header", "X-Two:2")
        environment = {**os.environ, "PENSTOCK_TOKEN": "from the environment"}
        found = await trio.run_process(
            command(server.url), capture_stdout=True, env=environment, check=False
        )
    assert (given.returncode, found.returncode) == (0, 0)
    first, second = server.requests
    for header in ("Authorization: Bearer abc", "X-One: 1", "X-Two: 2"):
        assert f"{header}\r\n" in first
    assert "Authorization: Bearer from the environment\r\n" in second


async def test_tail_refuses_what_is_no_header() -> None:
    done = await tail("http://127.0.0.1:1/topics/cpu", "--header", "no colon")
    said = "error: --header 'no colon': write it as 'Name: value'\n"
    assert (done.returncode, done.stderr.decode()) == (2, said)


async def test_tail_reads_event_streams_of_any_server() -> None:
    answers = stream(b"id: 7\nevent: tick\ndata: [1]\n\n", head=SSE_HEAD)
    async with serving(answers) as server:
        done = await tail(server.url, "--format", "sse", "--count", "1")
    said = b'{"type":"event","topic":"cpu","id":"7","data":[1],"event":"tick"}\n'
    assert (done.returncode, done.stdout) == (0, said)


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
    said = "error: tail needs more: pip install '.[net]' in penstock's checkout\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", said)


def json_line(line: bytes) -> bytes:
    return json.dumps(json.loads(line), separators=(",", ":")).encode() + b"\n"
