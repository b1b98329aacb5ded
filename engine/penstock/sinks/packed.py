"""``write_msgpack``: MessagePack values one after another."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import msgspec

from .. import _options as options
from .._failing import DeadLetter
from .._spec import Chunk, Sink
from .encoded import encode_each, encoded_file_sink
from .foreign import Default, encode_hook, encode_letter_or


def write_msgpack(path: str | os.PathLike[str], default: Default | None = None) -> Sink[Any, int]:
    """Write the items as MessagePack, one after another; the result is their number.

    Dataclasses, msgspec Structs, dates, enums and UUIDs are encoded as msgspec does, exceptions as
    ``ValueError: text``.

    Args:
        path: the file; compressed where the name ends in ``.gz`` or ``.zst`` (which takes the extra
            ``zstd``).
        default: gives what can be encoded for an object that can't be.

    The file appears, whole, when the run has ended well; a run that fails or is cancelled leaves
    the old file, or none. A link is followed; a FIFO or a character device is written into as the
    items come. Memory holds two pieces of 1 MiB. Raises `StageError` for an item that MessagePack
    can't hold, and for what the operating system refuses; `PipelineError` where two sinks of the
    pipeline write the same file.
    """
    if default is not None:
        options.function("write_msgpack", "default", default, instead="map_async before it")
    return encoded_file_sink("write_msgpack", path, partial(_Packed, default))


class _Packed:
    def __init__(self, default: Default | None) -> None:
        self._encode = msgspec.msgpack.Encoder(enc_hook=encode_hook(default)).encode

    def encode(self, items: Chunk) -> bytes:
        if isinstance(items[0], DeadLetter):
            return encode_each(self._one, items)
        try:
            return b"".join(map(self._encode, items))
        except Exception:  # noqa: BLE001 - whatever it is, it is raised again, with its item
            return encode_each(self._one, items)

    def _one(self, item: Any) -> bytes:
        return encode_letter_or(self._encode, item)

    def end(self) -> bytes:
        return b""
