"""Plain values: what may travel, and how anything else becomes plain.

A plain value is None, a bool, an int of 64 bits (signed or unsigned), a finite float, text that
UTF-8 can say, bytes, a list of plain values, or a dict of them with text keys; at most `MAX_DEPTH`
containers within one another. The two codecs agree on exactly these (JSON writes bytes as base64
text), and a reader in another language can read them.

The rule of this module: a value is plain, or `NotPlain` names the place where it isn't.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from math import isfinite
from typing import Any, cast

import msgspec

MAX_DEPTH = 64
"""How many containers a value may have within one another, so that no reader runs out of stack."""

MIN_INT = -(2**63)
MAX_INT = 2**64 - 1

_MAX_NAME = 40  # of a key, in a path that goes back to who sent it

_BINARY = (bytes, bytearray, memoryview)
_LEAVES = frozenset({str, bool, type(None), *_BINARY})
_CONTAINERS = frozenset({dict, list, tuple})


class NotPlain(ValueError):
    """A value can't travel. `path` leads there from the outermost one, as in ``$.points[3].x``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self._steps: list[str] = []

    @property
    def path(self) -> str:
        """Where the fault is; ``$`` is the value itself."""
        return "$" + "".join(reversed(self._steps))

    def within(self, container: Collection[Any], child: object) -> None:
        """Adds the step from `container` to `child`, the innermost first."""
        if isinstance(container, dict):
            fields = cast("dict[str, object]", container).items()
            name = next(name for name, value in fields if value is child)
            self._steps.append(f".{name[:_MAX_NAME]}")
        else:
            index = next(index for index, value in enumerate(container) if value is child)
            self._steps.append(f"[{index}]")

    def leave_outermost(self) -> None:
        """Takes the outermost step back."""
        self._steps.pop()

    def __str__(self) -> str:
        return f"{self.reason} (at {self.path})"


def require_plain(value: object, max_depth: int = MAX_DEPTH) -> None:
    """Raises `NotPlain` unless `value` is plain; tuples pass for lists, bytearrays for bytes."""
    try:
        _require_plain_children((value,), max_depth + 1)
    except NotPlain as fault:
        fault.leave_outermost()
        raise


def _require_plain_children(container: Collection[Any], depth_left: int) -> None:
    # One call per container, and the frequent kinds first: this runs for every message.
    if depth_left == 0:
        raise NotPlain("nested too deeply")
    children = container
    outer = type(container)
    if outer is dict:
        for key in container:
            if type(key) is not str:
                raise NotPlain(f"a map's keys are text, not {type(key).__name__}")
        children = cast("dict[str, Any]", container).values()
    child: Any = None
    try:
        for child in children:
            kind = type(child)  # pyright: ignore[reportUnknownVariableType] - of anything at all
            if kind is int:
                if not MIN_INT <= child <= MAX_INT:
                    raise NotPlain("an integer is over 64 bits")
            elif kind is float:
                if not isfinite(child):
                    raise NotPlain("a number is not finite")
            elif kind in _CONTAINERS:
                _require_plain_children(child, depth_left - 1)
            elif kind not in _LEAVES:
                raise NotPlain(f"{kind.__name__} is not a plain value")
    except NotPlain as fault:
        fault.within(container, child)
        raise


class Unencodable(ValueError):
    """A value can't be said on the wire."""


def normalise(value: object) -> object:
    """What a pipeline yields, as plain builtins.

    Dataclasses and Structs become dicts, datetimes ISO 8601 text, enums their values, UUIDs and
    Decimals text, sets lists, keys text; bytes and tuples stay. NaN, infinities and integers over
    64 bits are kept for the encoder to refuse. Raises `Unencodable` for a type that nobody knows.
    """
    try:
        return msgspec.to_builtins(
            value, builtin_types=_BINARY, str_keys=True, enc_hook=_builtin_of_subclass
        )
    except Unencodable:
        raise
    except RecursionError as fault:
        raise Unencodable("nested too deeply, or within itself") from fault
    except (TypeError, ValueError, AttributeError) as fault:
        raise Unencodable(str(fault)) from fault


def _builtin_of_subclass(value: object) -> object:
    """The text or number that a subclass's instance, or another library's number, stands for."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float.__float__(value)
    try:
        return operator.index(cast("Any", value))
    except TypeError:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        raise Unencodable(f"{name} can't be said on the wire") from None
