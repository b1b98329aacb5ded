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
_BLANK_LINE = b"\n\n"
_MOST_HELD = 8192


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


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as it was dispatched; `id` is the last event id at that moment ("" for none)."""

    event: str
    data: str
    id: str


class SSEDecoder:
    """Decodes an event stream from pieces of bytes.

    `last_event_id` is what a client that reconnects sends as ``Last-Event-ID``; to be handed to the
    next connection's decoder. `retry` is the reconnection time in milliseconds, None before one.
    `primer` is the id in a block without data before any event, which says where reading starts.
    `max_block_bytes` bounds a line, and the data of an event.
    """

    def __init__(self, *, max_block_bytes: int = MAX_BLOCK_BYTES, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self.primer: str | None = None
        self._max_block_bytes = max_block_bytes
        self._fault: str | None = None
        self._at_start = True
        self._primes = True  # no block with an id or an event yet
        self._after_cr = False  # an LF that follows belongs to the same line end
        self._in_block = True  # what came last was no blank line; at the start, a BOM may come
        self._held = b""  # the beginning of a block, looked at once there is more of it
        self._most_held = min(_MOST_HELD, max_block_bytes)
        self._tail = bytearray()  # the line that is not finished yet, of a block that isn't held
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
                if self._after_cr or b"\r" in data:
                    data = self._with_lf(data)
                self._take(data, events)
            except ProtocolError as fault:
                self._fault = str(fault)
        if self._fault is not None and not events:
            raise ProtocolError(self._fault)
        return events

    def _with_lf(self, data: bytes) -> bytes:
        """The same lines, each ended by LF, however the end of a line was cut."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if data:
            self._after_cr = data[-1] == _CR
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take(self, data: bytes, events: list[ServerSentEvent]) -> None:
        # Three parts: the rest of a block that was begun, whole blocks, one that isn't finished.
        if self._held:
            data = self._held + data
            self._held = b""
        if self._in_block or self._primes:
            data = self._take_open_block(data, events)
        end = data.rfind(_BLANK_LINE) + len(_BLANK_LINE)
        # Within the bound as a whole, so no line of it is too long, and no event's data.
        if len(_BLANK_LINE) <= end <= self._max_block_bytes:
            self._take_blocks(data[:end], events)
            data = data[end:]
        if len(data) <= self._most_held and not self._in_block and b"retry" not in data:
            self._held = data
        elif data:
            self._take_lines(data, events)

    def _take_open_block(self, data: bytes, events: list[ServerSentEvent]) -> bytes:
        """What is left behind a block that was begun, and behind those before any event."""
        start = 0
        while start < len(data) and (self._in_block or self._primes):
            end = self._end_of_block(data, start)
            self._take_lines(data[start:end], events)
            start = end
        return data[start:]

    def _end_of_block(self, data: bytes, start: int) -> int:
        """Where in `data`, or with it, the block ends that `start` is in."""
        if data[start] == _LF and not self._tail:
            return start + 1
        blank = data.find(_BLANK_LINE, start)
        return len(data) if blank < 0 else blank + len(_BLANK_LINE)

    def _take_blocks(self, blocks: bytes, events: list[ServerSentEvent]) -> None:
        """Whole blocks: by the quick paths, where they are as most servers write them."""
        text = _text(blocks)
        if text.startswith("id: ") and "\0" not in text:
            self._take_blocks_with_ids(text, events)
        elif text.startswith("data: "):
            self._take_blocks_of_data(text, events)
        else:
            self._take_lines(blocks, events)

    def _take_blocks_with_ids(self, text: str, events: list[ServerSentEvent]) -> None:
        """Blocks of an id, perhaps a name, and a line of data."""
        append = events.append
        last_id = self.last_event_id
        for block in text[len("id: ") : -len("\n\n")].split("\n\nid: "):
            id_, is_there, data = block.partition("\ndata: ")
            if is_there and "\n" not in data:
                if "\n" not in id_:
                    append(ServerSentEvent("message", data, id_))
                    last_id = id_
                    continue
                id_, _, event = id_.partition("\nevent: ")
                if "\n" not in id_ and "\n" not in event:
                    append(ServerSentEvent(event or "message", data, id_))
                    last_id = id_
                    continue
            # Lines of another kind, or further blocks that begin with another line.
            self.last_event_id = last_id
            self._take_lines(f"id: {block}\n\n".encode(), events)
            last_id = self.last_event_id
        self.last_event_id = last_id

    def _take_blocks_of_data(self, text: str, events: list[ServerSentEvent]) -> None:
        """Blocks of a line of data."""
        for data in text[len("data: ") : -len("\n\n")].split("\n\ndata: "):
            if "\n" not in data:
                events.append(ServerSentEvent("message", data, self.last_event_id))
            else:
                self._take_lines(f"data: {data}\n\n".encode(), events)

    def _take_lines(self, data: bytes, events: list[ServerSentEvent]) -> None:
        """Any bytes: the exact path, line by line."""
        *lines, rest = data.split(b"\n")
        if lines:
            if self._tail:
                lines[0] = bytes(self._tail) + lines[0]
                self._tail.clear()
            self._in_block = bool(rest or lines[-1])
        elif rest:
            self._in_block = True
        self._tail += rest
        self._interpret(lines, events)

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
            if self._primes and not self._data:
                self.primer = self.last_event_id
            self._primes = False
        event = None
        if self._data:
            self._primes = False
            self._data.pop()
            event = ServerSentEvent(
                event=_text(self._event) if self._event else "message",
                data=_text(self._data),
                id=self.last_event_id,
            )
            self._data.clear()
        self._event = b""
        return event
