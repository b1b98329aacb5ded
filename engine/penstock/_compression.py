"""Files that are compressed where their names end in ``.gz`` or ``.zst``: reading and writing.

Reading gives at most as many bytes as are asked for, however much a file of few bytes expands to.
Several members (gzip) or frames (zstd) one after another are one file, as their formats say. A file
that is cut short or damaged raises `DamagedFile`: what it held before that has been given.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from ._errors import PenstockError, describe
from ._extras import required

_PIECE_BYTES: Final = 1 << 16
_GZIP: Final = 16 + zlib.MAX_WBITS
"""For zlib: with the header, checksum and length of RFC 1952."""
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3


class DamagedFile(PenstockError):
    """A compressed file that can't be read to its end."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(path, problem)

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class Readable(Protocol):
    """A file open for reading."""

    def read(self, size: int, /) -> bytes:
        """Give some bytes, at most ``size``; none at the end."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Writable(Protocol):
    """A file open for writing."""

    def write(self, data: bytes, /) -> object:
        """Take all of the bytes."""
        ...

    def close(self) -> None:
        """Write what is held back. The file beneath stays open."""
        ...


def check_suffix(stage: str, path: str | os.PathLike[str]) -> None:
    """Demand what the compression that the name tells of needs; raises `PipelineError`."""
    if _suffix(path) == ".zst":
        required(stage, "zstandard")


def is_compressed(path: str | os.PathLike[str]) -> bool:
    """Whether the name tells of a compression."""
    return _suffix(path) in (".gz", ".zst")


def open_to_read(path: Path) -> Readable:
    """Open a file for reading what it holds, uncompressed. Blocks."""
    file = path.open("rb", buffering=0)
    match _suffix(path):
        case ".gz":
            return _Filled(_GzipReader(path, file))
        case ".zst":
            return _Filled(_ZstdReader(path, file))
        case _:
            return cast("Readable", file)


def compressing(path: Path, file: IO[bytes]) -> Writable:
    """What writes into ``file`` in the compression that the name ``path`` tells of."""
    match _suffix(path):
        case ".gz":
            return _GzipWriter(file)
        case ".zst":
            return _zstd_writer(file)
        case _:
            return _PlainWriter(file)


def _suffix(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.lower()


class _Filled:
    """Gives as much as is asked for, where there is so much: what comes before the damage, too."""

    def __init__(self, reader: Readable) -> None:
        self._reader = reader
        self._damage: DamagedFile | None = None
        self.close = reader.close

    def read(self, size: int) -> bytes:
        if self._damage is not None:
            raise self._damage
        parts: list[bytes] = []
        while size:
            try:
                data = self._reader.read(min(size, _PIECE_BYTES))
            except DamagedFile as damage:
                if not parts:
                    raise
                self._damage = damage
                break
            if not data:
                break
            parts.append(data)
            size -= len(data)
        return b"".join(parts)


class _GzipReader:
    """Members one after another (RFC 1952), with zeros behind the last, as tapes leave them."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._member = zlib.decompressobj(_GZIP)

    def read(self, size: int) -> bytes:
        while True:
            packed = self._member.unconsumed_tail
            if self._member.eof:
                packed = self._next_member()
                if not packed:
                    return b""
            packed = packed or self._file.read(_PIECE_BYTES)
            try:
                data = self._member.decompress(packed, size)
            except zlib.error as error:
                raise DamagedFile(self._path, f"no gzip, or damaged: {error}") from error
            if data:
                return data
            if not packed and not self._member.eof:
                raise DamagedFile(self._path, "cut short: the gzip data stops before its end")

    def _next_member(self) -> bytes:
        """The beginning of the next member; empty where there is none."""
        packed = self._member.unused_data.lstrip(b"\0")
        while not packed:
            packed = self._file.read(_PIECE_BYTES)
            if not packed:
                return b""
            packed = packed.lstrip(b"\0")
        self._member = zlib.decompressobj(_GZIP)
        return packed

    def close(self) -> None:
        self._file.close()


