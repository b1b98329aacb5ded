"""Shared blocks make bodies that any client decodes, batch by batch."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import brotli  # type: ignore[import-untyped] # it has no types
import httpx
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_server.compression import (
    GZIP_HEAD,
    ZSTD_END,
    BrotliStream,
    Checksum,
    gzip_block,
    gzip_tail,
    zstd_block,
)

batches = st.lists(
    st.binary(max_size=300)
    | st.text("ab ", max_size=2000).map(str.encode)
    | st.integers(0, 20_000).map(lambda size: b"x" * size),
    max_size=8,
)


def gzip_body(parts: list[bytes]) -> bytes:
    check = Checksum()
    for part in parts:
        check.add(part)
    return GZIP_HEAD + b"".join(map(gzip_block, parts)) + gzip_tail(check)


def zstd_pieces(parts: list[bytes]) -> list[bytes]:
    """As they are sent: the end of a frame comes with the next one. No piece is empty."""
    blocks = [zstd_block(part) for part in parts if part]
    return [*blocks[:1], *(ZSTD_END + block for block in blocks[1:]), ZSTD_END if blocks else b""]


def zstd_body(parts: list[bytes]) -> bytes:
    return b"".join(zstd_pieces(parts))


def brotli_body(parts: list[bytes]) -> bytes:
    stream = BrotliStream()
    return b"".join(map(stream.batch, parts)) + stream.end()


BODIES: dict[str, Callable[[list[bytes]], bytes]] = {
    "gzip": gzip_body,
    "zstd": zstd_body,
    "br": brotli_body,
}


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:stop] for start, stop in pairwise(places)]


# What clients make of it


@given(batches)
@settings(max_examples=40)
def test_a_gzip_body_is_whole(parts: list[bytes]) -> None:
    body = gzip_body(parts)
    assert gzip.decompress(body) == b"".join(parts)
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert decoder.decompress(body) == b"".join(parts)
    assert decoder.eof, "the trailer was read and is right"
    assert not decoder.unused_data


@given(batches, st.lists(st.integers(0, 1 << 20), max_size=20))
@settings(max_examples=40)
def test_a_gzip_body_is_read_in_any_split(parts: list[bytes], cuts: list[int]) -> None:
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    plain = b"".join(decoder.decompress(each) for each in split(gzip_body(parts), cuts))
    assert plain == b"".join(parts)
    assert decoder.eof


@given(batches.filter(lambda parts: any(parts)))
@settings(max_examples=40)
def test_zstandard_frames_are_read_as_one_stream(parts: list[bytes]) -> None:
    reader = zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(zstd_body(parts)), read_across_frames=True
    )
    assert reader.read() == b"".join(parts)


@pytest.mark.parametrize("coding", ["gzip", "br"])
@given(parts=batches, cuts=st.lists(st.integers(0, 1 << 20), max_size=12))
@settings(max_examples=25)
def test_httpx_reads_it_in_any_split(coding: str, parts: list[bytes], cuts: list[int]) -> None:
    pieces = split(BODIES[coding](parts), cuts)
    response = httpx.Response(200, headers={"content-encoding": coding}, content=iter(pieces))
    assert response.read() == b"".join(parts)


@given(batches)
@settings(max_examples=25)
def test_httpx_reads_zstandard_as_it_is_sent(parts: list[bytes]) -> None:
    headers = {"content-encoding": "zstd"}
    response = httpx.Response(200, headers=headers, content=iter(zstd_pieces(parts)))
    assert response.read() == b"".join(parts)


def test_httpx_fails_where_a_zstandard_frame_ends_with_what_it_has_read() -> None:
    """Why a frame's end comes with the next frame; and, for pieces may be split on their way, why
    `CODINGS` begins with gzip.
    """
    first, second = zstd_block(b"one"), zstd_block(b"two")
    headers = {"content-encoding": "zstd"}
    with pytest.raises(httpx.DecodingError):
        httpx.Response(200, headers=headers, content=iter([first + ZSTD_END, second])).read()


class _Zstandard:
    """A decoder that takes pieces, through frame after frame."""

    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes) -> bytes:
        plain = b""
        while data:
            plain += self._decoder.decompress(data)
            data = b""
            if self._decoder.eof:
                data = self._decoder.unused_data
                self._decoder = zstandard.ZstdDecompressor().decompressobj()
        return plain


def _feed_of(coding: str) -> Callable[[bytes], bytes]:
    if coding == "zstd":
        return _Zstandard().feed
    if coding == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    decoder: Any = brotli.Decompressor()
    return lambda data: bytes(decoder.process(data))


@pytest.mark.parametrize("coding", BODIES)
@given(parts=batches)
@settings(max_examples=20)
def test_each_batch_can_be_read_at_once(coding: str, parts: list[bytes]) -> None:
    stream = BrotliStream()
    batch: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip_block,
        "zstd": zstd_block,
        "br": stream.batch,
    }
    feed = _feed_of(coding)
    if coding == "gzip":
        assert feed(GZIP_HEAD) == b""
    frames = 0
    for part in parts:
        data = batch[coding](part)
        if coding == "zstd" and part:
            data = data if not frames else ZSTD_END + data
            frames += 1
        if coding != "zstd" or part:
            assert feed(data) == part


@given(batches, st.integers(0, 8))
@settings(max_examples=40)
def test_a_gzip_body_may_begin_at_any_block(parts: list[bytes], begin: int) -> None:
    """As one does that joins in mid-stream: blocks refer to nothing before them."""
    blocks = [gzip_block(part) for part in parts]
    check = Checksum()
    check.add(b"".join(parts[begin:]))
    body = GZIP_HEAD + b"".join(blocks[begin:]) + gzip_tail(check)
    assert gzip.decompress(body) == b"".join(parts[begin:])


# Checksums


@given(st.binary(max_size=500), st.binary(max_size=500), st.binary(max_size=500))
def test_a_stretch_has_its_own_checksum(before: bytes, stretch: bytes, after: bytes) -> None:
    stream = Checksum()
    stream.add(before)
    begin = stream.copy()
    stream.add(stretch)
    found = stream.since(begin)
    assert (found.crc, found.size) == (zlib.crc32(stretch), len(stretch))
    stream.add(after)
    assert (begin.crc, begin.size) == (zlib.crc32(before), len(before)), "a copy stays"
    assert stream.since(begin).crc == zlib.crc32(stretch + after)


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_stretches_are_put_together(parts: list[bytes]) -> None:
    whole = Checksum()
    for part in parts:
        piece = Checksum()
        piece.add(part)
        whole.extend(piece)
    joined = b"".join(parts)
    assert (whole.crc, whole.size) == (zlib.crc32(joined), len(joined))


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=12))
def test_alone_and_in_common_by_turns(turns: list[tuple[bool, bytes]]) -> None:
    """A connection that rides now and then, of a stream that others have read before."""
    own, common, plain = Checksum(), Checksum(), b""
    for rides, data in turns:
        if rides:
            boarded_at = common.copy()
            common.add(data)
            own.extend(common.since(boarded_at))
        else:
            own.add(data)
            common.add(b"what others read meanwhile" + data)
            plain += data
            continue
        plain += data
    assert (own.crc, own.size) == (zlib.crc32(plain), len(plain))


def test_a_size_past_four_gigabytes_is_told_modulo() -> None:
    check = Checksum(crc=7, size=(5 << 32) + 3)
    assert gzip_tail(check)[-8:] == b"\7\0\0\0\3\0\0\0"


def test_a_long_stretch_takes_no_time() -> None:
    stream = Checksum()
    stream.add(b"abc")
    begin = stream.copy()
    stream = Checksum(stream.crc, stream.size + (1 << 50))
    assert stream.since(begin).size == 1 << 50


def test_shared_blocks_are_worth_it() -> None:
    batch = b'data: {"name":"cpu","value":12.5}\n\n' * 20
    for compress in (gzip_block, zstd_block, BrotliStream().batch):
        assert len(compress(batch)) < len(batch) / 4
