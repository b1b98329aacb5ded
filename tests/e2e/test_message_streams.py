"""NDJSON and MessagePack streams: the messages of the wire's vocabulary, one after another."""

import json
import time

import pytest

from penstock.wire import Cursor

from .clients import MESSAGE_TYPES, Message, open_messages, raw_client
from .serving import ServerProcess

both = pytest.mark.parametrize("accept", MESSAGE_TYPES)


@both
def test_subscribed_comes_first_then_events(server: ServerProcess, accept: str) -> None:
    cursor = server.cursor("anything")
    with open_messages(server, "anything", accept) as stream:
        assert stream.next() == {"type": "subscribed", "topic": "anything", "id": cursor}
        data: Message = {"text": "größe", "list": [1, -2.5, None, True], "deep": {"": {}}}
        last = server.post("anything", data).json()["last"]
        event = {"type": "event", "topic": "anything", "id": last, "data": data}
        assert stream.events(1) == [event]


@both
def test_the_end_and_names(server: ServerProcess, accept: str) -> None:
    with open_messages(server, "named", accept, after="earliest") as stream:
        subscribed, *events, end = stream.rest()
    assert subscribed["type"] == "subscribed"
    assert [event.get("event") for event in events] == ["first", None, "größe"]
    assert ["event" in event for event in events] == [True, False, True]
    assert end == {"type": "end", "topic": "named", "id": events[-1]["id"]}


@both
def test_a_finished_log_says_so_again(server: ServerProcess, accept: str) -> None:
    with open_messages(server, "countdown", accept, after="earliest") as stream:
        end = stream.rest()[-1]
    with open_messages(server, "countdown", accept, after=end["id"]) as stream:
        assert stream.rest() == [{**end, "type": "subscribed"}, end]


@both
def test_idle_streams_are_kept_alive(server: ServerProcess, accept: str) -> None:
    with open_messages(server, "silent", accept) as stream:
        stream.next()
        started = time.monotonic()
        assert stream.next() == {"type": "keepalive"}
        assert 0.2 < time.monotonic() - started < 1.0


@both
def test_a_busy_stream_has_no_keepalives(server: ServerProcess, accept: str) -> None:
    with open_messages(server, "ticks", accept) as stream:
        assert {message["type"] for message in stream.take(20)} == {"subscribed", "event"}


@both
def test_gaps(server: ServerProcess, accept: str) -> None:
    old = server.post("small", "old").json()["last"]
    for n in range(7):
        server.post("small", n)
    with open_messages(server, "small", accept, after=old) as stream:
        subscribed, gap, event = stream.take(3)
    assert (gap["type"], gap["reason"], gap["missed"]) == ("gap", "expired", 2)
    assert (gap["requested"], gap["resumed"]) == (old, subscribed["id"])
    assert Cursor.parse(event["id"]).offset == Cursor.parse(gap["resumed"]).offset + 1


@both
def test_text_is_a_string(server: ServerProcess, accept: str) -> None:
    with open_messages(server, "lines", accept) as stream:
        stream.next()
        server.post("lines", "a\nb\r\n")
        assert stream.events(1)[0]["data"] == "a\nb\r\n"


def test_last_event_id_is_for_event_streams_only(server: ServerProcess) -> None:
    headers = {"accept": "application/json", "last-event-id": "nonsense"}
    assert server.get("/topics/anything", headers=headers).status_code == 200


def test_each_line_is_one_json_value_on_the_wire(server: ServerProcess) -> None:
    with raw_client(server) as client:
        client.get("/topics/countdown?after=earliest&format=ndjson")
        head = client.until(b"\r\n\r\n").decode().lower()
        assert "content-type: application/x-ndjson\r\n" in head
        lines = client.until(b'"end"').split(b"\n")
        assert json.loads(lines[1])["type"] == "subscribed"
