"""Server-sent events: writing and reading ``text/event-stream``.

Source: WHATWG HTML, section 9.2 "Server-sent events" (9.2.5 parsing, 9.2.6 interpretation).

The invariant of `SSEDecoder`, for any bytes in any pieces:

* they decode, or `ProtocolError` is raised, and never anything else;
* the events, their order and the error don't depend on where the pieces were cut, be it within a
  UTF-8 sequence or between CR and LF;
* what is held between two pieces is bounded by a few times `max_block_bytes`.
"""

from __future__ import annotations

import msgspec

MAX_BLOCK_BYTES = 16 * 1024 * 1024
MAX_RETRY_MS = 10**18

_BOM = b"\xef\xbb\xbf"
_RETRY_DIGITS = 18
_CR = 0x0D
_LF = 0x0A


class ProtocolError(ValueError):
    """The peer sent more than `max_block_bytes` without finishing an event."""


def encode_event(
    *,
    data: str | None,
    id: str | None = None,  # noqa: A002 - the field's name in the standard
    event: str | None = None,
    retry: int | None = None,
) -> bytes:
    """One block of an event stream, with the blank line that ends it.

    `data` is written as one ``data:`` line per line (ended by CRLF, CR or LF); "" is one empty
    line, and None no line, so that nothing is dispatched. `retry` is in milliseconds.
    Raises `ValueError` for CR, LF or NUL in `id` or `event`, for a negative `retry`, for text that
    UTF-8 can't say, and where there is no field at all.
    """
    lines: list[str] = []
    if retry is not None:
        if retry < 0:
            raise ValueError("retry is a number of milliseconds, not negative")
        lines.append(f"retry: {retry:d}")
    if id is not None:
        lines.append(f"id: {_one_line('id', id)}")
    if event is not None:
        lines.append(f"event: {_one_line('event', event)}")
    if data is not None:
        lines += [f"data: {line}" for line in _lines(data)]
    if not lines:
        raise ValueError("an event has at least one field")
    lines += ("", "")
    return "\n".join(lines).encode()


def encode_comment(text: str) -> bytes:
    """A comment, which readers skip, as a block of its own; it keeps an idle connection alive."""
    return ("".join(f": {line}\n" for line in _lines(text)) + "\n").encode()


def event_block(id: bytes, data_json: bytes, event: bytes | None = None) -> bytes:  # noqa: A002
    """The block of an event that is serialised already: the hot path, it checks nothing.

    `data_json` is one line; `id` and `event` are free of CR, LF and NUL.
    """
    if event is None:
        return b"id: %b\ndata: %b\n\n" % (id, data_json)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (id, event, data_json)


def _lines(text: str) -> list[str]:
    # Not str.splitlines(): that splits at form feeds, U+2028 and others, too.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _one_line(field: str, value: str) -> str:
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"{field} must not hold CR, LF or NUL")
    return value


def _text(field: bytes | bytearray) -> str:
    # CR and LF are never part of a UTF-8 sequence, so decoding after the split into lines
    # replaces what decoding the whole stream would.
    return field.decode("utf-8", "replace")


class ServerSentEvent(msgspec.Struct, frozen=True):
    """An event as it was dispatched; `id` is the last event id at that moment ("" for none)."""

    event: str
    data: str
    id: str


class SSEDecoder:
    """Decodes an event stream from pieces of bytes.

    `last_event_id` is what a client that reconnects sends as ``Last-Event-ID``; to be handed to the
    next connection's decoder. `retry` is the reconnection time in milliseconds, None before one.
    `max_block_bytes` bounds a line, and the data of an event.
    """

    def __init__(self, *, max_block_bytes: int = MAX_BLOCK_BYTES, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._max_block_bytes = max_block_bytes
        self._fault: str | None = None
        self._at_start = True
        self._after_cr = False  # an LF that follows belongs to the same line end
        self._tail = bytearray()  # the line that is not finished yet
        # The three buffers of the standard. An id counts from the end of its block on.
        self._data = bytearray()
        self._event = b""
        self._id: bytes | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that `data` completes; what is unfinished at the end of a stream never comes.

        Raises `ProtocolError` where a line, or the data of an event, is over `max_block_bytes`.
        Events before that place are returned first, and the next call raises. A decoder that
        raised once raises ever after.
        """
        events: list[ServerSentEvent] = []
        if self._fault is None:
            try:
                self._interpret(self._split(data), events)
            except ProtocolError as fault:
                self._fault = str(fault)
        if self._fault is not None and not events:
            raise ProtocolError(self._fault)
        return events

    def _split(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if not data:
            return []
        lines = data.splitlines()  # of bytes: at CRLF, CR and LF only, as the standard has it
        rest = b"" if data[-1] in (_CR, _LF) else lines.pop()
        if lines:
            if self._tail:
                lines[0] = bytes(self._tail) + lines[0]
                self._tail.clear()
            self._after_cr = data[-1] == _CR
        self._tail += rest
        return lines

    def _interpret(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        limit, buffer = self._max_block_bytes, self._data
        if self._at_start and lines:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if not line:
                if (event := self._dispatch()) is not None:
                    events.append(event)
                continue
            if len(line) > limit:
                raise ProtocolError(f"a line is longer than {limit} bytes")
            name, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if name == b"data":
                buffer += value
                buffer += b"\n"
                if len(buffer) > limit:
                    raise ProtocolError(f"the data of an event is longer than {limit} bytes")
            else:
                self._set(name, value)
        # Last, so that the events of the lines before it were seen, however the stream was cut.
        if len(self._tail) > limit + len(_BOM) * self._at_start:
            raise ProtocolError(f"a line is longer than {limit} bytes")

    def _set(self, name: bytes, value: bytes) -> None:
        if name == b"id":
            if b"\0" not in value:
                self._id = value
        elif name == b"event":
            self._event = value
        elif name == b"retry" and value.isdigit():  # of bytes: ASCII digits only
            digits = value.lstrip(b"0")
            # A longer one would mean ages, and int() refuses thousands of digits.
            self.retry = int(digits or b"0") if len(digits) <= _RETRY_DIGITS else MAX_RETRY_MS

    def _dispatch(self) -> ServerSentEvent | None:
        """Ends a block, by the standard's steps for dispatching an event."""
        if self._id is not None:
            self.last_event_id = _text(self._id)
            self._id = None
        event = None
        if self._data:
            self._data.pop()
            event = ServerSentEvent(
                event=_text(self._event) if self._event else "message",
                data=_text(self._data),
                id=self.last_event_id,
            )
            self._data.clear()
        self._event = b""
        return event
