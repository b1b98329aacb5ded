"""The producer ``websocket`` against servers that misbehave, over real sockets."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import msgspec
import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

import penstock as ps
from penstock import Backoff, PipelineError, StageError
from penstock.net import Event, Gap, Loss, Refused, SubscriptionRefused, websocket

from .server import (
    Answer,
    Peer,
    end,
    event,
    serving,
    subscribed,
)

QUICK = Backoff(initial=0.001, maximum=0.002)
PATIENCE = 20


async def read(
    url: str, topics: Any = "cpu", *, losses: list[Loss] | None = None, **options: Any
) -> list[Event | Gap]:
    """All of it, to the end."""
    on_loss = (lambda _: None) if losses is None else losses.append
    stream = websocket(url, topics, reconnect=QUICK, on_loss=on_loss, **options)
    with trio.fail_after(PATIENCE):
        return await stream.to(ps.collect()).run()


async def refusal(url: str, topics: Any = "cpu", **options: Any) -> Refused:
    with pytest.raises(StageError) as caught:
        await read(url, topics, **options)
    assert isinstance(caught.value.__cause__, Refused)
    return caught.value.__cause__


def offsets(items: list[Event | Gap]) -> list[object]:
    return [each.data if isinstance(each, Event) else "gap" for each in items]


async def whole(peer: Peer) -> None:
    """A log of three events."""
    await peer.greet()
    await peer.say(subscribed(), event(1), event(2))
    await peer.say(event(3), end(3))
    await peer.until_gone()


# What goes well


@pytest.mark.parametrize("codec", ["msgpack", "json"])
async def test_reads_to_the_end_and_says_goodbye(codec: Literal["msgpack", "json"]) -> None:
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.say(subscribed(), event(1), {"type": "of tomorrow"}, event(2), end(2))
        codes.append(await peer.until_gone())

    headers = {"Authorization": "Bearer abc", "X-Empty": ""}
    async with serving(script) as server:
        items = await read(server.url, codec=codec, slow="block", headers=headers)
    assert items == [Event("cpu", "e-1", 1), Event("cpu", "e-2", 2)]
    asked = {"type": "subscribe", "topic": "cpu", "slow": "block", "ref": 0}
    assert server.asked == [[asked]]
    assert codes == [1000]
    sent = dict(server.requests[0].headers)
    assert sent[b"authorization"] == b"Bearer abc"
    assert server.requests[0].proposed_subprotocols == (f"penstock.v1.{codec}",)


async def test_topics_in_every_way_of_writing_them() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.say(*(end(0, each["topic"]) for each in peer.asked))
        await peer.until_gone()

    ways: list[tuple[Any, Any]] = [
        (["a", "b"], "e-5"),
        (("a", "b"), {"a": "e-5", "b": "e-5"}),
        ({"a": "e-5", "b": "e-5"}, "latest"),
    ]
    async with serving(script) as server:
        for topics, after in ways:
            assert await read(server.url, topics, after=after) == []
        await read(server.url, {"a", "b"}, after={"a": "earliest"})
    for asked in server.asked[:3]:
        assert [(each["topic"], each["after"]) for each in asked] == [("a", "e-5"), ("b", "e-5")]
    by_name = {each["topic"]: each.get("after") for each in server.asked[3]}
    assert by_name == {"a": "earliest", "b": None}  # latest is the default


async def test_a_frame_of_some_megabytes_passes() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.say(subscribed(), *(event(n, data="x" * 1_000_000) for n in range(1, 9)), end(8))
        await peer.until_gone()

    async with serving(script) as server:
        assert len(await read(server.url)) == 8


async def test_a_slow_pipeline_is_waited_for() -> None:
    """Nothing piles up on this side: the server can't get rid of what is not taken."""
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.greet()
        await peer.say(subscribed())
        while True:
            await peer.say(event(sent + 1, data="x" * 100_000))
            sent += 1

    async with serving(script) as server:
        stream = websocket(server.url, "cpu").buffer(1)
        async with stream.open() as items:
            async for _ in items:
                break
            stalled = -1
            while sent != stalled:  # until the server waits for us
                stalled = sent
                await trio.sleep(0.1)
            assert sent < 200  # 20 MB: what sockets hold and a few frames
            count = 1
            async for _ in items:
                count += 1
                if count > stalled:
                    break


