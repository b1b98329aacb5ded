"""HTTP/1.1: bytes after a request (trap 4)."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

import pytest
import trio
import trio.testing

from penstock_server.hypercorn_guard._http1 import MAX_PIPELINED_BYTES

from .applications import (
    START,
    Message,
    Receive,
    Send,
    Silent,
    body,
    echo,
    hello,
    receive_disconnect,
)
from .serving import (
    PATIENCE,
    both,
    get,
    happens,
    hypercorn_classes,
    open_descriptors,
    read_head,
    read_to_end,
    read_until,
    reset,
    serving,
)


@both
@pytest.mark.parametrize("leave", ["FIN", "RST"])
@pytest.mark.parametrize(
    "request_and_more",
    [get() + b"\r\n", get() + get("/second"), get("/", "Connection: upgrade", "Upgrade: x")],
    ids=["CRLF", "pipelined", "upgrade"],
)
async def test_bytes_after_a_request_hide_the_disconnect(
    kind: str, leave: str, request_and_more: bytes
) -> None:
    app = Silent(answers=False)
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(app) as server:
            tasks, descriptors = server.tasks(), open_descriptors()
            client = await server.connect()
            await client.send_all(request_and_more)
            assert await happens(lambda: app.received != [])

            await client.aclose() if leave == "FIN" else reset(client)

            if kind == "guarded":
                assert await happens(app.disconnected.is_set)
                assert await happens(lambda: server.tasks() == tasks)
                assert open_descriptors() == descriptors
            else:
                assert not await happens(app.disconnected.is_set, PATIENCE)
                assert server.tasks() > tasks


@pytest.mark.usefixtures("guarded")
async def test_what_was_pipelined_ends_with_the_peer() -> None:
    paths: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await receive_disconnect(receive)
        await hello(scope, receive, send)  # it has not noticed

    async with serving(app, keep_alive_timeout=60) as server:
        tasks = server.tasks()
        client = await server.connect()
        await client.send_all(get("/1") + get("/2"))
        assert await happens(lambda: paths == ["/1"])
        await client.send_eof()
        assert await happens(lambda: server.tasks() == tasks)
        assert paths == ["/1"]


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("size", [1, 7, 10_000], ids=lambda size: f"writes of {size}")
async def test_pipelined_requests_are_answered_in_order(size: int) -> None:
    requests = (
        get("/1")
        + b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst"
        + b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"
        + get("/4")
        + get("/5", "Connection: close")
    )
    async with serving(slow_echo) as server:
        client = await server.connect()
        for start in range(0, len(requests), size):
            await client.send_all(requests[start : start + size])
        answers = await read_to_end(client)
    assert contents(answers) == [b"/1 ", b"/2 first", b"/3 second", b"/4 ", b"/5 "]


async def slow_echo(scope: Message, receive: Receive, send: Send) -> None:
    await trio.sleep(0.02)
    await echo(scope, receive, send)


def contents(answers: bytes) -> list[bytes]:
    """The bodies of answers in chunked encoding."""
    bodies: list[bytes] = []
    for answer in answers.split(b"HTTP/1.1 200 \r\n")[1:]:
        rest, content = answer.partition(b"\r\n\r\n")[2], bytearray()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            content += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        bodies.append(bytes(content))
    return bodies


@pytest.mark.usefixtures("guarded")
async def test_more_is_pipelined_than_is_read_ahead() -> None:
    go = trio.Event()
    held: list[int] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            protocol = send.__self__.send.__self__  # type: ignore[attr-defined] # a bound method
            await go.wait()
            held.append(len(protocol.connection.trailing_data[0]))
        await echo(scope, receive, send)

    upload = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"u" * 200_000
    async with serving(app) as server, trio.open_nursery() as nursery:
        client = await server.connect()
        await client.send_all(get("/first"))
        requests = b"".join(upload % number for number in range(20)) + get(
            "/last", "Connection: close"
        )
        nursery.start_soon(client.send_all, requests)
        await trio.sleep(0.1)
        go.set()
        answers = contents(await read_to_end(client))
    assert MAX_PIPELINED_BYTES < held[0] <= 2 * MAX_PIPELINED_BYTES
    assert [len(answer) for answer in answers[1:-1]] == [
        200_000 + len(b"/%d " % number) for number in range(20)
    ]
    assert (answers[0], answers[-1]) == (b"/first ", b"/last ")


@pytest.mark.usefixtures("guarded")
async def test_a_pipelined_body_that_is_still_coming_keeps_its_order() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await trio.sleep(0.1)
        await send(START)
        while (event := await receive()).get("more_body"):
            await trio.lowlevel.checkpoint()
            await send(body(event["body"], more=True))
        await send(body(b""))

    chunks = [b"3\r\n%03d\r\n" % number for number in range(200)]
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(app, max_app_queue_size=2) as server:
        client = await server.connect()
        await client.send_all(get() + head + b"".join(chunks[:100]))
        for chunk in chunks[100:]:
            await client.send_all(chunk)
            await trio.sleep(0.002)  # some come while those before them wait to be received
        await client.send_all(b"0\r\n\r\n" + get("/", "Connection: close"))
        assert contents(await read_to_end(client)) == [
            b"",
            b"".join(b"%03d" % number for number in range(200)),
            b"",
        ]


@both
async def test_an_upgrade_to_http2_is_taken(kind: str) -> None:
    with hypercorn_classes(guarded=kind == "guarded"):
        async with serving(echo) as server:
            client = await server.connect()
            upgrade = get("/2", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
            await client.send_all(upgrade)
            status = (await read_head(client)).split()[1]
            assert status == (b"200" if kind == "guarded" else b"101")


@pytest.mark.usefixtures("guarded")
async def test_an_event_stream_is_delivered_event_by_event() -> None:
    go: list[trio.Event] = [trio.Event() for _ in range(3)]
    end = trio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-type", b"text/event-stream")]})
        for number, event in enumerate(go):
            await event.wait()
            await send(body(b"data: %d\n\n" % number, more=True))
        await end.wait()
        await send(body(b""))

    async with serving(app) as server:
        client = await server.connect()
        await client.send_all(get())
        await read_head(client)
        for number, event in enumerate(go):
            event.set()
            assert await read_until(client, b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
        end.set()
        assert await read_until(client, b"\r\n\r\n") == b"0\r\n\r\n"
