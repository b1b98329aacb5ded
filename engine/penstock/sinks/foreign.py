"""What the file sinks make of what no format knows: exceptions, dead letters, foreign objects.

An exception is written as ``ValueError: text``. A `DeadLetter` is a row of ``item``, ``error``,
``stage`` and ``attempts``; where its item can't be written as it is, by its ``repr``, so that a bad
item doesn't end the run in the sink that it was sent aside to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias, cast

import msgspec

from .._errors import describe
from .._failing import DeadLetter
from .finite import FiniteJson

Default: TypeAlias = Callable[[Any], Any]

_SCALARS: Final = (str, int, float, type(None))


def encode_hook(default: Default | None) -> Callable[[Any], Any]:
    """For msgspec: what stands for an object that it can't encode."""
    return partial(_stand_in, default)


def _stand_in(default: Default | None, value: Any) -> Any:
    if isinstance(value, BaseException):
        return describe(value)
    if default is None:
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
    return default(value)


_json = FiniteJson(encode_hook(None))


def letter_row(letter: DeadLetter[Any]) -> dict[str, Any]:
    """A dead letter as a row; its item is as it was."""
    return {
        "item": letter.item,
        "error": describe(letter.error),
        "stage": letter.stage,
        "attempts": letter.attempts,
    }


def encode_letter_or(encode: Callable[[Any], bytes], item: Any) -> bytes:
    """``encode(item)``; a dead letter as a row, with texts in place of what can't be encoded."""
    if not isinstance(item, DeadLetter):
        return encode(item)
    row = letter_row(cast("DeadLetter[object]", item))
    try:
        return encode(row)
    except Exception:  # noqa: BLE001 - the error that matters is in the dead letter
        return encode(row | {"item": repr(row["item"]), "error": printable(row["error"])})


def printable(text: str) -> str:
    """The text, which perhaps can't be encoded, with escapes where it can't."""
    return text.encode(errors="backslashreplace").decode()


def scalar(value: Any) -> str | int | float | None:
    """What stands for a value in a table's cell: a scalar as msgspec writes it, else JSON text.

    True and false are written as JSON writes them. Raises `TypeError` for an object that msgspec
    doesn't know, and `ValueError` for JSON that would hold NaN or an infinity.
    """
    if isinstance(value, BaseException):
        return describe(value)
    plain: Any = msgspec.to_builtins(value, str_keys=True, enc_hook=encode_hook(None))
    if isinstance(plain, _SCALARS) and not isinstance(plain, bool):
        return plain
    return _json.encode(plain).decode()


def scalar_or_repr(value: Any) -> str | int | float | None:
    """As `scalar`, and the ``repr`` of what that can't write."""
    try:
        return scalar(value)
    except Exception:  # noqa: BLE001 - the error that matters is in the dead letter
        return repr(value)
