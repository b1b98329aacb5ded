"""``write_lines`` and ``write_jsonl``: files of lines."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

from .. import _options as options
from .._failing import DeadLetter
from .._spec import Chunk, Sink
from .encoded import encode_each, encoded_file_sink
from .finite import FiniteJson, JsonEncoder, LaxJson
from .foreign import Default, encode_hook, encode_letter_or


def write_lines(path: str | os.PathLike[str]) -> Sink[str | DeadLetter[Any], int]:
    """Write each item, a str without a line end, as a line of UTF-8; the result is their number.

    A `DeadLetter` is written as its text, with line ends as ``\\n``. The file is compressed where
    the name ends in ``.gz`` or ``.zst`` (which takes the extra ``zstd``). It appears, whole, when
    the run has ended well; a run that fails or is cancelled leaves the old file, or none. A link is
    followed; a FIFO or a character device is written into as the items come. Memory holds two
    pieces of 1 MiB.

    Raises `StageError` for an item that is no str or holds a line end, and for what the operating
    system refuses; `PipelineError` where two sinks of the pipeline write the same file.
    """
    return encoded_file_sink("write_lines", path, _Lines)


def write_jsonl(
    path: str | os.PathLike[str],
    default: Default | None = None,
    *,
    nan: Literal["raise", "null"] = "raise",
) -> Sink[Any, int]:
    """Write each item as a line of JSON; the result is their number.

    Dataclasses, msgspec Structs, dates, enums and UUIDs are encoded as msgspec does, exceptions as
    ``ValueError: text``.

    Args:
        path: the file; compressed where the name ends in ``.gz`` or ``.zst`` (which takes the extra
            ``zstd``).
        default: as that of ``json.dumps``: gives what can be encoded for an object that can't be.
        nan: what becomes of NaN and infinity, which JSON doesn't have (RFC 8259, section 6): an
            error that names the item, or ``null``, as in JavaScript. Records with other nulls are
            looked through for them, which takes as long as to encode them.

    The file appears, whole, when the run has ended well; a run that fails or is cancelled leaves
    the old file, or none. A link is followed; a FIFO or a character device is written into as the
    items come. Memory holds two pieces of 1 MiB. Raises `StageError` for an item that JSON can't
    hold, and for what the operating system refuses; `PipelineError` where two sinks of the pipeline
    write the same file.
    """
    if default is not None:
        options.function("write_jsonl", "default", default, instead="map_async before it")
    options.one_of("write_jsonl", "nan", nan, ("raise", "null"))
    encoder = FiniteJson if nan == "raise" else LaxJson
    return encoded_file_sink("write_jsonl", path, partial(_JsonLines, encoder, default))


class _Lines:
    def encode(self, items: Chunk) -> bytes:
        try:
            text = "\n".join(items) + "\n"
        except TypeError:
            return encode_each(_line, items)
        if text.count("\n") > len(items) or "\r" in text:
            return encode_each(_line, items)
        try:
            return text.encode()
        except UnicodeEncodeError:
            return encode_each(_line, items)

    def end(self) -> bytes:
        return b""


def _line(item: Any) -> bytes:
    if isinstance(item, DeadLetter):
        text = str(cast("DeadLetter[object]", item)).replace("\r", "\\r").replace("\n", "\\n")
        return text.encode(errors="backslashreplace") + b"\n"
    if not isinstance(item, str):
        raise TypeError(f"write_lines takes str, not {type(item).__name__}; .map(str) before it")
    if "\n" in item or "\r" in item:
        raise ValueError("a line can't hold a line end; split it, or use write_jsonl")
    return item.encode() + b"\n"


class _JsonLines:
    def __init__(
        self, encoder: Callable[[Callable[[Any], Any]], JsonEncoder], default: Default | None
    ) -> None:
        self._encoder = encoder(encode_hook(default))

    def encode(self, items: Chunk) -> bytes:
        if isinstance(items[0], DeadLetter):
            return encode_each(self._line, items)
        try:
            data = self._encoder.encode_lines(items)
        except Exception:  # noqa: BLE001 - whatever it is, it is raised again, with its item
            data = None
        return encode_each(self._line, items) if data is None else data

    def _line(self, item: Any) -> bytes:
        return encode_letter_or(self._encoder.encode, item) + b"\n"

    def end(self) -> bytes:
        return b""
