"""What a file sink's path leads to: a file, which is replaced; a FIFO or a device, written into.

A link is followed: what it points to is replaced. The file that is standard output is written into,
behind what is there: replaced, it would not get what comes afterwards (``/dev/stdout``).

All errors name the path that the user gave, or the folder that isn't there. Functions block unless
they are async.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, ClassVar, Final, Protocol, cast

import trio

from .._spec import Unpublished

_SUFFIX: Final = ".partial"
_TOKEN_BYTES: Final = 8
_SHORT: Final = 64
"""Bytes that any file system takes for a name."""
_PAUSE: Final = 0.02
"""Seconds between two looks whether a FIFO has a reader."""


_in_thread: Final = trio.to_thread.run_sync


class Target(Protocol):
    """What a sink writes into, in worker threads.

    Attributes:
        replaces: whether it is a file that is to replace another.
        file: only its ``write`` is there for sure.
    """

    replaces: ClassVar[bool]

    @property
    def file(self) -> IO[bytes]:
        """See above."""
        ...

    async def finish(self, result: Any) -> Any:
        """All is written; gives what the sink is to give for its result."""
        ...


@asynccontextmanager
async def open_target(path: Path) -> AsyncGenerator[Target]:
    """Open what the path leads to; a new file is discarded where the block raises."""
    if not await _in_thread(is_replaced, path):
        with closing(await _open_into(path)) as into:
            yield into
        return
    partial_file = await _in_thread(PartialFile, path)
    try:
        yield partial_file
    except BaseException:
        with trio.CancelScope(shield=True):
            await _in_thread(partial_file.discard)
        raise


class PartialFile:
    """A new file in the target's folder, so that the rename stays on one file system.

    It has the permissions of the file that it will replace, or of an ordinary new file.

    Attributes:
        target: the file that it will replace.
        file: what to write into, until `finish`.
    """

    replaces: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self.target = real_path(path)
        self._given = path
        self._path = self.target.with_name(_partial_name(self.target.name))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            file = os.open(self._path, flags, _permissions(self.target))
        except OSError as error:
            raise self._told(error) from None
        self.file = os.fdopen(file, "wb")

    async def finish(self, result: Any) -> Unpublished:
        """All is written: make it durable; the rest is for the end of the run."""
        await _in_thread(self._sync)
        publish, discard = partial(_in_thread, self._publish), partial(_in_thread, self.discard)
        return Unpublished(str(self.target), result, publish, discard)

    def _sync(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def _publish(self) -> None:
        """Give it its name; where that fails, it is discarded."""
        try:
            if self.target.exists():  # the umask may have taken some of its permissions
                self._path.chmod(_permissions(self.target))
            self._path.replace(self.target)
        except OSError as error:
            self.discard()
            raise self._told(error) from None

    def discard(self) -> None:
        """Leave no trace."""
        with suppress(OSError):  # what it held back and could not write is not wanted any more
            self.file.close()
        with suppress(FileNotFoundError, NotADirectoryError):  # gone with its folder
            self._path.unlink()

    def _told(self, error: OSError) -> OSError:
        """The error in words of what the user gave: our file's name says nothing to anybody."""
        named = self._given
        folders = (self._given.parent, self.target.parent)
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            named = next((each for each in folders if not each.is_dir()), named)
        return OSError(error.errno, error.strerror, str(named))


def real_path(path: Path) -> Path:
    """The file that there is, or would be, behind all links."""
    return Path(os.path.realpath(path))


def is_replaced(path: Path) -> bool:
    """Whether a file is to be made; else the path leads to something that is written into.

    Raises `OSError` where it leads to what can't be written: a folder, say.
    """
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    mode = there.st_mode
    if stat.S_ISREG(mode):
        return _own_output(there) is None
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "is no file, FIFO or character device", str(path))


def _own_output(there: os.stat_result) -> int | None:
    """Which of standard output and standard error goes into that file, if one does."""
    for file in (1, 2):
        try:
            if os.path.samestat(there, os.fstat(file)):
                return file
        except OSError:  # it is closed
            continue
    return None


def _partial_name(name: str) -> str:
    """A name of no more bytes than ``name`` has, or any file system takes: there are limits."""
    ends = f".{token_hex(_TOKEN_BYTES)}{_SUFFIX}"
    raw = os.fsencode(name)
    room = max(len(raw), _SHORT) - len(ends) - 1
    return f".{raw[:room].decode(errors='ignore')}{ends}"


def _permissions(target: Path) -> int:
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o666


async def _open_into(path: Path) -> Into:
    """Open a FIFO, once something reads from it, or a character device. Can be cancelled."""
    there = await _in_thread(path.stat)
    is_fifo = stat.S_ISFIFO(there.st_mode)
    if stat.S_ISREG(there.st_mode):
        own = _own_output(there)
        assert own is not None, "another file is replaced"
        return Into(path, os.dup(own))
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
    while True:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return Into(path, os.open(path, flags))
        except OSError as error:
            if error.errno != errno.ENXIO or not is_fifo:
                raise
        await trio.sleep(_PAUSE)


class Into:
    """A FIFO or device that is open for writing, as a file for worker threads of Trio."""

    replaces: ClassVar[bool] = False

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._stream = trio.lowlevel.FdStream(file)
        self.close = self._stream.close

    @property
    def file(self) -> IO[bytes]:
        """Itself: all that our writers ask of a file is to write."""
        return cast("IO[bytes]", self)

    async def finish(self, result: Any) -> Any:
        """See `Target.finish`: what was written is there already."""
        return result

    def write(self, data: Any) -> int:
        """Write all of the bytes. Waiting for room is done by Trio, so it can be cancelled."""
        if len(data):
            trio.from_thread.run(self._send, bytes(data))
        return len(data)

    async def _send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, OSError):
                cause = error.__cause__
                raise OSError(cause.errno, cause.strerror, str(self._path)) from None
            raise
