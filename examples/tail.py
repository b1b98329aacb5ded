"""What is added to a file, through its rotation and truncation: for ``logfile.py``."""

import os
from pathlib import Path
from typing import BinaryIO

AT_ONCE = 1 << 20
"""Bytes that are read at a time; a line that is longer is cut."""


class Tail:
    """The lines that are added to a file from now on; of one that isn't there yet, all lines.

    It knows another file of the same name (rotation) by its inode, and reads the old one to its end
    first; a file that has become shorter is read from its beginning. What is written and truncated
    between two looks is never seen, as with any follower.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._file: BinaryIO | None = None
        self._open()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def new_lines(self) -> list[str]:
        """Whole lines since the last call; a half one waits for its end. Raises ``OSError``."""
        replaced = self._is_replaced()  # asked before what may be the last read
        added = self._read()
        if replaced and not added:
            self._open()
            added = (b"\n" if self._rest else b"") + self._read()
        *lines, self._rest = (self._rest + added).split(b"\n")
        if len(self._rest) >= AT_ONCE:
            lines, self._rest = [*lines, self._rest], b""
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _is_replaced(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return self._file is None or not os.path.samestat(there, os.fstat(self._file.fileno()))

    def _open(self) -> None:
        self.close()
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _read(self) -> bytes:
        if self._file is None:
            return b""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
            self._rest = b""
        return self._file.read(AT_ONCE)
