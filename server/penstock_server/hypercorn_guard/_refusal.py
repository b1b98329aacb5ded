"""The answer to a connection that is one too many, in the client's own protocol."""

from contextlib import suppress

import trio
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, SettingsFrame

from penstock_server.hypercorn_guard._admission import Refusal

REFUSAL_TIMEOUT = 2.0
"""Seconds in all for a client to ask and to take the answer."""

RETRY_AFTER = 10
"""Seconds after which a refused client may try again."""

H2_PREFACE = b"PRI * HTTP/2.0\r\n"

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def refuse(stream: Stream, why: Refusal) -> None:
    """Tell the client, and let it take the answer. Leaves the stream open.

    What it asks is read and dropped: closed with that unread, TCP would reset the connection, and
    the client might never see the answer.
    """
    errors = (trio.BrokenResourceError, trio.ClosedResourceError)
    with trio.move_on_after(REFUSAL_TIMEOUT), suppress(*errors):
        protocol = None
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()
            protocol = stream.selected_alpn_protocol()
        asked = await stream.receive_some()
        if not asked:
            return
        http2 = protocol == "h2" or asked.startswith(H2_PREFACE)
        await stream.send_all(_goaway() if http2 else _answer(why))
        if isinstance(stream, trio.SocketStream):
            await stream.send_eof()
        while await stream.receive_some():
            pass


def _answer(why: Refusal) -> bytes:
    body = b'{"title":"%b","status":%d}' % (why.title.encode(), why.status)
    return (
        b"HTTP/1.1 %d %b\r\n"
        b"content-type: application/problem+json\r\n"
        b"content-length: %d\r\n"
        b"retry-after: %d\r\n"
        b"connection: close\r\n"
        b"\r\n%b" % (why.status, why.title.encode(), len(body), RETRY_AFTER, body)
    )


def _goaway() -> bytes:
    """No stream was or will be processed, so that all can be repeated elsewhere or later."""
    end = GoAwayFrame(0, last_stream_id=0, error_code=ErrorCodes.ENHANCE_YOUR_CALM)
    return SettingsFrame(0).serialize() + end.serialize()
