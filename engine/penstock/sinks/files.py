"""Sinks that write files, atomically: a temporary file beside the target, renamed at the end.

A run that fails or is cancelled leaves the old file, or none, never half of one. Chunks are
written in a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec
import trio

from .. import _options as options
from .._errors import ItemFailed
from .._spec import Chunk, Receiver, Sink, TaskSink

Encode = Callable[[Any], bytes]


def write_lines(path: str | os.PathLike[str]) -> Sink[str, int]:
    """Write each item, a str without a line end, as a line of UTF-8; the result is their number.

    Raises `StageError` for an item that is not a str or holds a line end, and for what the
    operating system refuses.
    """
    return _file_sink("write_lines", path, _encode_line)


def write_jsonl(path: str | os.PathLike[str]) -> Sink[Any, int]:
    """Write each item as a line of JSON; the result is their number.

    Dataclasses, msgspec Structs, dates, enums and UUIDs are encoded as msgspec does. Raises
    `StageError` for an item that JSON can't hold, and for what the operating system refuses.
    """
    return _file_sink("write_jsonl", path, msgspec.json.Encoder().encode)


def _file_sink(name: str, path: str | os.PathLike[str], encode: Encode) -> Sink[Any, int]:
    if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise options.refuse(name, f"path must be a path, got {path!r}")
    return Sink(f"{name}({Path(path).name})", TaskSink(partial(_write, Path(path), encode)))


def _encode_line(item: Any) -> bytes:
    if not isinstance(item, str):
        raise TypeError(f"write_lines takes str, not {type(item).__name__}; .map(str) before it")
    if "\n" in item or "\r" in item:
        raise ValueError("a line can't hold a line end; split it, or use write_jsonl")
    return item.encode()


async def _write(path: Path, encode: Encode, receive: Receiver[Any]) -> int:
    written = 0
    partial_file = await trio.to_thread.run_sync(_PartialFile, path)
    try:
        async for items in receive.chunks():
            await trio.to_thread.run_sync(partial_file.write, encode, items)
            written += len(items)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial_file.publish)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial_file.discard)
        raise
    return written


class _PartialFile:
    """A new file in the target's folder, so that the rename stays on one file system.

    It has the permissions of the file that it will replace, or of an ordinary new file.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.{token_hex(8)}.partial")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(self._path, flags, _permissions(target)), "wb")

    def write(self, encode: Encode, items: Chunk) -> None:
        lines: list[bytes] = []
        for item in items:
            try:
                lines.append(encode(item))
            except Exception as error:
                raise ItemFailed(item) from error
        lines.append(b"")
        self._file.write(b"\n".join(lines))

    def publish(self) -> None:
        """Make the file durable and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._target.exists():  # the umask may have taken some of its permissions
            self._path.chmod(_permissions(self._target))
        self._path.replace(self._target)

    def discard(self) -> None:
        try:
            self._file.close()
        finally:
            self._path.unlink(missing_ok=True)


def _permissions(target: Path) -> int:
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o666
