"""The stages that deal one stream's items to several branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .. import _options as options
from .._spec import Branch, Inlet, Node, SplitOp, caller
from ..transforms.splitting import DROPPED

if TYPE_CHECKING:
    from .stream import Stream

M = TypeVar("M")
N = TypeVar("N")


class Partition(NamedTuple, Generic[M, N]):
    """What `Stream.partition` gives: each item is in one of the two streams.

    Attributes:
        matching: the items for which the function's answer was true.
        others: the rest.
    """

    matching: Stream[M]
    others: Stream[N]


def branches(name: str, op: SplitOp, inlet: Inlet, names: list[str], before: Node) -> list[Node]:
    """A split behind ``before``, and its branches."""
    where = caller()
    split = Node(name, op, (before,), where)
    return [Node(each, Branch(number, inlet), (split,), where) for number, each in enumerate(names)]


@dataclass(frozen=True, slots=True)
class Routes:
    """The branches of a `Stream.route`.

    Attributes:
        numbers: the branch for each value of the key.
        otherwise: the one for all other values, `DROPPED`, or None to refuse them.
        names: what the branches are called.
        functions: what gives the stream of each.
    """

    numbers: dict[Any, int]
    otherwise: int | None
    names: list[str]
    functions: list[Callable[[Any], Any]]


def routes_of(routes: Mapping[Any, Callable[[Any], Any]], otherwise: object) -> Routes:
    """The branches for the options of ``route``."""
    if not isinstance(routes, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise options.refuse("route", f"routes must be a dict of functions, got {routes!r}")
    if not routes:
        raise options.refuse("route", "routes must name at least one value")
    for value, function in routes.items():
        options.function("route", f"routes[{value!r}]", function)
    numbers = {value: number for number, value in enumerate(routes)}
    names = [f"route[{value!r}]" for value in routes]
    functions = list(routes.values())
    if callable(otherwise):
        return Routes(numbers, len(names), [*names, "route.otherwise"], [*functions, otherwise])
    if otherwise not in ("raise", "drop"):
        raise options.refuse(
            "route", f"otherwise must be 'raise', 'drop' or a function, got {otherwise!r}"
        )
    return Routes(numbers, DROPPED if otherwise == "drop" else None, names, functions)
