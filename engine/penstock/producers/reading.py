"""Reading files in worker threads: a large piece at a time, one piece ahead of what is being sent.

A hand-over to a thread costs as much as dealing with 100 lines, so pieces are large. The thread
reads, uncompresses and splits. Decoding, which may call code of the user's, is a fused stage
behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio

from .. import _options as options
from .._compression import Readable, check_suffix, open_to_read
from .._spec import Chunk, CountingSender, Node, Puller, PushSource, Traits, caller
from .splitting import LineSplitter

PIECE_BYTES = 1 << 18
MOST_BYTES = 16 << 20
"""How long a line may be, unless told otherwise."""
_ONCE = (
    "would give from its beginning what it has given already; run the whole pipeline again, or,"
    " for the lines of a file that isn't there yet or still grows, use follow"
)


def check_path(stage: str, path: Any) -> None:
    """Demand a path, and what reading it needs."""
    if not isinstance(path, str | os.PathLike):
        raise options.refuse(stage, f"path must be a path, got {path!r}")
    check_suffix(stage, cast("str | os.PathLike[str]", path))


def source(stage: str, path: str | os.PathLike[str], open_puller: Callable[[], Puller]) -> Node:
    """The stage that reads a file."""
    op = PushSource(partial(_read_ahead, open_puller), by_item=False)
    return Node(f"{stage}({Path(path).name})", op, where=caller(), traits=Traits(once=_ONCE))


async def _read_ahead(open_puller: Callable[[], Puller], send: CountingSender[Any]) -> None:
    """Send what the puller gives. All that came before a failure is sent before it is raised."""
    puller = open_puller()
    give, pieces = trio.open_memory_channel[Chunk | Exception](0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pull, puller, give)
            async for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                await send.chunk(piece)
    finally:
        puller.close()


async def _pull(puller: Puller, give: trio.MemorySendChannel[Chunk | Exception]) -> None:
    async with give:
        items: Chunk = [None]
        while items:
            try:
                items = await trio.to_thread.run_sync(puller.pull, PIECE_BYTES)
            except Exception as error:  # noqa: BLE001 - raised where the items are sent
                await give.send(error)
                return
            if items:
                await give.send(items)


class Pieces:
    """A file's bytes, uncompressed, in pieces. It is opened in the thread, too: that may wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Readable | None = None

    def read(self) -> bytes:
        """The next piece; empty at the end."""
        if self._file is None:
            self._file = open_to_read(self._path)
        return self._file.read(PIECE_BYTES)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class LinePuller:
    """The lines of a file, with their ends, as bytes."""

    def __init__(self, path: Path, max_line_bytes: int) -> None:
        self._pieces = Pieces(path)
        self._lines = LineSplitter(str(path), max_line_bytes)
        self.close = self._pieces.close

    def pull(self, at_most: int) -> Chunk:
        """See `Puller.pull`. By bytes, whatever is asked for."""
        lines: list[bytes] = []
        while not lines:
            piece = self._pieces.read()
            if not piece:
                return self._lines.end()
            lines = self._lines.split(piece)
        return lines
