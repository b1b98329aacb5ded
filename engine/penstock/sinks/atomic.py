"""Writing a file atomically: a temporary file beside the target, renamed at the end.

A run that fails or is cancelled leaves the old file, or none, never half of one. Items are encoded
in the sink's task, about a millisecond's worth at a time; a worker thread compresses and writes one
piece while the next is being encoded.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import trio

from .. import _options as options
from .._compression import Writable, check_suffix, compressing
from .._errors import ItemFailed
from .._pace import BUDGET, Pace
from .._spec import Chunk, Receiver, Sink, Tally, TaskSink, Traits

_PIECE_BYTES = 1 << 18


class Encoding(Protocol):
    """Items to the bytes of a file, in one run."""

    def encode(self, items: Chunk, /) -> bytes:
        """The next items; raises `ItemFailed`."""
        ...

    def end(self) -> bytes:
        """What comes after the last item."""
        ...


class PartialFile:
    """A new file in the target's folder, so that the rename stays on one file system.

    It has the permissions of the file that it will replace, or of an ordinary new file. All of it
    blocks.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.{token_hex(8)}.partial")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.file = os.fdopen(os.open(self._path, flags, _permissions(target)), "wb")

    def publish(self) -> None:
        """Make the file durable and give it its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        if self._target.exists():  # the umask may have taken some of its permissions
            self._path.chmod(_permissions(self._target))
        self._path.replace(self._target)

    def discard(self) -> None:
        """Leave no trace."""
        try:
            self.file.close()
        finally:
            self._path.unlink(missing_ok=True)


def _permissions(target: Path) -> int:
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o666


Fill: TypeAlias = Callable[[PartialFile, Receiver[Any]], Awaitable[int]]


def check_target(stage: str, path: Any) -> None:
    """Demand a path."""
    if not isinstance(path, str | os.PathLike):
        raise options.refuse(stage, f"path must be a path, got {path!r}")


def file_sink(stage: str, path: Any, fill: Fill) -> Sink[Any, int]:
    """The sink that lets ``fill`` write a new file; the result is what that returns."""
    op = TaskSink(partial(_write, Path(path), fill))
    return Sink(f"{stage}({Path(path).name})", op, Traits(at_end="the file"))


def encoded_file_sink(stage: str, path: Any, start: Callable[[], Encoding]) -> Sink[Any, int]:
    """The sink of a file of encoded items, compressed as its name says."""
    check_target(stage, path)
    check_suffix(stage, path)
    return file_sink(stage, path, partial(_encode_and_write, Path(path), start))


def encode_each(encode: Callable[[Any], bytes], items: Chunk) -> bytes:
    """The items encoded one by one, to find the one that can't be."""
    parts: list[bytes] = []
    for item in items:
        try:
            parts.append(encode(item))
        except Exception as error:
            raise ItemFailed(item) from error
    return b"".join(parts)


async def _write(path: Path, fill: Fill, receive: Receiver[Any], tally: Tally) -> int:
    partial_file = await trio.to_thread.run_sync(PartialFile, path)
    try:
        written = await fill(partial_file, receive)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial_file.publish)
    except BaseException:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial_file.discard)
        raise
    return written


async def _encode_and_write(
    path: Path,
    start: Callable[[], Encoding],
    partial_file: PartialFile,
    receive: Receiver[Any],
) -> int:
    encoding = start()
    written = 0
    give, pieces = trio.open_memory_channel[list[bytes]](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_write_pieces, compressing(path, partial_file.file), pieces)
        async with give:
            encoded = _Encoded(encoding, give)
            async for items in receive.chunks():
                await encoded.add(items)
                written += len(items)
            await encoded.end()
    return written


async def _write_pieces(writable: Writable, pieces: trio.MemoryReceiveChannel[list[bytes]]) -> None:
    async for parts in pieces:
        await trio.to_thread.run_sync(_write_parts, writable, parts)
    await trio.to_thread.run_sync(writable.close)


def _write_parts(writable: Writable, parts: list[bytes]) -> None:
    writable.write(b"".join(parts))


class _Encoded:
    """Encodes items, and hands over what is encoded whenever it makes a large piece."""

    def __init__(self, encoding: Encoding, give: trio.MemorySendChannel[list[bytes]]) -> None:
        self._encoding = encoding
        self._give = give
        self._parts: list[bytes] = []
        self._size = 0
        self._pace = Pace()
        self._unyielded = 0.0

    async def add(self, items: Chunk) -> None:
        """Encode the items; waits where the thread is behind."""
        at = 0
        while at < len(items):
            piece = items[at : at + self._pace.size]
            at += len(piece)
            started = perf_counter()
            data = self._encoding.encode(piece)
            seconds = perf_counter() - started
            self._pace.record(len(piece), seconds)
            self._unyielded += seconds
            self._parts.append(data)
            self._size += len(data)
            if self._size >= _PIECE_BYTES:
                await self._hand_over()
            elif self._unyielded >= BUDGET:
                self._unyielded = 0.0
                await trio.lowlevel.checkpoint()

    async def end(self) -> None:
        """Hand over all that is left."""
        self._parts.append(self._encoding.end())
        await self._hand_over()

    async def _hand_over(self) -> None:
        parts, self._parts = self._parts, []
        self._size = 0
        self._unyielded = 0.0
        await self._give.send(parts)
