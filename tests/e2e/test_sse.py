"""``text/event-stream`` over a real socket (WHATWG HTML, section 9.2)."""

import json
import time

import pytest

from penstock.wire import Cursor

from .clients import (
    JSON_PROTOCOL,
    MESSAGE_TYPES,
    Ended,
    open_messages,
    open_socket,
    open_sse,
    raw_client,
)
from .serving import ServerProcess, eventually


def test_headers_and_priming_block_on_the_wire(server: ServerProcess) -> None:
    cursor = server.cursor("silent")
    with raw_client(server) as client:
        client.get("/topics/silent", "Accept: text/event-stream")
        head = client.until(b"\r\n\r\n").decode().lower()
        assert head.startswith("http/1.1 200")
        lines = head.split("\r\n")
        assert "content-type: text/event-stream" in lines
        assert "cache-control: no-cache, no-transform" in lines
        assert "x-accel-buffering: no" in lines
        assert not any(line.startswith("content-length") for line in lines)
        block = client.until(b"\n\n").partition(b"\r\n")[2]  # after the chunk's size
    assert block == f"retry: 250\nid: {cursor}\n\n".encode()


def test_priming_comes_before_any_event(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.get("/topics/countdown?after=earliest", "Accept: text/event-stream")
        client.until(b"\r\n\r\n")
        assert client.until(b"\n\n").partition(b"\r\n")[2].startswith(b"retry: 250\nid: ")
        assert b"data: 3\n\n" in client.until(b"data: 3\n\n")


def test_events_come_in_order_with_their_cursors(server: ServerProcess) -> None:
    with open_sse(server, "anything") as stream:
        first = Cursor.parse(server.post("anything", {"n": 0}).json()["first"])
        for n in range(1, 20):
            assert server.post("anything", {"n": n}).status_code == 201
        events = stream.take(20)
    assert [json.loads(event.data) for event in events] == [{"n": n} for n in range(20)]
    assert [event.event for event in events] == ["message"] * 20
    expected = [Cursor(first.epoch, first.offset + n) for n in range(20)]
    assert [Cursor.parse(event.id) for event in events] == expected


def test_an_event_is_delivered_at_once(server: ServerProcess) -> None:
    with open_sse(server, "anything") as stream:
        started = time.monotonic()
        server.post("anything", 1)
        stream.next()
        assert time.monotonic() - started < 0.25


def test_named_events(server: ServerProcess) -> None:
    with open_sse(server, "named", after="earliest") as stream:
        events = stream.rest()
    assert [event.event for event in events] == ["first", "message", "größe", "end"]


def test_text_goes_line_by_line(server: ServerProcess) -> None:
    text = "one\ntwo\r\n\rsmile \N{SNOWMAN}\u2028 :x"
    with open_sse(server, "lines") as stream:
        server.post("lines", text)
        server.post("lines", "")
        assert stream.take(2)[0].data == "one\ntwo\n\nsmile \N{SNOWMAN}\u2028 :x"
    with raw_client(server) as client:
        client.get("/topics/lines", "Accept: text/event-stream")
        client.until(b"\r\n\r\n")
        client.until(b"\n\n")
        server.post("lines", "a\nb")
        assert client.until(b"\n\n").endswith(b"\ndata: a\ndata: b\n\n")


def test_after_earliest_latest_and_a_cursor(server: ServerProcess) -> None:
    answers = [server.post("anything", f"after {n}").json() for n in range(3)]
    with open_sse(server, "anything", after=answers[0]["last"]) as stream:
        assert [json.loads(event.data) for event in stream.take(2)] == ["after 1", "after 2"]
    with open_sse(server, "anything", after="latest") as stream:
        server.post("anything", "news")
        assert json.loads(stream.next().data) == "news"
    with open_sse(server, "countdown", after="earliest") as stream:
        assert Cursor.parse(stream.next().id).offset == 1


def test_last_event_id_wins(server: ServerProcess) -> None:
    first, second = (server.post("anything", n).json()["last"] for n in ("x", "y"))
    with open_sse(server, "anything", after=second, last_event_id=first) as stream:
        assert json.loads(stream.next().data) == "y"


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "abc-",
        "-1",
        "ABC-1",
        "abc-01",
        "abc--1",
        "a" * 70 + "-1",
        "abc-1 ",
        "0",
        "*",
        "",
    ],
)
def test_bad_cursors_are_refused(server: ServerProcess, cursor: str) -> None:
    for accept in ("text/event-stream", "application/json", *MESSAGE_TYPES):
        answer = server.get(
            "/topics/anything", params={"after": cursor}, headers={"accept": accept}
        )
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 400
    if cursor:
        answer = server.get("/topics/anything", headers={"last-event-id": cursor + "!"})
        assert answer.status_code == 400


