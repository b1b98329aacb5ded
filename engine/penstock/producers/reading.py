"""Reading files in worker threads: a large piece at a time, one piece ahead of what is being sent.

A hand-over to a thread costs as much as dealing with 100 lines, so pieces are large, and what the
system has in its memory already is read without one. Decoding, which may call code of the user's,
is a fused stage behind.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, TypeVar, cast

import trio

from .. import _options as options
from .._compression import Readable, check_suffix, open_to_read
from .._spec import Chunk, CountingSender, Node, Puller, PushSource, Traits, caller
from .splitting import LineSplitter

T = TypeVar("T")

PIECE_BYTES = 1 << 18
_LARGE_PIECE_BYTES = 1 << 20
_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
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
    """The stage that reads a file, whose items are found in the thread, too."""
    return _source(stage, path, partial(_send_pulled, open_puller))


def line_source(stage: str, path: str | os.PathLike[str], max_line_bytes: int) -> Node:
    """The stage that reads a file of lines: bytes with their ends."""
    return _source(stage, path, partial(_send_lines, Path(path), max_line_bytes))


def _source(
    stage: str,
    path: str | os.PathLike[str],
    work: Callable[[CountingSender[Any]], Awaitable[None]],
) -> Node:
    op = PushSource(work, by_item=False)
    return Node(f"{stage}({Path(path).name})", op, where=caller(), traits=Traits(once=_ONCE))


async def _send_pulled(open_puller: Callable[[], Puller], send: CountingSender[Any]) -> None:
    puller = open_puller()
    await _read_ahead(partial(puller.pull, PIECE_BYTES), puller.close, send.chunk)


async def _send_lines(path: Path, max_line_bytes: int, send: CountingSender[bytes]) -> None:
    """A thread is not asked to split: it would take the interpreter's lock in turns with what is
    done with the lines. Of a piece, some lines at a time are objects of their own.
    """
    pieces = Pieces(path, _LARGE_PIECE_BYTES)
    lines = LineSplitter(str(path), max_line_bytes)

    async def send_lines(piece: bytes) -> None:
        for at in range(0, len(piece), PIECE_BYTES):
            await send.chunk(lines.split(piece[at : at + PIECE_BYTES]))

    await _read_ahead(pieces.read, pieces.close, send_lines, pieces.read_at_once)
    await send.chunk(lines.end())


async def _read_ahead(
    read: Callable[[], T],
    close: Callable[[], None],
    deal: Callable[[T], Awaitable[None]],
    read_at_once: Callable[[], T | None] = lambda: None,
) -> None:
    """Read in threads, and deal with what was read, until there is nothing.

    No thread is needed for what ``read_at_once`` gives. All that came before a failure is dealt
    with before it is raised.
    """
    give, pieces = trio.open_memory_channel[T | Exception](0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, read, read_at_once, give)
            async for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                await deal(piece)
    finally:
        close()


async def _read(
    read: Callable[[], T],
    read_at_once: Callable[[], T | None],
    give: trio.MemorySendChannel[T | Exception],
) -> None:
    async with give:
        while True:
            try:
                piece = read_at_once()
                if piece is None:
                    piece = await trio.to_thread.run_sync(read)
            except Exception as error:  # noqa: BLE001 - raised where the pieces are dealt with
                await give.send(error)
                return
            if not piece:
                return
            await give.send(piece)


class Pieces:
    """A file's bytes, uncompressed, in pieces. It is opened in the thread, too: that may wait.

    The first piece that is read in the thread is of `PIECE_BYTES`, each next one twice as large, up
    to ``most_bytes``; all are alike where that is no larger.
    """

    def __init__(self, path: Path, most_bytes: int = 0) -> None:
        self._path = path
        self._most = max(most_bytes, PIECE_BYTES)
        self._size = PIECE_BYTES
        self._file: Readable | None = None
        self._plain: int | None = None  # the number of a regular file that is read as it is
        self._at = 0
        self._buffer = bytearray()

    def read(self) -> bytes:
        """The next piece; empty at the end."""
        if self._file is None:
            self._file = open_to_read(self._path)
            if isinstance(self._file, FileIO) and S_ISREG(os.fstat(self._file.fileno()).st_mode):
                self._plain = self._file.fileno()
        if self._plain is None:
            piece = self._file.read(self._size)
        else:
            piece = os.pread(self._plain, self._size, self._at)
            self._at += len(piece)
        self._size = min(2 * self._size, self._most)
        return piece

    def read_at_once(self) -> bytes | None:
        """What the system has of the next piece in its memory, else None: ``RWF_NOWAIT`` of
        preadv2(2). Handing a read to a thread and back takes longer than such a read.
        """
        if self._plain is None or _NO_WAIT is None:
            return None
        if not self._buffer:
            self._buffer = bytearray(PIECE_BYTES)
        try:
            count = os.preadv(self._plain, [self._buffer], self._at, _NO_WAIT)
        except OSError:  # nothing is there; or the file system can't tell; or `read` fails, too
            return None
        self._at += count
        return bytes(memoryview(self._buffer)[:count]) if count else None

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
