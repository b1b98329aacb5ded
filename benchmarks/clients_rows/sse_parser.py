"""How many events a second the parser of event streams reads, against httpx-sse on the same bytes.

The bytes are what a topic of penstock sends, about 110 a block, with a keepalive here and there;
both parsers get them in the same pieces, of 64 KiB as a busy socket gives them and of 1 KiB. Both
are called as their clients call them, and what they find is compared before. Seconds are those of
the processor, so other processes count for nothing. Target: at least 3 times the events a second of
httpx-sse, for both sizes.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import partial
from time import process_time

from httpx_sse._decoders import SSEDecoder as TheirDecoder
from httpx_sse._decoders import SSELineDecoder

from penstock.wire import SSEDecoder, cursor_text, encode_comment, encode_json, event_block

from ..figures import Figure, in_turn, ratio, summary
from ..rows import Effort, Row

EVENTS = 50_000
SIZES = {"64 KiB": 65_536, "1 KiB": 1_024}
AT_LEAST = 3.0


def stream(events: int, name: bytes | None = None) -> bytes:
    """What a topic sends: some machine's metrics."""
    blocks = [b"retry: 2000\nid: 9jlnveew0a-0\n\n"]
    for n in range(1, events + 1):
        value = {"cpu": n % 100 / 7, "load": [0.5, 1.25], "host": f"machine-{n % 10}", "ok": True}
        id_ = cursor_text("9jlnveew0a", n).encode()
        blocks.append(event_block(id_, encode_json(value), name))
        if n % 1_000 == 0:
            blocks.append(encode_comment("keepalive"))
    return b"".join(blocks)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def ours(data: list[bytes]) -> Iterator[tuple[str, str]]:
    decoder = SSEDecoder()
    for piece in data:
        for event in decoder.feed(piece):
            yield event.id, event.data


def theirs(data: list[bytes]) -> Iterator[tuple[str, str]]:
    text, lines, decoder = codecs.getincrementaldecoder("utf-8")(), SSELineDecoder(), TheirDecoder()
    for piece in data:
        for line in lines.decode(text.decode(piece)):
            event = decoder.decode(line.rstrip("\n"))
            if event is not None and event.data:
                yield event.id, event.data


def our_rate(data: list[bytes], events: int) -> float:
    """Thousands of events a second."""
    found, started = 0, process_time()
    decoder = SSEDecoder()
    for piece in data:
        for _ in decoder.feed(piece):
            found += 1
    elapsed = process_time() - started
    return _rate(found, events, elapsed)


def their_rate(data: list[bytes], events: int) -> float:
    """Thousands of events a second."""
    found, started = 0, process_time()
    text, lines, decoder = codecs.getincrementaldecoder("utf-8")(), SSELineDecoder(), TheirDecoder()
    for piece in data:
        for line in lines.decode(text.decode(piece)):
            event = decoder.decode(line.rstrip("\n"))
            if event is not None and event.data:
                found += 1
    elapsed = process_time() - started
    return _rate(found, events, elapsed)


def _rate(found: int, events: int, elapsed: float) -> float:
    if found != events:
        raise AssertionError(f"{found} events instead of {events}")
    return events / elapsed / 1_000


def measure(effort: Effort) -> list[Figure]:
    """Each size in turn, named and unnamed events."""
    events = int(EVENTS * effort.scale)
    figures: list[Figure] = []
    for kind, name in (("", None), (" with names", b"tick")):
        data = stream(events, name)
        for label, size in SIZES.items():
            cut = pieces(data, size)
            if list(ours(cut)) != list(theirs(cut)):
                raise AssertionError("the parsers don't agree")
            works = {
                "penstock": partial(our_rate, cut, events),
                "httpx-sse": partial(their_rate, cut, events),
            }
            rates = in_turn(works, effort.rounds)
            place = f"pieces of {label}{kind}"
            figures += [
                summary(f"{parser}, {place}, k events/s", rates[parser]) for parser in rates
            ]
            figures.append(
                ratio(f"ratio, {place}", rates["penstock"], rates["httpx-sse"], AT_LEAST)
            )
    return figures


ROW = Row("The parser of event streams against httpx-sse", measure)
