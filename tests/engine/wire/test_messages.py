import typing

import msgspec
import pytest

from penstock.wire.messages import (
    BadMessage,
    ClientMessage,
    ConnectionLimits,
    End,
    ErrorCode,
    ErrorMessage,
    Gap,
    Hello,
    Keepalive,
    Ping,
    Pong,
    Publish,
    Published,
    Reconnect,
    ServerMessage,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    parse_client_message,
)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"type": "subscribe", "topic": "cpu"}, Subscribe("cpu")),
        (
            {"type": "subscribe", "topic": "cpu", "after": "k-1", "slow": "conflate", "ref": 7},
            Subscribe("cpu", "k-1", "conflate", 7),
        ),
        ({"type": "subscribe", "topic": "cpu", "slow": None, "ref": None}, Subscribe("cpu")),
        ({"type": "unsubscribe", "topic": "cpu", "ref": "a"}, Unsubscribe("cpu", "a")),
        (
            {"type": "publish", "topic": "t", "data": [1], "event": "e", "key": "k", "ref": 0},
            Publish("t", [1], "e", "k", 0),
        ),
        ({"type": "publish", "topic": "t", "data": None}, Publish("t", None)),
        ({"type": "ping", "ref": ""}, Ping("")),
        ({"type": "ping"}, Ping()),
        ({"type": "ping", "ref": 1, "colour": "blue", "topic": 5}, Ping(1)),
    ],
)
def test_a_clients_message_is_parsed(value: object, message: ClientMessage) -> None:
    assert parse_client_message(value) == message


@pytest.mark.parametrize(
    ("value", "says", "ref"),
    [
        (None, "a message is a map", None),
        ([], "a message is a map", None),
        ("ping", "a message is a map", None),
        ({}, "a message has a type", None),
        ({"type": 1, "ref": 3}, "a message has a type", 3),
        ({"type": ["ping"]}, "a message has a type", None),
        ({"type": "shout", "ref": "r"}, "unknown type 'shout'", "r"),
        ({"type": "event"}, "unknown type 'event'", None),
        ({"type": "subscribe", "ref": 3}, "subscribe: .*missing required field `topic`", 3),
        ({"type": "publish", "topic": "t", "ref": 3}, "missing required field `data`", 3),
        ({"type": "publish", "topic": "t", "data": 1, "event": 5}, r"`str \| null`.*event", None),
        ({"type": "publish", "topic": "t", "data": 1, "key": 5}, r"`str \| null`.*key", None),
        ({"type": "subscribe", "topic": 5, "ref": "r"}, "`str`, got `int`.*topic", "r"),
        ({"type": "subscribe", "topic": None}, "`str`, got `null`.*topic", None),
        ({"type": "subscribe", "topic": "t", "after": 5}, "`str`, got `int`.*after", None),
        ({"type": "subscribe", "topic": "t", "slow": "quick", "ref": 1}, "slow", 1),
        ({"type": "unsubscribe", "topic": "t", "ref": True}, "got `bool`.*ref", None),
        ({"type": "ping", "ref": 1.5}, "got `float`.*ref", None),
        ({"type": "ping", "ref": [1]}, "got `array`.*ref", None),
        ({1: 2, "type": "ping", "ref": b"x"}, "ping: ", None),
    ],
)
def test_a_bad_message_says_what_is_wrong_and_keeps_its_ref(
    value: object, says: str, ref: object
) -> None:
    with pytest.raises(BadMessage, match=says) as caught:
        parse_client_message(value)
    assert caught.value.ref == ref
    assert caught.value.message == str(caught.value)


@pytest.mark.parametrize(
    "value",
    [{"type": "x" * 100_000}, {"type": "subscribe", "topic": "t", "slow": "x" * 100_000}],
)
def test_what_a_client_sent_is_not_quoted_at_length(value: object) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_client_message(value)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            Hello("s", 15.0, ConnectionLimits(1000, 128)),
            {
                "type": "hello",
                "session": "s",
                "heartbeat": 15.0,
                "limits": {"max_message_bytes": 1000, "max_subscriptions": 128},
            },
        ),
        (
            Subscribed("t", "k-1", "r"),
            {"type": "subscribed", "topic": "t", "id": "k-1", "ref": "r"},
        ),
        (Subscribed("t", "k-1"), {"type": "subscribed", "topic": "t", "id": "k-1"}),
        (
            Gap("t", "k-1", "k-5", None, "epoch"),
            {
                "type": "gap",
                "topic": "t",
                "requested": "k-1",
                "resumed": "k-5",
                "missed": None,
                "reason": "epoch",
            },
        ),
        (End("t", "k-9"), {"type": "end", "topic": "t", "id": "k-9"}),
        (Unsubscribed("t", 0), {"type": "unsubscribed", "topic": "t", "ref": 0}),
        (
            Published("t", "k-3", 2, 1),
            {"type": "published", "topic": "t", "id": "k-3", "count": 2, "ref": 1},
        ),
        (
            ErrorMessage(ErrorCode.FORBIDDEN, "no"),
            {"type": "error", "code": "forbidden", "message": "no"},
        ),
        (
            ErrorMessage(ErrorCode.LIMIT, "no", 4, "t"),
            {"type": "error", "code": "limit", "message": "no", "ref": 4, "topic": "t"},
        ),
        (Keepalive(), {"type": "keepalive"}),
        (Reconnect(2.5), {"type": "reconnect", "after": 2.5}),
        (Pong(7), {"type": "pong", "ref": 7}),
    ],
)
def test_a_servers_message_has_the_fields_of_the_contract(
    message: ServerMessage, fields: dict[str, object]
) -> None:
    assert msgspec.json.decode(msgspec.json.encode(message)) == fields
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message)) == fields
    assert msgspec.convert(fields, type(message)) == message


@pytest.mark.parametrize(
    "message",
    [Subscribe("t", "k-1", "skip", 1), Unsubscribe("t"), Publish("t", {"a": 1}), Ping("r")],
)
def test_a_client_can_write_what_the_server_parses(message: ClientMessage) -> None:
    assert parse_client_message(msgspec.to_builtins(message)) == message


def test_every_message_is_told_apart_by_its_type() -> None:
    tags = [
        message.__struct_config__.tag
        for union in (ClientMessage, ServerMessage)
        for message in typing.get_args(union)
    ]
    assert len(set(tags)) == len(tags) == 14


def test_the_error_codes_are_those_of_the_contract() -> None:
    assert set(ErrorCode) == {
        "bad_message",
        "unknown_topic",
        "forbidden",
        "invalid",
        "too_large",
        "rate_limited",
        "not_publishable",
        "limit",
        "bad_cursor",
        "already_subscribed",
        "unavailable",
    }
