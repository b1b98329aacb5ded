"""The key of an event: a field of its data, or what a function gives."""

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest
import trio
import trio.testing

import penstock as ps
from penstock_server import Event, Server, Topic
from penstock_server.keys import BadKey, fields_of, key_of


@dataclass
class Place:
    city: str
    number: int = 7


class Named(msgspec.Struct, rename="camel"):
    first_name: str


class Typed(TypedDict):
    city: str


@pytest.mark.parametrize(
    ("key", "data", "expected"),
    [
        (None, {"city": "Ulm"}, None),
        ("city", {"city": "Ulm"}, "Ulm"),
        ("city", Place("Ulm"), "Ulm"),
        ("number", Place("Ulm"), "7"),
        ("first_name", Named("Ada"), "Ada"),
        (lambda data: data["a"] + 1, {"a": 1}, "2"),
    ],
)
def test_the_key_is_text(key: Any, data: Any, expected: str | None) -> None:
    assert key_of(key, data) == expected


@pytest.mark.parametrize(
    ("key", "data", "problem"),
    [
        ("city", {"town": "Ulm"}, "key='city': the data has no such field"),
        ("city", 7, "key='city': the data has no such field"),
        (lambda data: data["a"], {}, "the key function failed: KeyError: 'a'"),
    ],
)
def test_data_without_a_key_is_refused(key: Any, data: Any, problem: str) -> None:
    with pytest.raises(BadKey) as refused:
        key_of(key, data)
    assert str(refused.value) == problem


@pytest.mark.parametrize(
    ("accepts", "fields"),
    [
        (Place, ("city", "number")),
        (Named, ("first_name",)),
        (Typed, ("city",)),
        (int, None),
        (object, None),
        (dict[str, int], None),
    ],
)
def test_the_fields_of_a_type(accepts: Any, fields: tuple[str, ...] | None) -> None:
    assert fields_of(accepts) == fields


async def test_events_are_stored_with_their_key() -> None:
    topic: Topic[Any] = Server().topic("places", key="city")
    await topic.publish({"city": "Ulm"})
    await topic.publish(Event({"city": "Bonn"}, "moved"))
    assert topic.key_of(Place("Köln")) == "Köln"
    events = topic.log.read(0, 10)
    assert isinstance(events, list)
    assert [event.key for event in events] == ["Ulm", "Bonn"]
    with pytest.raises(ValueError, match="key='city'"):
        await topic.publish({"town": "Ulm"})
    assert topic.log.bounds().last == 2


@pytest.mark.expect_error_log
async def test_a_pipeline_is_told_which_item_has_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    server.topic("places", key="city")(lambda: ps.from_iterable([{"town": "Ulm"}]))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.hub.run)
        await trio.sleep(0.1)
        error = server.hub.supervisors["places"].last_error
        nursery.cancel_scope.cancel()
    assert error is not None
    assert "{'town': 'Ulm'}" in error
    assert "key='city': the data has no such field" in error