# Losses


async def test_goes_on_after_losses_of_every_kind() -> None:
    losses: list[Loss] = []

    async def vanish(peer: Peer) -> None:
        await peer.greet()
        await peer.say(subscribed(), event(1))
        await peer.vanish()

    async def restart(peer: Peer) -> None:
        await peer.greet()
        await peer.say(subscribed(1), event(1), event(2), {"type": "reconnect", "after": 0.01})
        await peer.until_gone()

    async def close(code: int, peer: Peer) -> None:
        await peer.greet()
        await peer.connection.aclose(code)

    async def silent_hello(peer: Peer) -> None:
        await peer.say(event(2))
        await peer.until_gone()

    async def last(peer: Peer) -> None:
        await peer.greet()
        await peer.say(event(3), end(3))
        await peer.until_gone()

    codes = (1001, 1006, 1011, 1012, 1013, 3008, 4999)
    closings = [partial(close, code) for code in codes if code != 1006]
    busy: Answer = (503, [(b"Retry-After", b"0")], b"")
    full: Answer = (429, [], b"")
    async with serving(vanish, restart, *closings, silent_hello, busy, full, last) as server:
        items = await read(server.url, after="earliest", losses=losses)
    assert offsets(items) == [1, 2, 3]
    assert [each[0].get("after") for each in server.asked if each] == (
        ["earliest", "e-1", *["e-2"] * len(closings), "e-2"]
    )
    problems = [each.problem for each in losses]
    assert problems[:2] == ["the connection broke off", "the server asks to reconnect"]
    assert problems[2] == "the server closed the connection (1001)"
    assert problems[-3:] == [
        "the server did not say hello first",
        "the server answered 503 Service Unavailable",
        "the server answered 429 Too Many Requests",
    ]
    assert losses[-1].attempt == len(losses) - 1  # in a row since the last event


@pytest.mark.parametrize(
    "hostile",
    [
        lambda peer: peer.connection.send_message("[]" if peer.binary else b"\x90"),
        lambda peer: peer.connection.send_message(b"\xdd\xff\xff\xff\xff"),
        lambda peer: peer.connection.send_message(b"\x91" * 10_000),
        lambda peer: peer.say_value(5),
        lambda peer: peer.say({"type": "event", "topic": 5}),
        lambda peer: peer.say({**event(2), "id": "soon"}),
        lambda peer: peer.say({"type": "unsubscribed", "topic": "cpu"}),
        lambda peer: peer.connection._stream.send_all(b"\xff\xff\xff\xff"),  # no frame at all
        lambda peer: peer.connection._stream.send_all(b"\x82\x85masked"),
        lambda peer: peer.connection._stream.send_all(b"\x89\xfe" + bytes(300)),  # a long ping
        lambda peer: peer.connection._stream.send_all(b"\x88\x01\x00"),  # half a close code
        lambda peer: peer.connection._stream.send_all(b"\x81\x02\xff\xff"),  # text, not UTF-8
    ],
)
async def test_hostile_frames_are_a_loss(hostile: Callable[[Peer], Any]) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.say(subscribed(), event(1))
        await hostile(peer)
        await peer.until_gone()

    async def last(peer: Peer) -> None:
        await peer.greet()
        await peer.say(event(2), end(2))
        await peer.until_gone()

    async with serving(script, last) as server:
        losses: list[Loss] = []
        assert offsets(await read(server.url, losses=losses)) == [1, 2]
    assert len(losses) == 1
    assert server.asked[1][0]["after"] == "e-1"


async def test_an_undecodable_frame_is_told_by_the_close_code() -> None:
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.connection.send_message(b"\xc1")
        codes.append(await peer.until_gone())

    async with serving(script, whole) as server:
        await read(server.url)
    assert codes == [1007]


async def test_losses_are_logged_where_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def vanish(peer: Peer) -> None:
        await peer.vanish()

    async with serving(vanish, vanish, whole) as server:
        with caplog.at_level(logging.DEBUG, "penstock.net"):
            stream = websocket(f"{server.url}?token=secret", "cpu", reconnect=QUICK)
            await stream.to(ps.drain()).run()
    mine = [each for each in caplog.records if each.name == "penstock.net"]
    assert [each.levelno for each in mine] == [logging.WARNING, logging.DEBUG]
    assert f"{server.url}: " in mine[0].getMessage()
    assert "secret" not in caplog.text


