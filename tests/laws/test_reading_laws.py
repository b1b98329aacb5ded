"""The law of reading: whatever is cut, and wherever, each event comes in order and once, or a gap
says exactly which are missing.

A model of a server's log is trimmed, grows and is lost between connections, each of which is cut
after some bytes; no sockets, so that thousands of cuts take a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock import Backoff
from penstock.net.losses import ConnectionLost
from penstock.net.over_http.formats import Format, decoder_for
from penstock.net.over_http.position import Item, Position
from penstock.net.received import Event
from penstock.wire import Cursor, End, Gap, Subscribed, cursor_text, encode_event

FORMATS: tuple[Format, ...] = ("sse", "ndjson", "msgpack")
PLAIN = Backoff(jitter=False)


@dataclass
class Log:
    """A log of the numbers that are their own offsets; those up to `trimmed` are gone."""

    epoch: str = "a"
    trimmed: int = 0
    last: int = 5
    ended: bool = False

    def says(self, after: str | None) -> list[Subscribed | Gap | Event | End]:
        """What a client gets that asks for what comes after a cursor."""
        said: list[Subscribed | Gap | Event | End] = []
        start = self.trimmed
        if after != "earliest" and after is not None:
            asked = Cursor.parse(after)
            resumed = cursor_text(self.epoch, self.trimmed)
            if asked.epoch != self.epoch:
                said.append(Gap("t", after, resumed, None, "epoch"))
            elif asked.offset < self.trimmed:
                missed = self.trimmed - asked.offset
                said.append(Gap("t", after, resumed, missed, "expired"))
            else:
                start = asked.offset
        said.insert(0, Subscribed("t", cursor_text(self.epoch, start)))
        said += [
            Event("t", cursor_text(self.epoch, n), [self.epoch, n])
            for n in range(start + 1, self.last + 1)
        ]
        if self.ended:
            said.append(End("t", cursor_text(self.epoch, self.last)))
        return said


def encoded(format_: Format, said: Subscribed | Gap | Event | End) -> bytes:
    text = msgspec.json.encode(said).decode()
    match format_, said:
        case "ndjson", _:
            return text.encode() + b"\n"
        case "msgpack", _:
            return msgspec.msgpack.encode(said)
        case _, Subscribed():
            return encode_event(data=None, id=said.id, retry=0)
        case _, Event():
            return encode_event(data=msgspec.json.encode(said.data).decode(), id=said.id)
        case _, Gap():
            return encode_event(data=text, id=said.resumed, event="gap")
        case _:
            return encode_event(data=text, id=said.id, event="end")


@dataclass
class Reader:
    format: Format
    position: Position = field(default_factory=lambda: Position("earliest"))
    items: list[Item] = field(default_factory=list[Item])

    def read(self, log: Log, cut: float, size: int) -> None:
        """One connection, of whose answer this share comes, in pieces of this many bytes."""
        self.position.connecting()
        answer = b"".join(encoded(self.format, each) for each in log.says(self.position.after))
        answer = answer[: round(len(answer) * cut)]
        decoder = decoder_for(self.format, "t", "json")
        for start in range(0, len(answer), size):
            self.items += self.position.take(decoder.feed(answer[start : start + size]))
        assert self.position.fault is None
        self.position.lost(ConnectionLost("cut"), PLAIN, 1.0)


connections = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from([1, 3, 20, 10_000]),
        st.sampled_from(["stay", "grow", "grow", "trim", "lose"]),
    ),
    max_size=12,
)


@given(st.sampled_from(FORMATS), connections)
def test_each_event_comes_once_or_a_gap_says_which_are_missing(
    format_: Format, cuts: list[tuple[float, int, str]]
) -> None:
    log, reader = Log(), Reader(format_)
    for cut, size, change in cuts:
        reader.read(log, cut, size)
        match change:
            case "grow":
                log.last += 7
            case "trim":
                log.trimmed = min(log.last, log.trimmed + 4)
            case "lose":
                log = Log(epoch=chr(ord(log.epoch) + 1), last=3)
    log.ended = True
    reader.read(log, 1.0, 10_000)
    assert reader.position.end == End("t", cursor_text(log.epoch, log.last))
    _require_whole(reader.items, log)


def _require_whole(items: list[Item], log: Log) -> None:
    """From where it began to the log's end, each offset is there, or within one gap."""
    at: Cursor | None = None
    for item in items:
        if isinstance(item, Gap):
            resumed = Cursor.parse(item.resumed)
            if at is not None:
                assert item.requested == str(at)
            known = Cursor.parse(item.requested)
            if known.epoch == resumed.epoch:
                assert item.missed == resumed.offset - known.offset
                assert item.missed > 0
            else:
                assert (item.missed, item.reason) == (None, "epoch")
            at = resumed
        else:
            cursor = Cursor.parse(item.id)
            assert item.data == [cursor.epoch, cursor.offset]
            assert at is None or cursor == Cursor(at.epoch, at.offset + 1)
            at = cursor
    assert at is None or (at.epoch, at.offset) == (log.epoch, log.last)
    assert at is not None or log.trimmed == log.last
