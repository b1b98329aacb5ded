"""`events` and `job` over real sockets: a server that says and cuts what it is told to."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
import trio

import penstock as ps
from penstock.net import Event, Gap, Loss, Refused, events, job
from penstock.net.over_http.position import Item
from penstock.net.over_http.request import topic_of
from penstock.wire import encode_event

from ..scripted import (
    END,
    HEAD,
    PROBLEM,
    SSE_HEAD,
    SUBSCRIBED,
    ScriptedServer,
    answer,
    cut,
    event,
    line,
    serving,
    stream,
)

QUICK = ps.Backoff(initial=0.001, maximum=0.001, jitter=False)


async def read(
    server: ScriptedServer, losses: list[Loss] | None = None, **options: Any
) -> list[Item]:
    told = [] if losses is None else losses
    options = {"format": "ndjson", "reconnect": QUICK, "on_loss": told.append, **options}
    with trio.fail_after(10):
        return await events(server.url, **options).to(ps.collect()).run()


def offsets(items: list[Item]) -> list[int]:
    return [item.data["load"] for item in items if isinstance(item, Event)]


def sse(*offsets: int) -> bytes:
    return b"".join(encode_event(data=f'{{"load": {n}}}', id=f"e-{n}") for n in offsets)


PRIMER = b"retry: 1\nid: e-0\n\n"
SSE_END = encode_event(data='{"type":"end","topic":"cpu","id":"e-4"}', id="e-4", event="end")


# To the end, through cuts


async def test_it_asks_for_a_format_and_reads_to_the_end() -> None:
    gap = line(type="gap", topic="cpu", requested="d-1", resumed="e-1", missed=None, reason="epoch")
    answers = stream(SUBSCRIBED, gap, event(2), line(type="keepalive"), event(3), event(4), END)
    async with serving(answers) as server:
        items = await read(server, after="d-1")
    assert items[0] == Gap("cpu", "d-1", "e-1", None, "epoch")
    assert items[1] == Event("cpu", "e-2", {"load": 2})
    assert offsets(items) == [2, 3, 4]
    assert server.targets == ["/topics/cpu?after=d-1"]
    assert "accept: application/x-ndjson\r\n" in server.requests[0].lower()
    assert "accept-encoding: gzip\r\n" in server.requests[0].lower()


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
        items = await read(server, losses)
    assert offsets(items) == [1, 2, 3, 4]
    afters = ["", "?after=e-0", "?after=e-1", "?after=e-2", "?after=e-3", "?after=e-3"]
    assert server.targets == [f"/topics/cpu{after}" for after in afters]
    assert len(losses) == 5


async def test_cut_event_streams_are_taken_up_by_last_event_id() -> None:
    answers = [
        cut(PRIMER, head=SSE_HEAD),
        cut(PRIMER, sse(1, 2)[:-1], head=SSE_HEAD),
        stream(PRIMER, sse(1, 2, 3), b"data: what", head=SSE_HEAD),
        stream(PRIMER, sse(4), SSE_END, head=SSE_HEAD),
    ]
    async with serving(*answers) as server:
        items = await read(server, after="earliest", format="sse")
    assert offsets(items) == [1, 2, 3, 4]
    assert server.targets == ["/topics/cpu?after=earliest"] + ["/topics/cpu"] * 3
    ids = [_header(request, "last-event-id") for request in server.requests]
    assert ids == [None, "e-0", "e-1", "e-3"]


def _header(request: str, name: str) -> str | None:
    found = [each for each in request.split("\r\n") if each.lower().startswith(f"{name}: ")]
    return found[0].partition(": ")[2] if found else None


async def test_another_servers_ids_go_back_as_they_are() -> None:
    answers = [
        stream(b"id: b-9\ndata: 1\n\nid: b-3\ndata: 2\n\n", head=SSE_HEAD),
        stream("id: größe 7\n\n".encode(), head=SSE_HEAD),
        stream(b"id: b-3\nevent: end\ndata: 3\n\nid\n\n", head=SSE_HEAD),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ]
    async with serving(*answers) as server:
        items = await read(server, format="sse")
    assert items == [
        Event("cpu", "b-9", 1),
        Event("cpu", "b-3", 2),
        Event("cpu", "b-3", 3, "end"),
    ]
    ids = [_header(request, "last-event-id") for request in server.requests]
    assert ids == [None, "b-3", "größe 7", None]


async def test_an_id_that_no_header_can_say_is_refused() -> None:
    async with serving(stream(b"id: \x01\ndata: 1\n\n", head=SSE_HEAD), b"") as server:
        await refused(server, "can't be sent back in a header", format="sse")


async def test_what_comes_is_read_by_its_media_type() -> None:
    async with serving(stream(event(1), head=HEAD), stream(END)) as server:
        items = await read(server, format="sse")
    assert offsets(items) == [1]
    assert server.targets == ["/topics/cpu", "/topics/cpu?after=e-1"]


async def test_compressed_answers() -> None:
    body = gzip.compress(SUBSCRIBED + event(1))
    head = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
    async with serving(head + body[:-8], head + gzip.compress(event(2) + END)) as server:
        items = await read(server)
    assert offsets(items) == [1, 2]


async def test_a_coding_that_was_not_asked_for_is_refused() -> None:
    head = HEAD + b"Content-Encoding: br\r\nConnection: close\r\n\r\n"
    async with serving(head) as server:
        await refused(server, "compressed as br, which was not asked for")


async def test_what_else_is_in_the_url_stays() -> None:
    async with serving(stream(event(1)), stream(END)) as server:
        server.url += "?token=abc&after=earliest"
        await read(server, params={"slow": "block"})
    assert server.targets == [
        "/topics/cpu?token=abc&after=earliest&slow=block",
        "/topics/cpu?token=abc&after=e-1&slow=block",
    ]


async def test_headers_are_sent_each_time() -> None:
    async with serving(stream(event(1)), stream(END)) as server:
        await read(server, headers={"Authorization": "Bearer abc", "Accept-Encoding": "identity"})
    for request in server.requests:
        assert _header(request, "authorization") == "Bearer abc"
        assert _header(request, "accept-encoding") == "identity"


async def test_a_client_of_ones_own_stays_open() -> None:
    async with httpx.AsyncClient(headers={"X-Mine": "yes"}) as client, serving(END) as server:
        server._answers = [stream(END)]
        await read(server, client=client)
        assert not client.is_closed
    assert _header(server.requests[0], "x-mine") == "yes"


# Refusals and losses


async def refused(server: ScriptedServer, problem: str, **options: Any) -> Refused:
    with pytest.raises(ps.StageError, match=r"^events\(cpu\) failed: Refused: ") as caught:
        await read(server, **options)
    assert isinstance(caught.value.cause, Refused)
    assert problem in str(caught.value.cause)
    return caught.value.cause


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
async def test_retry_after_is_honoured(status: str) -> None:
    losses: list[Loss] = []
    async with serving(answer(status, "Retry-After: 33")) as server:
        with trio.CancelScope() as scope:

            def lost(loss: Loss) -> None:
                losses.append(loss)
                scope.cancel("that was all to see")

            await read(server, on_loss=lost)
    assert [(loss.problem, loss.delay) for loss in losses] == [
        (f"the server answered {status}", 33)
    ]


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "408 Request Timeout", "425 "])
async def test_what_may_pass_is_tried_again(status: str) -> None:
    async with serving(answer(status), stream(event(1), END)) as server:
        assert offsets(await read(server)) == [1]


@pytest.mark.parametrize(
    ("refusal", "problem"),
    [
        (answer("404 Not Found", body=PROBLEM), "404 Not Found: There is no topic cpu."),
        (answer("401 Unauthorized", body=b'{"title": "Who?"}'), "401 Unauthorized: Who?"),
        (answer("400 Bad Request", body=b"<html>"), "400 Bad Request"),
        (answer("403 Forbidden", body=b"[]"), "403 Forbidden"),
        (answer("405 Method Not Allowed", body=b"x" * 100_000), "405 Method Not Allowed"),
        (answer("410 ", body=b""), "410 Gone"),
        (answer("202 Accepted", body=b""), "202 Accepted"),
        (
            answer("200 OK", "Content-Type: text/html"),
            "not a topic of a penstock server, and no event stream: the answer is text/html",
        ),
    ],
)
async def test_a_refusal_is_for_good_and_says_why(refusal: bytes, problem: str) -> None:
    async with serving(refusal) as server:
        assert str(await refused(server, problem)) == problem
    assert len(server.requests) == 1


async def test_a_request_that_was_mangled_on_its_way_is_sent_again() -> None:
    mangled, explained = answer("400 Bad Request"), answer("400 Bad Request", body=PROBLEM)
    async with serving(stream(event(1)), mangled, stream(event(2), END)) as server:
        assert offsets(await read(server)) == [1, 2]
    async with serving(stream(event(1)), explained) as server:
        await refused(server, "400 Bad Request: There is no topic cpu.")


async def test_a_token_that_expires_ends_the_stream() -> None:
    said = line(type="error", code="forbidden", message="the token has expired", topic="cpu")
    async with serving(stream(SUBSCRIBED, event(1), said)) as server:
        await refused(server, "the token has expired")


async def test_no_content_is_the_end() -> None:
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        assert await read(server, after="e-9") == []


async def test_silence_is_a_lost_connection() -> None:
    losses: list[Loss] = []
    async with serving(stream(SUBSCRIBED, event(1))) as server:
        with trio.CancelScope() as scope:

            def lost(loss: Loss) -> None:
                losses.append(loss)
                scope.cancel("that was all to see")

            await read(server, on_loss=lost, timeout=0.05)
    assert [(loss.problem, loss.cursor) for loss in losses] == [
        ("the server has been silent for too long", "e-1")
    ]


async def test_the_system_says_why_a_connection_failed() -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        losses: list[Loss] = []
        server = ScriptedServer(())
        server.url = f"http://127.0.0.1:{unused.getsockname()[1]}/topics/cpu"
        with trio.CancelScope() as scope:

            def lost(loss: Loss) -> None:
                losses.append(loss)
                scope.cancel("that was all to see")

            await read(server, on_loss=lost)
    assert [loss.problem for loss in losses] == ["Connection refused"]


async def test_losses_are_logged_where_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "penstock.net")
    async with serving(b"", b"", stream(event(1)), stream(END)) as server:
        server.url = server.url.replace("//", "//me:secret@") + "?token=secret"
        await read(server, on_loss=None)
    records = [record for record in caplog.records if record.name == "penstock.net"]
    assert [record.levelname for record in records] == ["WARNING", "DEBUG", "WARNING"]
    assert "trying again in 0.001 s" in records[0].getMessage()
    assert "secret" not in caplog.text.replace("//me:secret@", "")


# Backpressure and cancellation


async def test_a_slow_reader_slows_down_the_server() -> None:
    """The server can send no more than the kernel and the stream's buffers hold."""
    sent = 0

    async def flood(connection: trio.SocketStream) -> None:
        nonlocal sent
        await connection.receive_some()
        await connection.send_all(HEAD + b"Connection: close\r\n\r\n")
        batch = line(type="event", topic="cpu", id="e-1", data="x" * 1000) * 100
        try:
            while True:
                await connection.send_all(batch)
                sent += len(batch)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, flood, listeners)
        port = listeners[0].socket.getsockname()[1]
        stream_ = events(f"http://127.0.0.1:{port}/topics/x", format="ndjson")
        async with stream_.open() as items:
            await items.chunk()
            before = -1
            while before != sent:
                before = sent
                await trio.sleep(0.05)
        assert 0 < sent < 64 * 1024 * 1024
        nursery.cancel_scope.cancel("seen enough")


