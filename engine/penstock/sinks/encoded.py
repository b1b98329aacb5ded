"""Files of items that are encoded one after another, by one C call for as many as come together.

Items are encoded in the task that makes them, so that of records which are written and forgotten
few are alive at a time: in a task of its own, behind a channel, they outlived a run of Python's
collector, and a pipeline from JSON to JSON took a fifth longer. A worker thread compresses and
writes one piece while the next is being encoded.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from .._compression import Writable, check_suffix, compressing
from .._errors import ItemFailed
from .._spec import Chunk, Filling, FillingSink, Sink, StepControl
from .atomic import check_target, traits_of_file
from .targets import Target, open_target

_PIECE_BYTES = 1 << 20


class Encoding(Protocol):
    """Items to the bytes of a file, in one run."""

    def encode(self, items: Chunk, /) -> bytes:
        """The next items; raises `ItemFailed`."""
        ...

    def end(self) -> bytes:
        """What comes after the last item."""
        ...


def encoded_file_sink(stage: str, path: Any, start: Callable[[], Encoding]) -> Sink[Any, int]:
    """The sink of a file of encoded items, compressed as its name says."""
    check_target(stage, path)
    check_suffix(stage, path)
    op = FillingSink(partial(_open, Path(path), start))
    return Sink(f"{stage}({Path(path).name})", op, traits_of_file(Path(path)))


def encode_each(encode: Callable[[Any], bytes], items: Chunk) -> bytes:
    """The items encoded one by one, to find the one that can't be."""
    parts: list[bytes] = []
    for item in items:
        try:
            parts.append(encode(item))
        except Exception as error:
            raise ItemFailed(item) from error
    return b"".join(parts)


@asynccontextmanager
async def _open(
    path: Path, start: Callable[[], Encoding], control: StepControl
) -> AsyncGenerator[Filling]:
    async with open_target(path) as target:
        give, pieces = trio.open_memory_channel[list[bytes]](0)
        written = trio.Event()
        async with trio.open_nursery() as nursery:
            writable = compressing(path, target.file)
            nursery.start_soon(_write_pieces, writable, pieces, written)
            yield _Encoded(start(), give, written, target)


async def _write_pieces(
    writable: Writable, pieces: trio.MemoryReceiveChannel[list[bytes]], written: trio.Event
) -> None:
    async for parts in pieces:
        await trio.to_thread.run_sync(_write_parts, writable, parts)
    await trio.to_thread.run_sync(writable.close)
    written.set()


def _write_parts(writable: Writable, parts: list[bytes]) -> None:
    writable.write(b"".join(parts))


class _Encoded:
    """What is encoded and not yet handed to the thread; see `Filling`."""

    def __init__(
        self,
        encoding: Encoding,
        give: trio.MemorySendChannel[list[bytes]],
        written: trio.Event,
        target: Target,
    ) -> None:
        self._encoding = encoding
        self._give = give
        self._written = written
        self._target = target
        self._parts: list[bytes] = []
        self._size = 0
        self._items = 0

    def consume(self, items: Chunk) -> None:
        data = self._encoding.encode(items)
        self._parts.append(data)
        self._size += len(data)
        self._items += len(items)

    def is_full(self) -> bool:
        return self._size >= _PIECE_BYTES

    async def empty(self) -> None:
        parts, self._parts = self._parts, []
        self._size = 0
        await self._give.send(parts)

    async def end(self) -> Any:
        self._parts.append(self._encoding.end())
        await self.empty()
        self._give.close()
        await self._written.wait()
        return await self._target.finish(self._items)
