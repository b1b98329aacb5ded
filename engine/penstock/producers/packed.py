"""``read_msgpack``: MessagePack values one after another."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from .. import _options as options
from .._failing import Errors
from .._spec import Chunk, Step, StepControl
from ..stream import Stream
from ..transforms.element import AtOnce
from ..wire.msgpack_format import MalformedMessagePack, ValueSplitter
from .decoding import Numbered, check_reading_errors, decoded, resuming
from .reading import MOST_BYTES, PIECE_BYTES, Pieces, check_path, source

T = TypeVar("T")


class BadObject(ValueError):
    """Bytes that are no MessagePack: which file, and where in it."""


@overload
def read_msgpack(
    path: str | os.PathLike[str], *, errors: Errors = "raise", max_object_bytes: int = MOST_BYTES
) -> Stream[Any]: ...


@overload
def read_msgpack(
    path: str | os.PathLike[str],
    type: type[T],
    *,
    errors: Errors = "raise",
    max_object_bytes: int = MOST_BYTES,
) -> Stream[T]: ...


def read_msgpack(
    path: str | os.PathLike[str],
    type: Any = Any,  # noqa: A002
    *,
    errors: Errors = "raise",
    max_object_bytes: int = MOST_BYTES,
) -> Stream[Any]:
    """The values of a file of MessagePack values, one after another.

    Args:
        path: the file; uncompressed while it is read where it ends in ``.gz`` or ``.zst`` (which
            takes the extra ``zstd``).
        type: what each value is decoded to and checked against: a dataclass, TypedDict, msgspec
            Struct, or any type that msgspec knows. Plain builtins without it.
        errors: what becomes of a value that is not of that type. The item is the value's bytes.
        max_object_bytes: a value of more fails the run.

    Memory holds two pieces of 256 KiB, or a value where it is longer, whatever lengths its headers
    declare. Raises `StageError` naming file and value where one can't be decoded, and where the
    file can't be read, is damaged, or is not MessagePack to its end: what follows can't be told
    apart then. Cancelled, it waits for the read that is going on, and the file is closed.
    """
    check_path("read_msgpack", path)
    check_reading_errors("read_msgpack", errors)
    options.whole_number("read_msgpack", "max_object_bytes", max_object_bytes, at_least=1)
    values = source("read_msgpack", path, partial(_ValuePuller, Path(path), max_object_bytes))
    return decoded(values, errors, partial(_start_decode, str(path), type), each=True)


def _start_decode(path: str, type_: Any, errors: AtOnce, control: StepControl) -> Step:
    return resuming(Numbered(msgspec.msgpack.Decoder(type_).decode, path), errors, control)


class _ValuePuller:
    """The values of a file as bytes, each one whole."""

    def __init__(self, path: Path, max_object_bytes: int) -> None:
        self._path = path
        self._pieces = Pieces(path)
        self._values = ValueSplitter(PIECE_BYTES, max_object_bytes)
        self.close = self._pieces.close

    def pull(self, at_most: int) -> Chunk:
        """See `Puller.pull`. By bytes, whatever is asked for."""
        values: list[bytes] = []
        try:
            while not values:
                piece = self._pieces.read()
                if not piece:
                    self._values.end()
                    return []
                values = self._values.split(piece)
        except MalformedMessagePack as fault:
            raise BadObject(f"{self._path}: at byte {self._values.at:,}: {fault}") from fault
        return values