# Refusals


PROBLEM = json.dumps({"title": "Forbidden", "detail": "The token is no good."}).encode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, [], PROBLEM), "401 Unauthorized: The token is no good."),
        ((403, [], b"<html>"), "403 Forbidden"),
        ((404, [], b""), "404 Not Found"),
        ((418, [], b"\xff" * 10_000), "418 I'm a Teapot"),
        ((200, [], b""), "200 OK: not a WebSocket"),
        ((302, [(b"Location", b"/else")], b""), "302 Found: the WebSocket is elsewhere, /else"),
    ],
)
async def test_statuses_that_are_final(answer: Answer, said: str) -> None:
    async with serving(answer) as server:
        refused = await refusal(server.url)
    assert str(refused).startswith(said)
    assert isinstance(answer, tuple)
    assert refused.status == answer[0]
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1008, 1009, 4401])
async def test_close_codes_that_are_final(code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.connection.aclose(code, "because")

    async with serving(script) as server:
        assert f"({code}: because)" in str(await refusal(server.url))
    assert len(server.requests) == 1


async def test_what_came_before_a_refusal_is_passed_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        unknown = {"type": "error", "code": "unknown_topic", "message": "no such topic", "ref": 1}
        await peer.say(subscribed(), event(1), unknown)
        await peer.until_gone()

    seen: list[Event | Gap] = []
    async with serving(script) as server:
        stream = websocket(server.url, ["cpu", "gpu"], reconnect=QUICK)
        with pytest.raises(StageError) as caught:
            await stream.to(ps.for_each(seen.append)).run()
    assert offsets(seen) == [1]
    refused = caught.value.__cause__
    assert isinstance(refused, SubscriptionRefused)
    assert str(refused) == "topic gpu: no such topic (unknown_topic)"


async def test_a_topic_that_is_full_is_asked_for_again_while_others_are_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        limit = {"type": "error", "code": "limit", "message": "full", "ref": 1, "topic": "room.1"}
        await peer.say(subscribed(), event(1), limit)
        assert [each["topic"] for each in await peer.hear()] == ["room.1"]
        await peer.say(event(2), limit)
        await peer.hear()
        await peer.say(event(1, "room.1"), end(2), end(1, "room.1"))
        await peer.until_gone()

    async with serving(script) as server:
        losses: list[Loss] = []
        items = await read(server.url, ["cpu", "room.1"], losses=losses)
    assert [(each.topic, each.data) for each in items if isinstance(each, Event)] == [
        ("cpu", 1),
        ("cpu", 2),
        ("room.1", 1),
    ]
    assert [each.problem for each in losses] == ["topic room.1: full (limit)"] * 2


async def test_a_frame_that_is_too_big_names_the_option() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.say(event(1, data="x" * 5_000))
        await peer.until_gone()

    async with serving(script) as server:
        refused = await refusal(server.url, max_message_bytes=4096)
    assert str(refused) == (
        "the server sent a frame of over 4,096 bytes; max_message_bytes= allows more"
    )


async def test_another_subprotocol_is_no_penstock_server() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        server = WSConnection(ConnectionType.SERVER)
        server.receive_data(await stream.receive_some())
        assert [type(each) for each in server.events()] == [Request]
        await stream.send_all(server.send(AcceptConnection()))
        await stream.receive_some()

    async with raw_server(handle) as url:
        assert "doesn't speak penstock.v1.msgpack" in str(await refusal(url))


# Raw servers


@asynccontextmanager
async def raw_server(
    handle: Callable[[trio.SocketStream], Awaitable[None]],
) -> AsyncGenerator[str, None]:
    """A TCP server; gives its URL."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel("the test is over")


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 101 Swit", b"\x00\xff\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n"]
)
async def test_a_handshake_that_breaks_off_is_a_loss_at_once(said: bytes) -> None:
    attempts = 0

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal attempts
        attempts += 1
        await stream.receive_some()
        await stream.send_all(said)
        await stream.send_eof()

    scope = trio.CancelScope()

    def third(loss: Loss) -> None:
        if loss.attempt == 3:
            scope.cancel("seen enough")

    async with raw_server(handle) as url:
        with trio.fail_after(5), scope:
            await websocket(url, "cpu", reconnect=QUICK, on_loss=third).to(ps.drain()).run()
    assert attempts == 3


async def test_an_endless_refusal_takes_no_memory() -> None:
    sent = 0

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 No\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                await stream.send_all(b"x" * 65_536)
                sent += 65_536
        except trio.BrokenResourceError:
            pass

    scope = trio.CancelScope()
    losses: list[Loss] = []

    def first(loss: Loss) -> None:
        losses.append(loss)
        scope.cancel("seen enough")

    async with raw_server(handle) as url:
        with trio.fail_after(PATIENCE), scope:
            await websocket(url, "cpu", reconnect=QUICK, on_loss=first).to(ps.drain()).run()
    assert len(losses) == 1
    assert sent < 50_000_000


async def test_nobody_listens() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    losses: list[Loss] = []
    scope = trio.CancelScope()

    def third(loss: Loss) -> None:
        losses.append(loss)
        if loss.attempt == 3:
            scope.cancel("seen enough")

    with trio.fail_after(PATIENCE), scope:
        url = f"ws://127.0.0.1:{port}"
        await websocket(url, "cpu", reconnect=QUICK, on_loss=third).to(ps.drain()).run()
    assert [each.problem for each in losses] == ["Connection refused"] * 3


# Cancelling


async def test_cancelled_it_says_goodbye_at_once() -> None:
    codes: list[int] = []
    gone = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.say(subscribed(), event(1))
        codes.append(await peer.until_gone())
        gone.set()

    async with serving(script) as server:
        async with websocket(server.url, "cpu").open() as items:
            async for _ in items:
                break
        with trio.fail_after(PATIENCE):
            await gone.wait()
    assert codes == [1000]


@pytest.mark.parametrize("handshake", [False, True])
async def test_cancelled_while_the_server_takes_no_notice(handshake: bool) -> None:
    connected = trio.Event()

    async def handle(stream: trio.SocketStream) -> None:
        if handshake:
            server = WSConnection(ConnectionType.SERVER)
            server.receive_data(await stream.receive_some())
            assert [type(each) for each in server.events()] == [Request]
            accepted = AcceptConnection(subprotocol="penstock.v1.msgpack")
            await stream.send_all(server.send(accepted))
        connected.set()
        await trio.sleep_forever()

    async with raw_server(handle) as url:
        with trio.fail_after(5):  # it takes a second, in fact
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket(url, "cpu").to(ps.drain()).run)
                await connected.wait()
                nursery.cancel_scope.cancel("enough")


# Options


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "ftp://x/ws"}, "url must be like"),
        ({"url": "ws://"}, "url must be like"),
        ({"url": "ws://h:99999/"}, "url is not a URL"),
        ({"url": "ws://h/a b"}, "spaces"),
        ({"url": "ws://h/\n"}, "spaces"),
        ({"url": "ws://hö/"}, "ASCII"),
        ({"url": "ws://me:secret@h/"}, "no user and password"),
        ({"url": 5}, "must be text"),
        ({"topics": []}, "at least one topic"),
        ({"topics": [""]}, "must be names"),
        ({"topics": {"a": "soon"}}, "after must be"),
        ({"topics": {"a": "latest"}, "after": "earliest"}, "so after must not"),
        ({"after": "e-"}, "after must be"),
        ({"after": {"b": "latest"}}, "not in topics"),
        ({"slow": "never"}, "slow must be one of"),
        ({"codec": "xml"}, "codec must be one of"),
        ({"max_message_bytes": 5}, "at least 1024"),
        ({"reconnect": 5}, "must be a Backoff"),
        ({"headers": {"a b": "c"}}, "no name of a header"),
        ({"headers": {"a": "c\r\nd: e"}}, "one line"),
        ({"headers": {"a": 5}}, "text to text"),
        ({"on_loss": 5}, "must be a function"),
    ],
)
def test_options(change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"url": "ws://127.0.0.1:1/ws", "topics": "a", **change}
    with pytest.raises(PipelineError, match=r"^websocket: ") as caught:
        websocket(given.pop("url"), given.pop("topics"), **given)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_it_is_a_stage_with_a_name() -> None:
    stream = websocket("http://127.0.0.1:8000", ["a"])
    assert "websocket" in stream.to(ps.drain()).graph().text()
    assert isinstance(msgspec.json.encode(Event("a", "e-1", 1)), bytes)
