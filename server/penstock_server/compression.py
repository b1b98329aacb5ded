"""Compressed blocks that connections share, put together to whole bodies. Pure.

A batch of events is compressed once, by itself, and the block is sent to everybody who reads it:
gzip (RFC 1952) by deflate blocks that end with a full flush, so that they refer to nothing before
them; Zstandard (RFC 8878) by frames, of which a body is a sequence. Brotli (RFC 7932) has no
such blocks: each connection has a compressor of its own, with a small window.

A gzip body ends with a checksum of all that it holds, which is another one for each connection.
`Checksum` says it for any stretch that a connection has read of a common stream, without looking at
the bytes again.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# brotli has no types, and zstandard's are not whole.

from __future__ import annotations

import zlib
from typing import Any, Final

import brotli  # type: ignore[import-untyped]  # it has no types
import zstandard

GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Deflate; no name, no time, unknown system (RFC 1952, section 2.3)."""

_DEFLATE_END: Final = b"\x03\x00"  # an empty last block with fixed codes
_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
_ZSTD_WINDOW_BITS: Final = 17  # a decoder sets so much memory aside, for each frame anew
_ZSTD: Final = zstandard.ZstdCompressor(
    compression_params=zstandard.ZstdCompressionParameters.from_level(
        _ZSTD_LEVEL, window_log=_ZSTD_WINDOW_BITS, write_content_size=False
    )
)
ZSTD_END: Final = b"\x01\x00\x00"
"""An empty last block, which ends a frame (RFC 8878, section 3.1.1.2)."""

_BROTLI_QUALITY: Final = 4
_BROTLI_WINDOW_BITS: Final = 16
_POLYNOMIAL: Final = 0xEDB88320


def gzip_block(data: bytes) -> bytes:
    """A batch as a part of a gzip body: no header, no end, no reference to what was before."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)


def gzip_tail(check: Checksum) -> bytes:
    """The end of a gzip body whose plain bytes have this checksum."""
    crc, size = check.crc, check.size & 0xFFFFFFFF
    return _DEFLATE_END + crc.to_bytes(4, "little") + size.to_bytes(4, "little")


def zstd_block(data: bytes) -> bytes:
    """A batch as a Zstandard frame that is not ended, but holds all of the batch.

    Widespread decoders (httpx's and urllib3's) fail where a frame ends with what they have read so
    far. So a frame's end, `ZSTD_END`, comes with what follows it.
    """
    frame = _ZSTD.compressobj()
    return frame.compress(data) + frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


class BrotliStream:
    """One connection's Brotli body."""

    def __init__(self) -> None:
        self._compressor: Any = brotli.Compressor(
            quality=_BROTLI_QUALITY, lgwin=_BROTLI_WINDOW_BITS
        )

    def batch(self, data: bytes) -> bytes:
        """Compress a batch and flush, so that the client can read all of it."""
        return bytes(self._compressor.process(data) + self._compressor.flush())

    def end(self) -> bytes:
        """What ends the body."""
        return bytes(self._compressor.finish())


class Checksum:
    """CRC-32 (RFC 1952, section 8) and size of a stream's plain bytes so far."""

    __slots__ = ("crc", "size")

    def __init__(self, crc: int = 0, size: int = 0) -> None:
        self.crc = crc
        self.size = size

    def add(self, data: bytes) -> None:
        """Count bytes in."""
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)

    def copy(self) -> Checksum:
        """As it is now."""
        return Checksum(self.crc, self.size)

    def since(self, earlier: Checksum) -> Checksum:
        """Of what was added since this checksum was `earlier`.

        Appending n bytes to a stream multiplies its CRC by x to the power of 8n, modulo the
        polynomial, and adds the CRC of those bytes; so the difference is theirs.
        """
        size = self.size - earlier.size
        return Checksum(self.crc ^ _shifted(earlier.crc, size), size)

    def extend(self, following: Checksum) -> None:
        """Count in bytes of which only the checksum is known."""
        self.crc = _shifted(self.crc, following.size) ^ following.crc
        self.size += following.size


def _shifted(crc: int, size: int) -> int:
    """A CRC times x to the power of 8 * `size`, modulo the polynomial, in log(size) steps."""
    factor = 0x80000000 >> 8  # x to the power of 8; the highest bit stands for 1
    while size:
        if size & 1:
            crc = _product(crc, factor)
        factor = _product(factor, factor)
        size >>= 1
    return crc


def _product(a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo CRC-32's; bits are reversed, as in zlib."""
    result = 0
    bit = 0x80000000
    while bit:
        if a & bit:
            result ^= b
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
        bit >>= 1
    return result
