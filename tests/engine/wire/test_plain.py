import datetime
import decimal
import enum
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import TypedDict

import msgspec
import pytest

from penstock.wire.plain import MAX_DEPTH, NotPlain, Unencodable, normalise, require_plain


def nested(depth: int) -> object:
    value: object = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        "",
        "\0é😀",
        b"\xff",
        [],
        {},
        {"": [None, {"a": b""}]},
        nested(MAX_DEPTH),
    ],
)
def test_plain_values_pass(value: object) -> None:
    require_plain(value)


@pytest.mark.parametrize(
    ("value", "reason", "path"),
    [
        (2**64, "over 64 bits", "$"),
        (-(2**63) - 1, "over 64 bits", "$"),
        (float("nan"), "not finite", "$"),
        ([1, [2, float("inf")]], "not finite", "$[1][1]"),
        ({"a": {"b": [0, -float("inf")]}}, "not finite", "$.a.b[1]"),
        ({"a": [{1: 2}]}, "keys are text, not int", "$.a[0]"),
        ({b"a": 1}, "keys are text, not bytes", "$"),
        ({None: 1}, "keys are text, not NoneType", "$"),
        ({"a": object()}, "object is not a plain value", "$.a"),
        ([{1}], "set is not a plain value", "$[0]"),
        ({"x" * 1000: 2**64}, "over 64 bits", "$." + "x" * 40),
    ],
)
def test_the_place_of_what_is_not_plain_is_named(value: object, reason: str, path: str) -> None:
    with pytest.raises(NotPlain, match=reason) as caught:
        require_plain(value)
    assert caught.value.path == path
    assert path in str(caught.value)


def test_depth_is_bounded() -> None:
    with pytest.raises(NotPlain, match="nested too deeply"):
        require_plain(nested(MAX_DEPTH + 1))
    require_plain(1, max_depth=0)
    with pytest.raises(NotPlain, match="nested too deeply"):
        require_plain([], max_depth=0)


def test_a_value_within_itself_is_refused_at_once() -> None:
    value: list[object] = []
    value += [value, value]
    with pytest.raises(NotPlain, match="nested too deeply"):
        require_plain(value)
    with pytest.raises(Unencodable, match="within itself"):
        normalise(value)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Reading(TypedDict):
    value: float


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Sample:
    at: datetime.datetime
    point: Point


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number(int):
    pass


class Ratio(float):
    pass


class ForeignInteger:
    def __index__(self) -> int:
        return 12


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - an untyped one, as users have them
WHEN = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Sample(WHEN, Point(1)), {"at": "2024-05-01T12:00:00Z", "point": {"x": 1, "y": 0}}),
        (Reading(value=1.5), {"value": 1.5}),
        ([Colour.RED, Level.HIGH], ["red", 3]),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.10"), "1.10"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        ({1, 2}, [1, 2]),
        (frozenset({"a"}), ["a"]),
        ((1, (2,)), (1, (2,))),
        (Pair(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "a", Colour.RED: "b", uuid.UUID(int=0): "c"}, None),
        (b"\xff", b"\xff"),
        ([bytearray(b"a"), memoryview(b"b")], [b"a", b"b"]),
        ([Name("text"), Number(4), Ratio(0.5), ForeignInteger()], ["text", 4, 0.5, 12]),
    ],
)
def test_what_pipelines_yield_becomes_plain(value: object, plain: object) -> None:
    if plain is None:
        plain = {"1": "a", "red": "b", "00000000-0000-0000-0000-000000000000": "c"}
    result = normalise(value)
    assert result == plain
    require_plain(result)


def test_subclasses_leave_nothing_of_themselves() -> None:
    result = normalise([Name("text"), Number(4), Ratio(0.5)])
    assert isinstance(result, list)
    assert [type(item) for item in result] == [str, int, float]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "builtins.object"),
        ([1j], "complex"),
        ({"a": lambda: 1}, "function"),
        ({(1, 2): 3}, "keys"),
        ((i for i in range(3)), "generator"),
        (msgspec.UNSET, "Unset"),
    ],
)
def test_what_nobody_knows_is_unencodable(value: object, says: str) -> None:
    with pytest.raises(Unencodable, match=says):
        normalise(value)
