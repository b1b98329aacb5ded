"""``read_lines`` and ``read_jsonl``: files of lines."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, TypeVar, overload

from .. import _options as options
from .._failing import Errors
from .._spec import Node
from ..stream import Stream
from .decoding import check_reading_errors, decoded, start_decode_json, start_decode_text
from .reading import MOST_BYTES, check_path, line_source

T = TypeVar("T")


def read_lines(
    path: str | os.PathLike[str],
    *,
    errors: Errors = "raise",
    max_line_bytes: int = MOST_BYTES,
) -> Stream[str]:
    """The lines of a UTF-8 text file, without their line ends (LF or CRLF) and without a byte order
    mark that it begins with.

    Args:
        path: the file; uncompressed while it is read where it ends in ``.gz`` or ``.zst`` (which
            takes the extra ``zstd``).
        errors: what becomes of a line that is not UTF-8, which is the item, as bytes.
        max_line_bytes: a line of more fails the run.

    Memory holds three pieces of 1 MiB, or a line where it is longer. Raises `StageError` at run
    time where the file can't be read or is damaged. Cancelled, it waits for the read that is going
    on, and the file is closed.
    """
    lines = _lines("read_lines", path, errors, max_line_bytes)
    return decoded(lines, errors, partial(start_decode_text, str(path), True), each=True)


@overload
def read_jsonl(
    path: str | os.PathLike[str], *, errors: Errors = "raise", max_line_bytes: int = MOST_BYTES
) -> Stream[Any]: ...


@overload
def read_jsonl(
    path: str | os.PathLike[str],
    type: type[T],
    *,
    errors: Errors = "raise",
    max_line_bytes: int = MOST_BYTES,
) -> Stream[T]: ...


def read_jsonl(
    path: str | os.PathLike[str],
    type: Any = Any,  # noqa: A002
    *,
    errors: Errors = "raise",
    max_line_bytes: int = MOST_BYTES,
) -> Stream[Any]:
    """The values of a file of JSON lines; blank lines and a byte order mark that it begins with are
    passed over.

    Args:
        path: the file; uncompressed while it is read where it ends in ``.gz`` or ``.zst`` (which
            takes the extra ``zstd``).
        type: what each line is decoded to and checked against: a dataclass, TypedDict, msgspec
            Struct, or any type that msgspec knows. Plain builtins without it.
        errors: what becomes of a line that is not JSON or not of that type. The item is the line,
            as text without its end (as bytes where it is not UTF-8).
        max_line_bytes: a line of more fails the run.

    Memory holds three pieces of 1 MiB, or a line where it is longer. Raises `StageError` naming
    file and line where one can't be decoded, and where the file can't be read or is damaged.
    Cancelled, it waits for the read that is going on, and the file is closed.
    """
    lines = _lines("read_jsonl", path, errors, max_line_bytes)
    return decoded(lines, errors, partial(start_decode_json, str(path), type))


def _lines(stage: str, path: Any, errors: Errors, max_line_bytes: int) -> Node:
    check_path(stage, path)
    check_reading_errors(stage, errors)
    options.whole_number(stage, "max_line_bytes", max_line_bytes, at_least=1)
    return line_source(stage, path, max_line_bytes)
