"""Producers that read files, in worker threads, a large piece at a time."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar, overload

import msgspec

from .. import _options as options
from .._errors import ItemFailed
from .._spec import Chunk, Node, PullSource, Step, StepControl, StepOp, caller
from ..stream import Stream

T = TypeVar("T")

_PIECE_BYTES = 1 << 18


def read_lines(path: str | os.PathLike[str]) -> Stream[str]:
    """The lines of a UTF-8 text file, without their line ends (LF or CRLF).

    Memory holds one piece of about 256 KiB, or one line where it is longer. Raises `StageError` at
    run time where the file can't be read or is not UTF-8.
    """
    source = _lines("read_lines", path)
    decode = StepOp(partial(_start_decode_lines, str(path)))
    return Stream(Node("decode", decode, (source,), source.where))


@overload
def read_jsonl(path: str | os.PathLike[str]) -> Stream[Any]: ...


@overload
def read_jsonl(path: str | os.PathLike[str], type: type[T]) -> Stream[T]: ...


def read_jsonl(path: str | os.PathLike[str], type: Any = Any) -> Stream[Any]:  # noqa: A002
    """The values of a file of JSON lines; blank lines are passed over.

    Args:
        path: the file.
        type: what each line is decoded to and checked against: a dataclass, TypedDict, msgspec
            Struct, or any type that msgspec knows. Plain builtins without it.

    Raises `StageError` naming file and line where one is not JSON or not of that type.
    """
    source = _lines("read_jsonl", path)
    decode = StepOp(partial(_start_decode_json, str(path), type))
    return Stream(Node("decode", decode, (source,), source.where))


def _lines(name: str, path: str | os.PathLike[str]) -> Node:
    if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise options.refuse(name, f"path must be a path, got {path!r}")
    op = PullSource(partial(_LinePuller, Path(path)), blocking=True)
    return Node(f"{name}({Path(path).name})", op, where=caller())


class _LinePuller:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def pull(self, at_most: int) -> Chunk:
        # By bytes, whatever was asked for: a hand-over to a thread costs as much as 1,000 lines.
        if self._file is None:  # opened here, in the thread: opening may wait, too
            self._file = self._path.open("rb")
        return self._file.readlines(_PIECE_BYTES)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class BadLine(ValueError):
    """A line that can't be decoded: which file and line, and why."""


def _start_decode_lines(path: str, control: StepControl) -> Step:
    number = 0

    def step(lines: Chunk) -> Chunk:
        nonlocal number
        decoded: Chunk = []
        for line in lines:
            number += 1
            try:
                decoded.append(line.decode().rstrip("\r\n"))
            except UnicodeDecodeError as error:
                raise ItemFailed(line) from BadLine(f"{path}:{number}: {error}")
        return decoded

    return step


def _start_decode_json(path: str, type_: Any, control: StepControl) -> Step:
    number = 0
    decode = msgspec.json.Decoder(type_).decode

    def step(lines: Chunk) -> Chunk:
        nonlocal number
        decoded: Chunk = []
        for line in lines:
            number += 1
            if line.isspace():
                continue
            try:
                decoded.append(decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ItemFailed(line) from BadLine(f"{path}:{number}: {error}")
        return decoded

    return step
