"""The body of a streamed HTTP response, in the content coding that its client takes.

Each is one connection's; what it has to send of a piece is shared with all that have the same
coding, but for Brotli's, which each connection compresses for itself.
"""

from __future__ import annotations

from typing import Protocol

from ..compression import (
    GZIP_HEAD,
    ZSTD_END,
    BrotliStream,
    Checksum,
    gzip_block,
    gzip_tail,
    zstd_block,
)
from ..fanout import Form, Lane, Piece


def chunk(data: bytes) -> bytes:
    """Data as one chunk of an HTTP/1.1 body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


_GZIP = Form("gzip", lambda piece: gzip_block(piece.joined))
_ZSTD = Form("zstd", lambda piece: zstd_block(piece.joined))
_CHUNK = Form("chunk", lambda piece: chunk(piece.joined))
_GZIP_CHUNK = Form("gzip chunk", lambda piece: chunk(piece.form(_GZIP)), checked=True)
# Who rides has begun a frame already.
_ZSTD_CHUNK = Form("zstd chunk", lambda piece: chunk(ZSTD_END + piece.form(_ZSTD)))


class Body(Protocol):
    """A body in a content coding.

    Attributes:
        coding: its name in ``Content-Encoding``; None for a body as it is.
        form: what a lane must write to be a part of it; None where no lane can.
    """

    coding: str | None
    form: Form | None

    def encode(self, piece: Piece) -> bytes:
        """The next bytes of the body; after them the client can read the whole piece."""
        ...

    def chunk(self, piece: Piece) -> bytes:
        """The same as a chunk of HTTP/1.1."""
        ...

    def end(self) -> bytes:
        """What ends the body."""
        ...

    def boarded(self, lane: Lane) -> None:
        """A lane writes the body from now on."""
        ...

    def alighted(self, lane: Lane) -> None:
        """The lane doesn't any more."""
        ...


class PlainBody:
    """A body as it is."""

    coding: str | None = None
    form: Form | None = _CHUNK

    def encode(self, piece: Piece) -> bytes:
        """See `Body.encode`."""
        return piece.joined

    def chunk(self, piece: Piece) -> bytes:
        """See `Body.chunk`."""
        if self.form is None or not self._may_share:
            return chunk(self.encode(piece))
        self._passed(piece)
        return piece.form(self.form)

    @property
    def _may_share(self) -> bool:
        """Whether what comes next is the same for all that have this coding."""
        return True

    def _passed(self, piece: Piece) -> None:
        """A shared chunk of a piece has become a part of the body."""

    def end(self) -> bytes:
        """See `Body.end`."""
        return b""

    def boarded(self, lane: Lane) -> None:
        """See `Body.boarded`."""

    def alighted(self, lane: Lane) -> None:
        """See `Body.alighted`."""


class ZstdBody(PlainBody):
    """A sequence of Zstandard frames; the last one is open until the next begins."""

    coding: str | None = "zstd"
    form: Form | None = _ZSTD_CHUNK

    def __init__(self) -> None:
        self._open = False

    @property
    def _may_share(self) -> bool:
        return self._open

    def encode(self, piece: Piece) -> bytes:
        """See `Body.encode`."""
        before, self._open = self.end(), True
        return before + piece.form(_ZSTD)

    def end(self) -> bytes:
        """See `Body.end`."""
        return ZSTD_END if self._open else b""


class GzipBody(PlainBody):
    """A gzip member of shared blocks, with a checksum of its own."""

    coding: str | None = "gzip"
    form: Form | None = _GZIP_CHUNK

    def __init__(self) -> None:
        self._check = Checksum()
        self._boarded_at = Checksum()
        self._head = GZIP_HEAD

    @property
    def _may_share(self) -> bool:
        return not self._head

    def _passed(self, piece: Piece) -> None:
        self._check.add(piece.joined)

    def encode(self, piece: Piece) -> bytes:
        """See `Body.encode`."""
        self._check.add(piece.joined)
        head, self._head = self._head, b""
        return head + piece.form(_GZIP)

    def end(self) -> bytes:
        """See `Body.end`."""
        head, self._head = self._head, b""
        return head + gzip_tail(self._check)

    def boarded(self, lane: Lane) -> None:
        """See `Body.boarded`."""
        self._boarded_at = lane.check.copy()

    def alighted(self, lane: Lane) -> None:
        """See `Body.alighted`."""
        self._check.extend(lane.check.since(self._boarded_at))


class BrotliBody(PlainBody):
    """A Brotli stream: no two connections have the same bytes."""

    coding: str | None = "br"
    form: Form | None = None

    def __init__(self) -> None:
        self._stream = BrotliStream()

    def encode(self, piece: Piece) -> bytes:
        """See `Body.encode`."""
        return self._stream.batch(piece.joined)

    def end(self) -> bytes:
        """See `Body.end`."""
        return self._stream.end()


_BODIES: dict[str, type[PlainBody]] = {"zstd": ZstdBody, "gzip": GzipBody, "br": BrotliBody}


def body_in(coding: str | None) -> Body:
    """A new body; None for one as it is."""
    return PlainBody() if coding is None else _BODIES[coding]()


def encode_whole(coding: str, data: bytes) -> bytes:
    """A whole body in a coding."""
    body = body_in(coding)
    return body.encode(Piece((data,), data, 0)) + body.end()
