"""``penstock publish``: what it sends, prints and says, against a server that is told its answers.

It runs in a thread of this process; tests/e2e runs it as a process.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgpack  # type: ignore[import-untyped] # it ships no annotations
import pytest
import trio
from click.testing import CliRunner, Result

from penstock.cli import main

from ..net.scripted import answer


class PublishServer:
    """Gives each connection its own answer and closes it.

    Attributes:
        url: a topic's.
        heads: the heads of the requests, in lower case.
        values: what each request published.
    """

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.url = ""
        self.heads: list[str] = []
        self.values: list[list[Any]] = []
        self._answers = list(answers)

    async def handle(self, connection: trio.SocketStream) -> None:
        head, _, body = (await connection.receive_some()).partition(b"\r\n\r\n")
        self.heads.append(head.decode().lower())
        length = int(re.findall(r"content-length: (\d+)", self.heads[-1])[0])
        while len(body) < length:
            body += await connection.receive_some()
        unpacker: Any = msgpack.Unpacker()
        unpacker.feed(body)
        self.values.append(list(unpacker))
        await connection.send_all(self._answers.pop(0))


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncGenerator[PublishServer, None]:
    server = PublishServer(answers)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/topics/cpu"
        yield server
        nursery.cancel_scope.cancel("the test is over")


def stored(count: int, *headers: str) -> bytes:
    body = {"count": count, "first": "e-1", "last": f"e-{count}"}
    return answer("201 Created", *headers, "Connection: close", body=json.dumps(body).encode())


def refused(status: str, **members: object) -> bytes:
    return answer(status, "Connection: close", body=json.dumps(members).encode())


async def run(*arguments: str, given: str | bytes = "", **environment: str) -> Result:
    def invoke() -> Result:
        return CliRunner(env=environment).invoke(main, ["publish", *arguments], input=given)

    with trio.fail_after(30):
        return await trio.to_thread.run_sync(invoke, abandon_on_cancel=True)


async def test_data_goes_in_one_request_and_the_answer_is_printed() -> None:
    async with serving(stored(3)) as server:
        result = await run(server.url, "1", '{"a": [true, null]}', '"text"')
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"count": 3, "first": "e-1", "last": "e-3"}
    assert "post /topics/cpu http/1.1" in server.heads[0]
    assert "content-type: application/msgpack" in server.heads[0]
    assert "idempotency-key: " in server.heads[0]
    assert server.values == [[1, {"a": [True, None]}, "text"]]


async def test_headers_event_and_token() -> None:
    async with serving(stored(1), stored(1)) as server:
        options = ("--event", "alarm", "-H", "X-One: 1", "--header", "X-Two:2")
        await run(server.url, "1", *options, "--token", "abc")
        await run(server.url, "1", PENSTOCK_TOKEN="from the environment")
    for line in ("event-name: alarm", "x-one: 1", "x-two: 2", "authorization: bearer abc"):
        assert line in server.heads[0]
    assert "authorization: bearer from the environment" in server.heads[1]
    assert "event-name" not in server.heads[1]


@pytest.mark.parametrize(
    ("given", "options", "meant"),
    [
        ('1\n{"a":2}\n\n  \n"x"', (), [1, {"a": 2}, "x"]),
        ("1\r\n2\r\n", (), [1, 2]),
        ("one\n\ntwo words", ("--text",), ["one", "two words"]),
    ],
)
async def test_lines_of_the_input(given: str, options: tuple[str, ...], meant: list[Any]) -> None:
    async with serving(*(stored(1) for _ in meant)) as server:
        result = await run(server.url, *options, given=given)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [value for values in server.values for value in values] == meant


async def test_an_empty_input_publishes_nothing() -> None:
    async with serving() as server:
        result = await run(server.url)
    assert (result.exit_code, result.output, server.heads) == (0, "", [])


async def test_a_bad_line_is_named_after_what_came_before_is_stored() -> None:
    async with serving(stored(2)) as server:
        result = await run(server.url, given="1\n\n2\nthree\n4\n")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["count"] == 2
    assert result.stderr.startswith("error: line 4 is no JSON: ")
    assert "--text" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "given", "code", "said"),
    [
        (("hello",), b"", 1, "error: DATA 1 is no JSON: "),
        (("1", "[1"), b"", 1, "error: DATA 2 is no JSON: "),
        (("NaN",), b"", 1, "error: DATA 1 is no JSON: "),
        ((), b"\xff\n", 1, "error: line 1 is no JSON: "),
        (("--text",), b"\xff\n", 1, "error: line 1 is no UTF-8: "),
        (("1", "--event", "a\nb"), b"", 1, "error: an event's name is text on one line"),
        (("1", "-H", "nonsense"), b"", 2, "error: --header 'nonsense': write it as 'Name: value'"),
        (("1", "-H", "A: b\0"), b"", 2, "error: --header: the value of A must be "),
        (("1", "--timeout", "0"), b"", 2, ""),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_sent(
    arguments: tuple[str, ...], given: bytes, code: int, said: str
) -> None:
    async with serving() as server:
        result = await run(server.url, *arguments, given=given)
    assert (result.exit_code, server.heads) == (code, [])
    assert result.stderr.startswith(said)
    assert "Traceback" not in result.output


@pytest.mark.parametrize("url", ["nonsense", "ws://127.0.0.1/ws", "http://127.0.0.1", "http://[/x"])
async def test_what_is_no_topic(url: str) -> None:
    result = await run(url, "1")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: url ")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("401 Unauthorized", "401 Unauthorized: Nobody; give --token, or set PENSTOCK_TOKEN"),
        ("403 Forbidden", "403 Forbidden: Nobody; the token has no right to publish to this topic"),
        ("404 Not Found", "404 Not Found: Nobody; is it the topic's URL, like http://127.0.0.1:8"),
        ("405 Method Not Allowed", "405 Method Not Allowed: Nobody."),
    ],
)
async def test_refusals_say_how_to_mend_it(status: str, said: str) -> None:
    async with serving(refused(status, detail="Nobody.")) as server:
        result = await run(server.url, "1")
    assert result.exit_code == 1
    assert f"error: {server.url}: {said}" in result.stderr
    assert f"{server.url}: 1 not known to be stored\n" in result.stderr


async def test_a_refused_item_is_named() -> None:
    errors = [{"index": 0, "path": "$.age", "detail": "not a number"}]
    detail = "Value 0 at $.age: not a number."
    async with serving(refused("422 X", detail=detail, errors=errors)) as server:
        result = await run(server.url, '{"age":"x"}')
    assert result.exit_code == 1
    said = "item 0 ({'age': 'x'}) at $.age: 422 Unprocessable Entity: not a number\n"
    assert f"error: {server.url}: {said}" in result.stderr


async def test_a_lost_connection_is_said_and_made_again() -> None:
    async with serving(b"", stored(1, "Idempotent-Replayed: true")) as server:
        result = await run(server.url, "1")
    assert result.exit_code == 0
    assert result.stderr.endswith("; trying again\n")
    assert json.loads(result.stdout)["count"] == 1
    keys = [
        next(line for line in server.heads[n].split("\r\n") if line.startswith("idempotency-key"))
        for n in (0, 1)
    ]
    assert keys[0] == keys[1]


async def test_a_timeout_gives_up() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/topics/cpu"
    await listener.aclose()
    result = await run(url, "1", "--timeout", "0.2")
    assert result.exit_code == 1
    assert result.stderr == (
        f"{url}: Connection refused; trying again\n{url}: 1 not known to be stored\n"
        f"error: {url}: not stored within 0.2 s\n"
    )


async def test_help_has_examples() -> None:
    result = await run("--help")
    assert "  Examples:\n    penstock publish " in result.stdout
