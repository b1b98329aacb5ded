"""The law of delivery: every reader gets every event once and in order, or is told of the gap."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.wire import Cursor, End, Gap, ServerMessage
from penstock_server.fanout import PIECE_EVENTS, Delivery, Reader
from penstock_server.log import EncodedEvent, MemoryLog, StoredEvent, resolve
from penstock_server.settings import Retention


class LineFraming:
    """Each event and message as one line of JSON."""

    transport = "ndjson"

    def event(self, topic: str, id: str, event: StoredEvent) -> bytes:  # noqa: A002 - the protocol's name
        return json.dumps({"id": id, "data": event.json.decode()}).encode() + b"\n"

    def message(self, message: ServerMessage) -> bytes:
        assert isinstance(message, Gap | End)
        if isinstance(message, End):
            return json.dumps({"end": message.id}).encode() + b"\n"
        fields = {"requested": message.requested, "resumed": message.resumed}
        return json.dumps({**fields, "missed": message.missed}).encode() + b"\n"

    def join(self, framed: Sequence[bytes]) -> bytes:
        return b"".join(framed)


class Client:
    """A reader that checks what it is given."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.position = reader.position
        self.ended = False

    def advance(self) -> bool:
        """Take the next piece; false where there is none."""
        piece = self.reader.next()
        if piece is None:
            return False
        assert piece.joined == b"".join(piece.framed)
        assert 0 < len(piece.framed) <= PIECE_EVENTS
        for line in piece.joined.splitlines():
            self._take(json.loads(line))
        assert self.position == piece.upto == self.reader.position
        return True

    def _take(self, line: dict[str, Any]) -> None:
        assert not self.ended, "something came after the end"
        if "data" in line:
            self.position += 1
            assert Cursor.parse(line["id"]).offset == self.position == int(line["data"])
        elif "end" in line:
            self.ended = True
            assert Cursor.parse(line["end"]).offset == self.position
        else:
            resumed = Cursor.parse(line["resumed"]).offset
            if line["missed"] is not None:
                requested = Cursor.parse(line["requested"]).offset
                assert line["missed"] == resumed - requested > 0
                assert requested == self.position or resumed == self.position
            self.position = resumed


actions = st.lists(
    st.tuples(st.just("append"), st.integers(1, 8))
    | st.tuples(st.just("advance"), st.integers(0, 9))
    | st.tuples(st.just("join"), st.sampled_from([-2, -1]) | st.integers(0, 60))
    | st.tuples(st.just("wait"), st.integers(1, 4)),
    max_size=60,
)


@given(actions, st.integers(1, 20), st.integers(20, 200), st.none() | st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_every_reader_gets_everything_or_is_told(
    actions: list[tuple[str, int]], most: int, size: int, seconds: int | None
) -> None:
    now = 0.0
    log = MemoryLog(Retention(most, size, seconds), lambda: now)
    delivery = Delivery("t", log)
    framing = LineFraming()
    clients: list[Client] = []
    for action, number in actions:
        match action:
            case "append":
                last = log.bounds().last
                log.append(
                    [EncodedEvent(str(last + each).encode(), b"") for each in range(1, number + 1)]
                )
            case "advance" if clients:
                clients[number % len(clients)].advance()
            case "join":
                words = {-2: "earliest", -1: "latest"}
                asked: Any = words.get(number) or Cursor(log.epoch, number)
                start = resolve(asked, "t", log.epoch, log.bounds())
                clients.append(Client(delivery.join(framing, start)))
            case _:
                now += number
    log.finish()
    for client in clients:
        while client.advance():
            pass
        assert client.ended
        assert client.position == log.bounds().last


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=60),
    st.integers(1, 12),
    st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_a_conflating_reader_ends_with_the_newest_of_each_key_or_is_told(
    steps: list[tuple[str, bool]], most: int, begin: int
) -> None:
    log = MemoryLog(Retention(most), lambda: 0.0, keyed=True)
    delivery = Delivery("t", log)
    reader = delivery.join(
        LineFraming(), resolve("latest", "t", log.epoch, log.bounds()), slow="conflate"
    )
    newest: dict[str, int] = {}
    seen: dict[str, int] = {}
    position = 0
    told = False

    def advance() -> None:
        nonlocal position, told
        while (piece := reader.next()) is not None:
            for line in map(json.loads, piece.joined.splitlines()):
                if "data" in line:
                    offset = Cursor.parse(line["id"]).offset
                    assert offset > position, "in order, and each once"
                    position = offset
                    key, number = line["data"].split()
                    seen[key] = int(number)
                else:
                    told = True

    for number, (key, reads) in enumerate(steps, 1):
        log.append([EncodedEvent(f"{key} {number}".encode(), b"", None, key)])
        newest[key] = number
        if reads and number > begin:
            advance()
    advance()
    assert told or seen == newest
    assert not told or len(newest) > most, "there is room for so many keys"
