"""An HTTP/2 client of plain frames, which goes on where the h2 library gives up."""

import hpack
import trio
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)


class TolerantClient:
    """A client that goes on after GOAWAY, as RFC 9113 wants it; the h2 library doesn't."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.goaways: list[tuple[int, int]] = []
        self.resets: dict[int, int] = {}
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.is_closed = False
        self._encoder = hpack.Encoder()
        self._next = 1

    async def request(self, **headers: str) -> int:
        stream_id, self._next = self._next, self._next + 2
        block = self._encoder.encode(request_headers(**headers))
        frame = HeadersFrame(stream_id, block, flags=["END_HEADERS", "END_STREAM"])
        opening = PREFACE + window(2**30) if stream_id == 1 else b""
        await self.stream.send_all(opening + frame.serialize())
        return stream_id

    async def read(self) -> None:
        buffer = b""
        async for data in self.stream:
            buffer += bytes(data)
            while len(buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(buffer[:9]))
                if len(buffer) < 9 + length:
                    break
                frame.parse_body(memoryview(buffer[9 : 9 + length]))
                buffer = buffer[9 + length :]
                self._take(frame)
        self.is_closed = True

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, GoAwayFrame):
            self.goaways.append((frame.error_code, frame.last_stream_id))
        elif isinstance(frame, RstStreamFrame):
            self.resets[frame.stream_id] = frame.error_code
        elif isinstance(frame, DataFrame):
            data = self.received.get(frame.stream_id, b"") + frame.data
            self.received[frame.stream_id] = data
        if "END_STREAM" in frame.flags:
            self.ended.add(frame.stream_id)


def window(size: int) -> bytes:
    """Settings that grant a window to each stream, and one for the connection."""
    settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: size})
    increment = b"\0\0\x04\x08\0\0\0\0\0" + (size - 2**16).to_bytes(4, "big")
    return settings.serialize() + increment


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def request_headers(**more: str) -> list[tuple[str, str]]:
    headers = {":method": "GET", ":path": "/", ":scheme": "http", ":authority": "a"}
    return list({**headers, **more}.items())
