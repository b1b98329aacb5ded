"""Items as the rows of a table: which names they have for their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import msgspec

from .._failing import DeadLetter
from .foreign import letter_row, printable, scalar_or_repr

Row: TypeAlias = Mapping[str, Any]


class RowReader:
    """The names and values of a mapping, dataclass, msgspec Struct, namedtuple or `DeadLetter`;
    None for what has no names. Types that it has seen it knows again.
    """

    def __init__(self) -> None:
        self._readers: dict[type[object], Callable[[Any], Row | None]] = {}

    def __call__(self, item: Any) -> Row | None:
        """The row that the item is, or None."""
        type_ = cast("type[object]", type(item))
        if type_ is dict:
            return cast("Row", item)
        reader = self._readers.get(type_)
        if reader is None:
            reader = self._readers[type_] = _reader(type_)
        return reader(item)


def _reader(type_: type[Any]) -> Callable[[Any], Row | None]:
    if issubclass(type_, DeadLetter):
        return _letter
    if issubclass(type_, Mapping):
        return dict
    if issubclass(type_, msgspec.Struct):
        known = msgspec.structs.fields(type_)
        return partial(_attributes, [(each.encode_name, each.name) for each in known])
    if is_dataclass(type_):
        return partial(_attributes, [(each.name, each.name) for each in fields(type_)])
    names = getattr(type_, "_fields", None)
    if issubclass(type_, tuple) and names:
        return partial(_attributes, [(name, name) for name in names])
    return lambda _: None


def _attributes(names: list[tuple[str, str]], item: Any) -> Row:
    return {column: getattr(item, attribute) for column, attribute in names}


def _letter(letter: DeadLetter[Any]) -> Row:
    row = letter_row(letter)
    item = scalar_or_repr(row["item"])
    return row | {
        "item": printable(item) if isinstance(item, str) else item,
        "error": printable(row["error"]),
    }
