"""Bodies in each content coding, written by a connection's own task and by a lane in turn."""

from __future__ import annotations

import gzip
import zlib

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_server.fanout import Delivery, Form, Lane, Piece
from penstock_server.log import MemoryLog, Start
from penstock_server.settings import Retention
from penstock_server.transports.body import (
    Body,
    BrotliBody,
    GzipBody,
    PlainBody,
    ZstdBody,
    body_in,
    chunk,
)
from penstock_server.transports.framing import NDJSON


def piece(data: bytes) -> Piece:
    return Piece((data,), data, 0)


def lane(form: Form) -> Lane:
    """An empty one; bodies only look at its checksum."""
    delivery = Delivery("t", MemoryLog(Retention(), lambda: 0.0))
    return Lane(delivery.join(NDJSON, Start(0, None)).feed, form, 0, 0.0)


def unchunk(data: bytes) -> bytes:
    """What chunks hold."""
    plain = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        assert length, "an empty chunk would end the body"
        assert data[length : length + 2] == b"\r\n"
        plain, data = plain + data[:length], data[length + 2 :]
    return plain


def decoded(body: Body, wire: bytes) -> bytes:
    headers = {} if body.coding is None else {"content-encoding": body.coding}
    return httpx.Response(200, headers=headers, content=wire).content


def test_a_chunk() -> None:
    assert chunk(b"abc") == b"3\r\nabc\r\n"
    assert chunk(b"x" * 300) == b"12c\r\n" + b"x" * 300 + b"\r\n"


@pytest.mark.parametrize(
    ("coding", "kind"),
    [(None, PlainBody), ("gzip", GzipBody), ("zstd", ZstdBody), ("br", BrotliBody)],
)
def test_which_body(coding: str | None, kind: type) -> None:
    body = body_in(coding)
    assert type(body) is kind
    assert body.coding == coding
    assert (body.form is None) is (coding == "br")
    assert body_in(coding) is not body


@pytest.mark.parametrize("coding", [None, "gzip", "zstd", "br"])
@given(parts=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=6))
@settings(max_examples=25)
def test_what_is_encoded_is_decoded(coding: str | None, parts: list[bytes]) -> None:
    body = body_in(coding)
    wire = b"".join(body.encode(piece(part)) for part in parts) + body.end()
    assert decoded(body, wire) == b"".join(parts)


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br"])
def test_equal_pieces_are_compressed_once_where_they_can_be(coding: str) -> None:
    shared = piece(b"data: 1\n\n" * 50)
    one, other = body_in(coding), body_in(coding)
    first, second = one.encode(shared), other.encode(shared)
    assert first == second
    one.encode(shared)
    if coding == "br":
        assert one.encode(piece(b"data: 1\n\n" * 50)) != first, "it refers to what was before"
    else:
        again = one.encode(shared)
        assert first.endswith(again) or again.endswith(first)


def test_an_empty_gzip_body_is_whole() -> None:
    assert gzip.decompress(GzipBody().end()) == b""


@pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
@given(
    turns=st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=120)), max_size=10),
    before=st.binary(max_size=50),
)
@settings(max_examples=25)
def test_task_and_lane_by_turns_make_one_body(
    coding: str | None, turns: list[tuple[bool, bytes]], before: bytes
) -> None:
    body = body_in(coding)
    form = body.form
    assert form is not None
    ridden = lane(form)
    ridden.check.add(before)  # what others were written while this one did not ride
    wire = body.encode(piece(b"begin"))
    plain = b"begin"
    for rides, data in turns:
        if rides:
            body.boarded(ridden)
            wire += unchunk(ridden_write(ridden, form, data))
            body.alighted(ridden)
        else:
            wire += body.encode(piece(data))
            ridden_write(ridden, form, b"others " + data)
        plain += data
    wire += body.end()
    assert decoded(body, wire) == plain
    if coding == "gzip":
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        decoder.decompress(wire)
        assert decoder.eof


def ridden_write(ridden: Lane, form: Form, data: bytes) -> bytes:
    """What a lane puts on the wire for everybody who rides it."""
    written = piece(data)
    ridden.write(written)
    return written.form(form)
