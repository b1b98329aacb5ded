"""``follow``: the lines that are added to a file, as ``tail -F`` shows them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

import trio

from .. import _options as options
from .._compression import is_compressed
from .._failing import Errors
from .._spec import CountingSender, Node, PushSource, Traits, caller
from ..stream import Stream
from .decoding import check_reading_errors, decoded, start_decode_text
from .splitting import BYTE_ORDER_MARK, LineSplitter

_PIECE_BYTES: Final = 1 << 18
_MARK_BYTES: Final = 256
"""How much of what was read last is compared, to know a file again that was written anew."""


def follow(
    path: str | os.PathLike[str],
    *,
    from_start: bool = False,
    poll: float = 0.25,
    errors: Errors = "raise",
    max_line_bytes: int = 1 << 20,
) -> Stream[str]:
    """The lines of a UTF-8 text file as they are added, without their ends; never ends.

    A line is given when it is whole, also one that was begun before. A file that isn't there yet is
    waited for, and then read from its beginning. Where another file takes the name (rotation), the
    old one is read until it has given nothing for one more look, its last line even if it has no
    end, and then the new one from its beginning. A file that was truncated, or written anew, is
    read from its beginning; a half line that went with that is forgotten. What is written and
    taken away between two looks is never seen.

    Args:
        path: the file, a regular one, not compressed.
        from_start: give what the file has when the run starts, too.
        poll: seconds between two looks at a file that has nothing new, by Trio's clock.
        errors: what becomes of a line that is not UTF-8, which is the item, as bytes.
        max_line_bytes: a line of more fails the run.

    Memory holds a piece of 256 KiB, or a line where it is longer. Files are looked at in a worker
    thread. Raises `StageError` where the file can't be read. Cancelled or stopped, it waits for the
    look that is going on, and the file is closed. Started anew by `Stream.restart` it begins as the
    run did: what was added meanwhile isn't given, or with ``from_start`` all of the file again.
    """
    if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise options.refuse("follow", f"path must be a path, got {path!r}")
    if is_compressed(path):
        raise options.refuse("follow", f"{path} is compressed; read_lines reads it once")
    options.seconds("follow", "poll", poll)
    check_reading_errors("follow", errors)
    options.whole_number("follow", "max_line_bytes", max_line_bytes, at_least=1)
    work = partial(_follow, Path(path), bool(from_start), poll, max_line_bytes)
    name = f"follow({Path(path).name})"
    lines = Node(name, PushSource(work, by_item=False), where=caller(), traits=Traits(endless=True))
    return decoded(lines, errors, partial(start_decode_text, str(path), False), each=True)


async def _follow(
    path: Path, from_start: bool, poll: float, max_line_bytes: int, send: CountingSender[Any]
) -> None:
    follower = Follower(path, max_line_bytes)
    try:
        if not from_start:
            await trio.to_thread.run_sync(follower.skip_to_end)
        while True:
            is_news = await trio.to_thread.run_sync(follower.look)
            if follower.lines:
                lines, follower.lines = follower.lines, []
                await send.chunk(lines)
            if not is_news:
                await trio.sleep(poll)
    finally:
        follower.close()


class Follower:
    """What `follow` does, one look at a time. All of it blocks.

    ``lines`` are those found and not yet taken.
    """

    def __init__(self, path: Path, max_line_bytes: int) -> None:
        self.lines: list[bytes] = []
        self._path = path
        self._most = max_line_bytes
        self._splitter = LineSplitter(str(path), max_line_bytes, numbered=False)
        self._file: int | None = None
        self._at = 0
        self._mark = b""
        self._is_left = False

    def skip_to_end(self) -> None:
        """Go behind the last whole line that the file has."""
        if not self._open():
            return
        assert self._file is not None
        self._at = self._behind_last_line(self._file)
        known = min(self._at, _MARK_BYTES)
        self._mark = os.pread(self._file, known, self._at - known)

    def _behind_last_line(self, file: int) -> int:
        """Where the line begins that has no end yet; the end where that is too long for a line."""
        end = begin = os.fstat(file).st_size
        newline = -1
        while newline < 0 and begin and end - begin <= self._most:
            start = max(0, begin - _PIECE_BYTES)
            newline = os.pread(file, begin - start, start).rfind(b"\n")
            begin = start + newline + 1
        return begin if end - begin <= self._most else end

    def look(self) -> bool:
        """Find new lines; whether there may be more at once."""
        if self._file is None:
            return self._open()
        is_replaced = self._is_replaced()  # asked before what may be the last read
        if self._read():
            self._is_left = False
            return True
        if not is_replaced:
            self._is_left = False
            return False
        if not self._is_left:  # whoever writes to it may not have noticed yet
            self._is_left = True
            return False
        self.lines += self._splitter.end()
        return self._open()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> bool:
        """Open the file that has the name now, if there is one, to be read from its beginning."""
        self.close()
        self._at = 0
        self._mark = b""
        self._is_left = False
        self._splitter.forget()
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would wait
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise ValueError(f"{self._path} is no regular file")
        self._file = file
        return True

    def _is_replaced(self) -> bool:
        assert self._file is not None
        try:
            there = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return not os.path.samestat(there, os.fstat(self._file))

    def _read(self) -> bool:
        """Read what is new; whether anything was, a truncation included."""
        assert self._file is not None
        known = len(self._mark)
        data = os.pread(self._file, known + _PIECE_BYTES, self._at - known)
        if data[:known] != self._mark:
            self._at = 0
            self._mark = b""
            self._splitter.forget()
            return True
        new = data[known:]
        lines = new if self._at else new.removeprefix(BYTE_ORDER_MARK)
        self._at += len(new)
        self._mark = data[-_MARK_BYTES:]
        self.lines += self._splitter.split(lines)
        return bool(new)
