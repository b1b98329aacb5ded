"""NaN and infinity, which JSON doesn't have (RFC 8259, section 6) and msgspec writes as ``null``.

They are looked for only where there is a ``null``. In MessagePack, which takes about as long to
encode, they keep their bits: the exponent is all ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any, Final, Protocol, cast

import msgspec

_FLOAT: Final = b"\xcb"
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""A float 64 of MessagePack that is none; in what isn't a float, such bytes may stand, too."""


class JsonEncoder(Protocol):
    """Values to JSON."""

    def encode(self, value: Any, /) -> bytes:
        """The value; raises what msgspec raises, and `ValueError`."""
        ...

    def encode_lines(self, values: list[Any], /) -> bytes | None:
        """The values, a line each; None where one of them is to be looked for by `encode`."""
        ...


class LaxJson:
    """Writes them as ``null``."""

    def __init__(self, enc_hook: Callable[[Any], Any]) -> None:
        encoder = msgspec.json.Encoder(enc_hook=enc_hook)
        self.encode = encoder.encode
        self.encode_lines = encoder.encode_lines


class FiniteJson:
    """Refuses them."""

    def __init__(self, enc_hook: Callable[[Any], Any]) -> None:
        self._json = msgspec.json.Encoder(enc_hook=enc_hook)
        self._pack_into = msgspec.msgpack.Encoder(enc_hook=enc_hook).encode_into
        self._packed = bytearray()
        self._hook = enc_hook

    def encode(self, value: Any) -> bytes:
        """The value; raises `ValueError` where it holds one, and what the encoder raises."""
        data = self._json.encode(value)
        if b"null" in data and not _is_finite(msgspec.to_builtins(value, enc_hook=self._hook)):
            raise ValueError("JSON has no NaN and no infinity (RFC 8259, section 6)")
        return data

    def encode_lines(self, values: list[Any]) -> bytes | None:
        """The values, a line each; None where one of them is to be looked for by `encode`."""
        data = self._json.encode_lines(values)
        if data.rfind(b"null") >= 0 and self._may_be_hiding(values):  # twice as fast as `in`
            return None
        return data

    def _may_be_hiding(self, values: list[Any]) -> bool:
        packed = self._packed
        try:
            self._pack_into(values, packed)
        except Exception:  # noqa: BLE001 - MessagePack can't hold all that JSON can
            return True
        return packed.find(_FLOAT) >= 0 and _NOT_FINITE.search(packed) is not None


def _is_finite(plain: object) -> bool:
    """Whether a value of plain builtins holds only numbers that JSON has."""
    if isinstance(plain, float):
        return isfinite(plain)
    if isinstance(plain, dict):
        return all(map(_is_finite, cast("dict[Any, object]", plain).values()))
    if isinstance(plain, list | tuple | set | frozenset):
        return all(map(_is_finite, cast("list[object]", plain)))
    return True
