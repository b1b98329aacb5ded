"""permessage-deflate (RFC 7692) that inflates no further than a message may be long.

Neither side keeps its window from one message to the next (``no_context_takeover``), so that an
idle connection holds no compressor; ours exists while one message is compressed, and is small.
"""

import zlib
from collections.abc import Callable
from typing import Any, Final

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

WINDOW_BITS: Final = 12
"""The window that both sides use where the client lets us choose: 4 KB."""

MEMORY_LEVEL: Final = 5

MIN_COMPRESSED: Final = 256
"""Bytes under which a message is sent as it is: it would hardly become smaller."""

_TAIL: Final = b"\x00\x00\xff\xff"
_AFTER_THE_END: Final = (b"", b"\x00", _TAIL, b"\x00" + _TAIL)
_MIN_BITS, _MAX_BITS = 9, 15
_TAKEOVER: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = ("server_max_window_bits", "client_max_window_bits")


class BoundedDeflate(PerMessageDeflate):
    """The extension for one connection.

    Args:
        client_bits: The client's window, as it was agreed.
        server_bits: The server's window.
        most: Gives the bytes that an inflated message may have.
    """

    def __init__(self, client_bits: int, server_bits: int, most: Callable[[], int]) -> None:
        super().__init__(
            client_no_context_takeover=True,
            client_max_window_bits=client_bits,
            server_no_context_takeover=True,
            server_max_window_bits=server_bits,
        )
        self._enabled = True
        self._most = most
        self._size = 0

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,
    ) -> CloseReason | RsvBits:
        """Note what a frame is part of; a control frame may come within a message."""
        begins = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not begins:
            return CloseReason.PROTOCOL_ERROR
        self._inbound_is_compressible = not opcode.iscontrol()
        if begins:
            self._size = 0
            bits = -self.client_max_window_bits
            self._decompressor = zlib.decompressobj(bits) if rsv.rsv1 else None
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Inflate a part of a message."""
        inflater: Any = self._decompressor if self._inbound_is_compressible else None
        return data if inflater is None else self._inflate(inflater, data)

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """Inflate what is left, at the end of a message."""
        if not fin or not self._inbound_is_compressible or self._decompressor is None:
            return None
        inflater, self._decompressor = self._decompressor, None
        return self._inflate(inflater, _TAIL)

    def _inflate(self, inflater: Any, data: bytes) -> bytes | CloseReason:
        if inflater.eof:  # the client has ended the compressed data (RFC 7692, section 7.2.3.4)
            return b"" if data in _AFTER_THE_END else CloseReason.INVALID_FRAME_PAYLOAD_DATA
        room = self._most() - self._size
        try:
            inflated: bytes = inflater.decompress(data, room + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._size += len(inflated)
        if len(inflated) > room:
            return CloseReason.MESSAGE_TOO_BIG
        if inflater.eof and inflater.unused_data not in _AFTER_THE_END:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return inflated

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        """Compress a whole message that is worth it."""
        whole = fin and opcode in (Opcode.TEXT, Opcode.BINARY)
        if not whole or len(data) < MIN_COMPRESSED:
            return rsv, data
        compressor = zlib.compressobj(
            zlib.Z_DEFAULT_COMPRESSION,
            zlib.DEFLATED,
            -self.server_max_window_bits,
            MEMORY_LEVEL,
        )
        packed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return RsvBits(True, rsv.rsv2, rsv.rsv3), packed.removesuffix(_TAIL)


def accept_deflate(offers: list[str], most: Callable[[], int]) -> tuple[str, BoundedDeflate] | None:
    """The first offer that can be accepted: the header's value, and the extension.

    Args:
        offers: The elements of ``Sec-WebSocket-Extensions``.
        most: Gives the bytes that an inflated message may have.
    """
    for offer in offers:
        name, *parameters = (part.strip() for part in offer.split(";"))
        agreed = _agree(parameters) if name == PerMessageDeflate.name else None
        if agreed is not None:
            server_bits, client_bits = agreed
            chosen = [name, *_TAKEOVER, f"{_BITS[0]}={server_bits}"]
            if client_bits is not None:  # may only be answered where it was offered (7.1.2.2)
                chosen.append(f"{_BITS[1]}={client_bits}")
            return "; ".join(chosen), BoundedDeflate(client_bits or _MAX_BITS, server_bits, most)
    return None


def _agree(parameters: list[str]) -> tuple[int, int | None] | None:
    """The server's and the client's window; None for an offer that isn't one (section 7.1)."""
    given: dict[str, str] = {}
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name in given or name not in (*_TAKEOVER, *_BITS) or (name in _TAKEOVER and value):
            return None
        given[name] = value.strip('"')
    server, client = (given.get(name) for name in _BITS)
    if server is not None and not _is_window(server):
        return None
    if client and not _is_window(client):
        return None
    server_bits = WINDOW_BITS if server is None else min(WINDOW_BITS, int(server))
    if client is None:
        return server_bits, None
    return server_bits, min(WINDOW_BITS, int(client)) if client else WINDOW_BITS


def _is_window(value: str) -> bool:
    # Eight is allowed (section 7.1.2), but zlib can't do it; such an offer is left.
    return value.isascii() and value.isdigit() and _MIN_BITS <= int(value) <= _MAX_BITS