async def test_a_reader_that_has_enough_closes_its_connection() -> None:
    async with serving(stream(event(1), event(2))) as server:
        with trio.fail_after(5):
            stream_ = events(server.url, format="ndjson", reconnect=QUICK)
            assert offsets(await stream_.take(1).to(ps.collect()).run()) == [1]
            await server.idle.wait()
    assert len(server.requests) == 1


# Jobs

RUN = "Location: /jobs/count/7"


def run_head(location: str = RUN) -> bytes:
    return HEAD + location.encode() + b"\r\n"


async def start(server: ScriptedServer, **options: Any) -> list[Item]:
    url = server.url.replace("/topics/cpu", "/jobs/count")
    options = {"format": "ndjson", "reconnect": QUICK, "on_loss": id, **options}
    with trio.fail_after(10):
        return await job(url, {"to": 3}, **options).to(ps.collect()).run()


async def test_a_job_is_started_once_and_then_read() -> None:
    answers = [
        b"",
        answer("503 Service Unavailable"),
        cut(SUBSCRIBED, head=run_head()),
        cut(event(1), event(2), head=run_head()),
        stream(event(3), event(4), END),
    ]
    async with serving(*answers) as server:
        assert offsets(await start(server)) == [1, 2, 3, 4]
    methods = [request.split(" ")[0] for request in server.requests]
    assert methods == ["POST", "POST", "POST", "GET", "GET"]
    assert server.targets[2:] == [
        "/jobs/count",
        "/jobs/count/7?after=e-0",
        "/jobs/count/7?after=e-2",
    ]
    keys = {_header(request, "idempotency-key") for request in server.requests[:3]}
    assert len(keys) == 1
    assert keys != {None}
    assert _header(server.requests[3], "idempotency-key") is None


