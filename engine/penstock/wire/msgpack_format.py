"""MessagePack, as far as it is handled by the byte (the MessagePack specification, "Formats").

Writing: the headers of maps, arrays and strings, to put encoded pieces together.

Reading: five bytes can declare four billion items, and readers that make room for what is declared
before they have it are felled by a few nested ones. So a payload is walked once, building nothing,
which proves that every declared length is backed by bytes; only then is it built.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol, cast

import msgpack  # type: ignore[import-untyped]  # it ships no annotations
from msgpack import exceptions  # pyright: ignore[reportMissingTypeStubs]


class MalformedMessagePack(ValueError):
    """The bytes are not MessagePack, or cut short, or not text where they should be."""


class _Unpacker(Protocol):
    """What is used of `msgpack.Unpacker`."""

    def feed(self, data: bytes) -> None: ...
    def skip(self) -> None: ...
    def tell(self) -> int: ...


class _Msgpack(Protocol):
    """What is used of `msgpack`."""

    def Unpacker(self, *, max_buffer_size: int) -> _Unpacker: ...  # noqa: N802 - a class's name
    def unpackb(self, packed: bytes, *, strict_map_key: bool) -> object: ...


_msgpack = cast("_Msgpack", msgpack)


def array_header(length: int) -> bytes:
    """What stands before the items of an array of `length`."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 2**16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def map_header(length: int) -> bytes:
    """What stands before the keys and values of a map of `length` pairs."""
    if length < 16:
        return bytes((0x80 | length,))
    if length < 2**16:
        return b"\xde" + length.to_bytes(2, "big")
    return b"\xdf" + length.to_bytes(4, "big")


def string(text: bytes) -> bytes:
    """A string, header and all, of text that is UTF-8 already."""
    length = len(text)
    if length < 32:
        return bytes((0xA0 | length,)) + text
    if length < 2**8:
        return b"\xd9" + bytes((length,)) + text
    if length < 2**16:
        return b"\xda" + length.to_bytes(2, "big") + text
    return b"\xdb" + length.to_bytes(4, "big") + text


def unpack_one(payload: bytes) -> object:
    """The one value that `payload` is.

    Map keys are text or bytes, others are refused. Takes memory for what is there, whatever is
    declared. Raises `MalformedMessagePack`.
    """
    unpacker = _unpacker(payload)
    _prove(unpacker)
    return _build(payload)


def require_one(payload: bytes) -> None:
    """Demand that a value stands at the start of `payload`, each length in it backed by bytes.

    After this any reader may build it. Raises `MalformedMessagePack`.
    """
    _prove(_unpacker(payload))


def unpack_all(payload: bytes) -> Iterator[object]:
    """The values that stand one after another in `payload`, each as `unpack_one` takes it."""
    unpacker = _unpacker(payload)
    start = 0
    while start < len(payload):
        _prove(unpacker)
        end = unpacker.tell()
        yield _build(payload[start:end])
        start = end


class ValueSplitter:
    """The values of a stream, each as its bytes, from pieces of any size.

    Holds the one value that is not whole yet, twice. Builds nothing: a value that it gives has each
    length in it backed by bytes.

    Args:
        max_piece: the most bytes that are given at once.
        max_value: a value of more bytes raises `MalformedMessagePack`, before it is whole.
    """

    def __init__(self, max_piece: int, max_value: int) -> None:
        self._most = max_value
        self._unpacker = _msgpack.Unpacker(max_buffer_size=max_piece + max_value)
        self._parts: list[bytes] = []
        self._held = 0
        self._fault: MalformedMessagePack | None = None
        self.at = 0
        """Where in the stream the value begins that is not whole yet."""

    def split(self, piece: bytes) -> list[bytes]:
        """The values that end in the next piece.

        What stands before malformed bytes is given; the next call raises `MalformedMessagePack`.
        """
        if self._fault is not None:
            raise self._fault
        self._parts.append(piece)
        self._held += len(piece)
        self._unpacker.feed(piece)
        ends, fault = self._find_ends()
        values = self._take(ends)
        if fault is None and self._held > self._most:
            fault = self._too_long()
        if fault is not None and not values:
            raise fault
        self._fault = fault
        return values

    def end(self) -> None:
        """No more comes; raises `MalformedMessagePack` where a value is not whole."""
        if self._fault is not None:
            raise self._fault
        if self._held:
            raise MalformedMessagePack("cut short")

    def _find_ends(self) -> tuple[list[int], MalformedMessagePack | None]:
        ends: list[int] = []
        start = self.at
        try:
            while True:
                self._unpacker.skip()
                end = self._unpacker.tell()
                if end - start > self._most:
                    return ends, self._too_long()
                ends.append(end)
                start = end
        except exceptions.OutOfData:
            return ends, None
        except (exceptions.UnpackException, ValueError, RecursionError) as fault:
            return ends, MalformedMessagePack(_reason(fault))

    def _take(self, ends: list[int]) -> list[bytes]:
        if not ends:
            return []
        data = b"".join(self._parts)
        cuts = [0, *(end - self.at for end in ends)]
        self._parts = [data[cuts[-1] :]]
        self._held -= cuts[-1]
        self.at = ends[-1]
        return [data[start:end] for start, end in pairwise(cuts)]

    def _too_long(self) -> MalformedMessagePack:
        return MalformedMessagePack(f"a value of over {self._most:,} bytes")


def _unpacker(payload: bytes) -> _Unpacker:
    unpacker = _msgpack.Unpacker(max_buffer_size=max(1, len(payload)))
    unpacker.feed(payload)
    return unpacker


def _prove(unpacker: _Unpacker) -> None:
    """Walks over one value without building it."""
    try:
        unpacker.skip()
    except (exceptions.UnpackException, ValueError, RecursionError) as fault:
        raise MalformedMessagePack(_reason(fault)) from fault


def _build(proved: bytes) -> object:
    try:
        return _msgpack.unpackb(proved, strict_map_key=True)
    except (ValueError, RecursionError) as fault:
        raise MalformedMessagePack(_reason(fault)) from fault


def _reason(fault: Exception) -> str:
    if isinstance(fault, exceptions.OutOfData):
        return "cut short"
    if isinstance(fault, exceptions.StackError | RecursionError):
        return "nested too deeply"
    if isinstance(fault, exceptions.ExtraData):
        return "something follows the value"
    return str(fault) or "malformed"