def test_a_finished_log_ends_and_then_gives_204(server: ServerProcess) -> None:
    with open_sse(server, "countdown", after="earliest") as stream:
        *events, end = stream.rest()
    assert [json.loads(event.data) for event in events] == [3, 2, 1, 0]
    assert end.event == "end"
    assert json.loads(end.data) == {"type": "end", "topic": "countdown", "id": events[-1].id}
    assert end.id == events[-1].id
    for headers, query in (({"last-event-id": end.id}, ""), ({}, f"?after={end.id}")):
        answer = server.get(f"/topics/countdown{query}", headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-length" not in answer.headers  # RFC 9110 section 8.6
    with open_sse(server, "countdown", last_event_id=events[1].id) as stream:
        assert [event.event for event in stream.rest()] == ["message", "message", "end"]


def test_a_finished_log_without_events_ends(server: ServerProcess) -> None:
    with open_sse(server, "nothing") as stream:
        assert [event.event for event in stream.rest()] == ["end"]


def test_idle_streams_are_kept_alive(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.get("/topics/silent", "Accept: text/event-stream")
        client.until(b"id: ")
        started = time.monotonic()
        client.until(b"\n: keepalive\n\n")
        assert 0.2 < time.monotonic() - started < 1.0
        client.until(b"\n: keepalive\n\n")


def test_a_head_request_gets_headers_only(server: ServerProcess) -> None:
    for accept in ("text/event-stream", "application/json", *MESSAGE_TYPES):
        with raw_client(server) as client:
            client.send(
                f"HEAD /topics/anything HTTP/1.1\r\nHost: t\r\nAccept: {accept}\r\n\r\n".encode()
            )
            head = client.until(b"\r\n\r\n").lower()
            assert head.startswith(b"http/1.1 200")
            assert f"content-type: {accept}".encode() in head
            client.get("/health/live")  # on the same connection
            assert client.until(b'"live"').startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/topics/absent", {}, 404),
        ("POST", "/topics/absent", {}, 404),
        ("GET", "/topics/with%2Fslash", {}, 404),
        ("GET", "/topics/" + "x" * 500, {}, 404),
        ("PUT", "/topics/anything", {}, 405),
        ("DELETE", "/topics/anything", {}, 405),
        ("POST", "/topics/ticks", {}, 405),
        ("GET", "/topics/anything", {"accept": "image/png"}, 406),
        ("GET", "/topics/anything?format=xml", {}, 400),
    ],
)
def test_problems(
    server: ServerProcess, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = server.client.request(method, server.url + path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert ("allow" in answer.headers) == (status == 405)


def test_format_wins_over_accept(server: ServerProcess) -> None:
    headers = {"accept": "text/event-stream"}
    answer = server.get("/topics/anything?format=json", headers=headers)
    assert answer.headers["content-type"] == "application/json"


def test_a_gap_is_told_before_the_next_event(server: ServerProcess) -> None:
    old = server.post("small", 0).json()["last"]
    newer = [server.post("small", n).json()["last"] for n in range(1, 10)]
    last = Cursor.parse(newer[-1])
    with open_sse(server, "small", last_event_id=old) as stream:
        gap, *events = stream.take(6)
    assert gap.event == "gap"
    told = json.loads(gap.data)
    resumed = Cursor(last.epoch, last.offset - 5)
    assert told == {
        "type": "gap",
        "topic": "small",
        "requested": old,
        "resumed": str(resumed),
        "missed": 4,
        "reason": "expired",
    }
    assert gap.id == str(resumed)
    assert [json.loads(event.data) for event in events] == [5, 6, 7, 8, 9]


def test_a_gap_of_another_epoch(server: ServerProcess) -> None:
    last = Cursor.parse(server.post("small", "newest").json()["last"])
    foreign = [Cursor("0123456789", 3), Cursor(last.epoch, last.offset + 100)]
    for cursor in foreign:
        with open_sse(server, "small", last_event_id=str(cursor)) as stream:
            told = json.loads(stream.next().data)
            assert (told["reason"], told["missed"]) == ("epoch", None)
            assert told["requested"] == str(cursor)
            stream.next()


async def test_one_cursor_goes_on_over_every_transport(server: ServerProcess) -> None:
    cursor = server.cursor("anything")
    for n in range(6):
        server.post("anything", {"step": n})
    with open_sse(server, "anything", after=cursor) as stream:
        event = stream.next()
    seen, cursor = [json.loads(event.data)], event.id
    for accept in MESSAGE_TYPES:
        with open_messages(server, "anything", accept, after=cursor) as messages:
            subscribed, message = messages.take(2)
        assert subscribed["id"] == cursor
        seen.append(message["data"])
        cursor = message["id"]
    page = server.get(f"/topics/anything?format=json&limit=1&after={cursor}").json()
    seen.append(page["events"][0]["data"])
    async with open_socket(server, JSON_PROTOCOL) as websocket:
        await websocket.send({"type": "subscribe", "topic": "anything", "after": page["next"]})
        message = await websocket.find("event")
        seen.append(message["data"])
    with open_sse(server, "anything", last_event_id=message["id"]) as stream:
        seen.append(json.loads(stream.next().data))
    assert seen == [{"step": n} for n in range(6)]


def test_a_client_that_leaves_is_forgotten(server: ServerProcess) -> None:
    def readers() -> int:
        return int(server.stats()["topics"]["silent"]["subscribers"])

    before = readers()
    with open_sse(server, "silent"), raw_client(server) as client:
        client.get("/topics/silent")
        eventually(lambda: readers() == before + 2)
        client.vanish()
        eventually(lambda: readers() == before + 1)
    eventually(lambda: readers() == before)


def test_the_end_closes_the_response(server: ServerProcess) -> None:
    with open_sse(server, "countdown", after="earliest") as stream:
        stream.take(5)
        with pytest.raises(Ended):
            stream.next()
