"""Publications of clients: all of them are stored, or none is."""

from dataclasses import dataclass
from typing import Any

import pytest

from penstock_server import Server, Topic
from penstock_server.hub import Hub
from penstock_server.log import EncodedEvent, StoredEvent
from penstock_server.publishing import Refused, store


@dataclass
class Person:
    name: str
    age: int = 0


def make(accepts: Any = Person, **options: Any) -> tuple[Hub, Topic[Any]]:
    server = Server()
    topic: Topic[Any] = server.topic("people", accepts=accepts, **options)
    return server.hub, topic


def test_values_are_stored_as_they_are() -> None:
    hub, topic = make()
    topic.log.append([EncodedEvent(b"0", b"\0")])
    values = [{"name": "Ada"}, {"name": "Bob", "age": 7, "unknown": [1]}]
    assert store(hub, topic, values, "joined") == 3
    assert topic.log.read(1, 10) == [
        StoredEvent(2, b'{"name":"Ada"}', b"\x81\xa4name\xa3Ada", "joined"),
        StoredEvent(
            3,
            b'{"name":"Bob","age":7,"unknown":[1]}',
            b"\x83\xa4name\xa3Bob\xa3age\x07\xa7unknown\x91\x01",
            "joined",
        ),
    ]
    assert hub.published == 2


@pytest.mark.parametrize(
    ("values", "index", "path"),
    [
        ([{"name": "Ada"}, {"name": 7}, {"name": "Eve"}], 1, "$.name"),
        ([{"name": "Ada"}, {"name": "Bob"}, {}], 2, "$.name"),
        ([[1]], 0, "$"),
        ([{"name": "Ada"}, {"name": "Bob", "more": float("inf")}], 1, "$"),
    ],
)
def test_one_bad_value_and_nothing_is_stored(values: list[object], index: int, path: str) -> None:
    hub, topic = make()
    with pytest.raises(Refused) as refused:
        store(hub, topic, values, None)
    assert (refused.value.index, refused.value.path) == (index, path)
    assert topic.log.bounds().last == 0
    assert hub.published == 0


@pytest.mark.parametrize("event", ["", "a\nb", "a\0"])
def test_a_bad_name_and_nothing_is_stored(event: str) -> None:
    hub, topic = make()
    with pytest.raises(Refused, match="name"):
        store(hub, topic, [{"name": "Ada"}], event)
    assert topic.log.bounds().last == 0


def test_a_text_topic_stores_text_only() -> None:
    hub, topic = make(accepts=str, encoding="text")
    store(hub, topic, ["a\nb"], None)
    with pytest.raises(Refused):
        store(hub, topic, ["c", 1], None)
    assert topic.log.bounds().last == 1