class _GzipWriter:
    """One member, without a name and a time: the same items give the same bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._member = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP)

    def write(self, data: bytes) -> None:
        self._file.write(self._member.compress(data))

    def close(self) -> None:
        self._file.write(self._member.flush())


class _PlainWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write

    def close(self) -> None:
        """Nothing is held back."""


class _ZstdReader:
    """Frames one after another (RFC 8878). The library doesn't tell where they are cut short."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        zstandard = _zstandard()
        self._path = path
        self._file = file
        self._frames = _Frames()
        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            _Watched(file, self._frames.see), read_size=_PIECE_BYTES, read_across_frames=True
        )

    def read(self, size: int) -> bytes:
        try:
            data = self._reader.read(size)
        except self._error as error:
            raise DamagedFile(self._path, f"no zstd, or damaged: {describe(error)}") from error
        if not data and not self._frames.are_whole:
            raise DamagedFile(self._path, "cut short: the zstd data stops before its end")
        return data

    def close(self) -> None:
        self._file.close()


class _Watched:
    def __init__(self, file: IO[bytes], see: Callable[[bytes], None]) -> None:
        self._file = file
        self._see = see

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._see(data)
        return data


class _Frames:
    """Walks over zstd frames by their headers, to know whether the last is whole. Pure.

    RFC 8878, 3.1: a frame is a magic number, a header, blocks that tell their sizes and whether
    they are the last, and perhaps a checksum; a skippable frame is a magic number and a size.
    What is no frame the library refuses.
    """

    def __init__(self) -> None:
        self._next: Callable[[bytes], None] = self._magic
        self._needed = 4
        self._header = b""
        self._to_skip = 0
        self._checksum = 0
        self._seen = False

    @property
    def are_whole(self) -> bool:
        """Whether something was seen, and it ended with the end of a frame."""
        between = self._next == self._magic and not self._header and not self._to_skip
        return self._seen and between

    def see(self, data: bytes) -> None:
        """The next bytes of the file."""
        at = 0
        self._seen = self._seen or bool(data)
        while at < len(data):
            if self._to_skip:
                step = min(self._to_skip, len(data) - at)
                self._to_skip -= step
            else:
                step = self._needed - len(self._header)
                self._header += data[at : at + step]
                if len(self._header) == self._needed:
                    header, self._header = self._header, b""
                    self._next(header)
            at += step

    def _then(self, read: Callable[[bytes], None], needed: int, skip: int = 0) -> None:
        self._next = read
        self._needed = needed
        self._to_skip = skip

    def _magic(self, header: bytes) -> None:
        skippable = header[0] & 0xF0 == 0x50 and header[1:] == b"\x2a\x4d\x18"
        if skippable:
            self._then(self._skippable, 4)
        else:
            self._then(self._descriptor, 1)

    def _skippable(self, header: bytes) -> None:
        self._then(self._magic, 4, skip=int.from_bytes(header, "little"))

    def _descriptor(self, header: bytes) -> None:
        (bits,) = header
        single_segment = bits >> 5 & 1
        self._checksum = 4 * (bits >> 2 & 1)
        window = 1 - single_segment
        dictionary = (0, 1, 2, 4)[bits & 3]
        content_size = (single_segment, 2, 4, 8)[bits >> 6]
        self._then(self._block, 3, skip=window + dictionary + content_size)

    def _block(self, header: bytes) -> None:
        bits = int.from_bytes(header, "little")
        is_last, is_run, size = bits & 1, bits >> 1 & 3 == 1, bits >> 3
        content = 1 if is_run else size
        if is_last:
            self._then(self._magic, 4, skip=content + self._checksum)
        else:
            self._then(self._block, 3, skip=content)


class _ZstdDecompressor(Protocol):
    def stream_reader(
        self, source: object, *, read_size: int, read_across_frames: bool
    ) -> Readable: ...


class _ZstdCompressor(Protocol):
    def stream_writer(self, writer: IO[bytes], *, closefd: bool) -> Writable: ...


class _Zstandard(Protocol):
    """What is used of `zstandard`, whose own types are not whole."""

    ZstdError: type[Exception]

    def ZstdDecompressor(self) -> _ZstdDecompressor: ...  # noqa: N802 - a class's name
    def ZstdCompressor(self, level: int, *, write_checksum: bool) -> _ZstdCompressor: ...  # noqa: N802


def _zstandard() -> _Zstandard:
    module: Any = required("zstd", "zstandard")
    return cast("_Zstandard", module)


def _zstd_writer(file: IO[bytes]) -> Writable:
    compressor = _zstandard().ZstdCompressor(_ZSTD_LEVEL, write_checksum=True)
    return compressor.stream_writer(file, closefd=False)