async def test_each_run_of_the_stream_is_a_run_of_the_job() -> None:
    async with serving(stream(END, head=run_head()), stream(END, head=run_head())) as server:
        url = server.url.replace("/topics/cpu", "/jobs/count")
        stream_ = job(url, format="ndjson").to(ps.collect())
        await stream_.run()
        await stream_.run()
    first, second = (_header(request, "idempotency-key") for request in server.requests)
    assert first != second


async def test_a_key_of_ones_own() -> None:
    async with serving(stream(END, head=run_head())) as server:
        await start(server, key="mine")
    assert _header(server.requests[0], "idempotency-key") == "mine"


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("X: y", "doesn't say where the run is"),
        ("Location: http://elsewhere.example/jobs/count/7", "at another one, elsewhere.example"),
        ("Location: http://a:b/c", "at no URL"),
    ],
)
async def test_where_a_run_cannot_be(location: str, problem: str) -> None:
    async with serving(stream(END, head=run_head(location))) as server:
        with pytest.raises(ps.StageError, match=problem):
            await start(server)


# What is refused at once


@pytest.mark.parametrize(
    "url", ["cpu", "ftp://x/y", "http://", "http://[", "http://a:b/c", "http://a/\n", 7]
)
def test_what_is_no_url_is_refused(url: Any) -> None:
    with pytest.raises(ps.PipelineError, match=r"^events: url"):
        events(url)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"format": "json"}, "format must be one of 'sse', 'ndjson', 'msgpack'"),
        ({"data": "xml"}, "data must be one of"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"reconnect": 5}, "reconnect must be a Backoff"),
        ({"headers": {"a b": "c"}}, "no name of a header"),
        ({"headers": {"a": "c\nd"}}, "the value of a must be printable ASCII"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], problem: str) -> None:
    makers: tuple[Callable[..., object], ...] = (events, job)
    for make in makers:
        with pytest.raises(ps.PipelineError, match=problem):
            make("http://127.0.0.1/topics/cpu", **options)


def test_a_body_that_json_cannot_say() -> None:
    with pytest.raises(ps.PipelineError, match="job: body can't be said in JSON"):
        job("http://127.0.0.1/jobs/count", object())


@pytest.mark.parametrize(
    ("path", "topic"),
    [
        ("/topics/cpu", "cpu"),
        ("/under/a/prefix/topics/room.%C3%A4", "room.ä"),
        ("/jobs/census/7", "census.7"),
        ("/jobs/census", "census"),
        ("/events", "events"),
        ("/", ""),
    ],
)
def test_the_topic_of_a_url(path: str, topic: str) -> None:
    assert topic_of(httpx.URL(f"http://a{path}")) == topic


def test_what_is_received_says_itself_as_a_message() -> None:
    said = msgspec.json.encode(Event("cpu", "e-1", {"load": 1}))
    assert said == b'{"type":"event","topic":"cpu","id":"e-1","data":{"load":1}}'
