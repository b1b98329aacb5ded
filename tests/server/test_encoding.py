"""From values to stored bytes, and what is refused on the way."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

import msgspec
import pytest

from penstock.wire import Unencodable
from penstock_server import Event
from penstock_server.encoding import Invalid, check_event_name, decode, encode, validate


@dataclass
class Point:
    x: float
    label: str = ""


class Person(TypedDict):
    name: str
    age: int


class Team(msgspec.Struct):
    members: list[Person]
    colours: dict[str, Literal["red", "blue"]] = msgspec.field(default_factory=dict[str, Any])


def test_plain_data_has_no_name() -> None:
    encoded = encode({"n": [1, None, "é"]}, "json")
    assert (encoded.json, encoded.name) == ('{"n":[1,null,"é"]}'.encode(), None)
    assert msgspec.msgpack.decode(encoded.packed) == {"n": [1, None, "é"]}


def test_an_event_has_its_name() -> None:
    encoded = encode(Event([1], event="größe"), "json")
    assert (encoded.json, encoded.name) == (b"[1]", "größe")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Point(1.5), {"x": 1.5, "label": ""}),
        (
            Team([{"name": "Ada", "age": 36}]),
            {"members": [{"name": "Ada", "age": 36}], "colours": {}},
        ),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        ((1, 2), [1, 2]),
    ],
)
def test_both_codecs_say_the_same(value: Any, plain: Any) -> None:
    encoded = encode(value, "json")
    assert json.loads(encoded.json) == plain
    assert msgspec.msgpack.decode(encoded.packed) == plain


@pytest.mark.parametrize("value", [object(), float("nan"), 2**64, {"f": print}, "\ud800"])
def test_what_has_no_json_is_refused(value: object) -> None:
    with pytest.raises(Unencodable):
        encode(value, "json")


@pytest.mark.parametrize("name", ["", "a\nb", "a\rb", "a\0b", "\ud800", 7])
def test_names_that_break_a_line_based_format_are_refused(name: Any) -> None:
    with pytest.raises(Unencodable, match="name"):
        check_event_name(name)
    with pytest.raises(Unencodable, match="name"):
        encode(Event(1, event=name), "json")


@pytest.mark.parametrize("name", ["tick", "größe", " ", "a b", "x" * 1000, "\u2028"])
def test_other_names_are_not(name: str) -> None:
    check_event_name(name)


def test_a_text_topic_takes_text_only() -> None:
    assert encode("two\nlines", "text").json == b'"two\\nlines"'
    assert encode(Event("x", event="e"), "text").name == "e"
    with pytest.raises(Unencodable, match='encoding="text": str, not int'):
        encode(1, "text")
    with pytest.raises(Invalid, match="takes text"):
        validate(1, object, "text")
    validate("x", object, "text")


@pytest.mark.parametrize(
    ("accepts", "value"),
    [
        (Point, {"x": 1}),
        (Point, {"x": 1, "label": "a", "unknown": True}),
        (Person, {"name": "Ada", "age": 36}),
        (Team, {"members": [], "colours": {"roof": "red"}}),
        (int, 7),
        (object, {"any": ["thing"]}),
        (Any, None),
        (None, 1),
    ],
)
def test_what_is_of_the_type_passes(accepts: Any, value: Any) -> None:
    validate(value, accepts, "json")


@pytest.mark.parametrize(
    ("accepts", "value", "path", "problem"),
    [
        (Point, {"x": "1"}, "$.x", "Expected `float`, got `str`"),
        (Point, {}, "$.x", "missing required field `x`"),
        (Point, [], "$", "Expected `object`, got `array`"),
        (Person, {"name": "Ada", "age": 1.5}, "$.age", "Expected `int`, got `float`"),
        (Person, {"age": 1}, "$.name", "missing required field `name`"),
        (Team, {"members": [{"name": "Ada", "age": 1}, 7]}, "$.members[1]", "Expected `object`"),
        (Team, {"members": [{"name": "Ada"}]}, "$.members[0].age", "missing required field `age`"),
        (Team, {"members": [], "colours": {"a": "green"}}, "$.colours[...]", "enum value 'green'"),
        (dict[int, int], {"a": 1}, "$", "Expected `int`, got `str`"),
        (int, "7", "$", "Expected `int`, got `str`"),
    ],
)
def test_what_is_not_is_refused_with_its_path(
    accepts: Any, value: Any, path: str, problem: str
) -> None:
    with pytest.raises(Invalid) as refused:
        validate(value, accepts, "json")
    assert refused.value.path == path
    assert problem in refused.value.problem
    assert ("(at " in str(refused.value)) == (path != "$")


def test_what_is_quoted_of_a_clients_value_is_short() -> None:
    with pytest.raises(Invalid) as refused:
        validate("x" * 100_000, Literal["red"], "json")
    assert len(refused.value.problem) < 300


@pytest.mark.parametrize(
    ("accepts", "value"),
    [
        (Point, Point(1.0, "a")),
        (Person, {"name": "Ada", "age": 36}),
        (Team, Team([{"name": "Ada", "age": 36}], {"roof": "red"})),
        (datetime, datetime(2026, 1, 2, tzinfo=UTC)),
        (None, {"plain": [1]}),
    ],
)
def test_what_was_encoded_is_decoded_to_the_type(accepts: Any, value: Any) -> None:
    assert decode(encode(value, "json").packed, accepts) == value
