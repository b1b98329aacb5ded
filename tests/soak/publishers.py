"""Publishers that lose their connections in mid-publication, and send again under the same key."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from penstock.wire import Cursor

from ..e2e.clients import JSON_PROTOCOL, MSGPACK_PROTOCOL
from .connections import Cut, Http, Socket, open_http, open_websocket, reset
from .readers import Soak

_PAUSE = 0.03
_CUT = 0.03
"""How often a connection is cut before the answer has come."""


@dataclass
class Numbers:
    """A publisher's numbers, each sent under a key of its own until it is acknowledged."""

    name: str
    topic: str
    next: int = 0

    def values(self, count: int) -> list[list[Any]]:
        """The next numbers, in the form in which they are published."""
        return [[self.name, number] for number in range(self.next, self.next + count)]

    def key(self, number: int) -> str:
        """The key of a number, or of the batch that starts with it."""
        return f"{self.name} {self.topic} {number}"

    def acknowledged(self, soak: Soak, first: str, count: int) -> None:
        """The next `count` numbers are stored, the first at the cursor `first`."""
        offset = Cursor.parse(first).offset
        ledger = soak.ledgers.get(self.topic)
        for place, value in enumerate(self.values(count)):
            if ledger is not None:
                ledger.note(offset + place, value, self.name)
        self.next += count
        soak.report.published += count


async def publish_over_http(soak: Soak, name: str, topic: str) -> None:
    """Numbers one after another, and in batches; until cancelled."""
    numbers = Numbers(name, topic)
    batch = 1
    while True:
        with suppress(Cut, OSError):
            async with open_http(soak.address) as http:
                while True:
                    if await _post(soak, http, numbers, batch):
                        batch = soak.random.choice([1, 1, 1, 5])
                    await trio.sleep(soak.random.uniform(0, 2 * _PAUSE))
        await trio.sleep(_PAUSE)


async def _post(soak: Soak, http: Http, numbers: Numbers, batch: int) -> bool:
    """Whether a batch is stored now. Raises `Cut`, after which nobody knows."""
    body = "\n".join(map(json.dumps, numbers.values(batch))).encode()
    key = numbers.key(numbers.next)
    headers = {"content-type": "application/x-ndjson", "idempotency-key": key}
    target = f"/topics/{numbers.topic}"
    if soak.random.random() < _CUT:
        await http.send("POST", target, headers, body)
        await trio.sleep(soak.random.choice([0, 0.001, 0.01]))
        reset(http.stream)
        raise Cut("cut by the soak")
    response = await http.ask("POST", target, headers, body)
    answer = json.loads(await http.body())
    if response.status_code == 201:
        soak.report.replayed += any(name == b"idempotent-replayed" for name, _ in response.headers)
        numbers.acknowledged(soak, answer["first"], answer["count"])
        return True
    soak.report.refused += 1
    if response.status_code not in (429, 503):
        soak.report.violate(numbers.name, f"{response.status_code} {answer}")
    await trio.sleep(0.2)
    return False


async def publish_over_websocket(soak: Soak, name: str, topic: str) -> None:
    """Numbers, one a message and several messages a frame; until cancelled."""
    numbers = Numbers(name, topic)
    while True:
        with suppress(Cut, OSError):
            protocol = soak.random.choice([JSON_PROTOCOL, MSGPACK_PROTOCOL])
            async with open_websocket(soak.address, protocol) as websocket:
                while True:
                    # Where one may be refused, those behind it would be stored before it.
                    count = 1 if topic == "blocking" else soak.random.choice([1, 1, 4])
                    await _send(soak, websocket, numbers, count)
                    await trio.sleep(soak.random.uniform(0, 2 * _PAUSE))
        await trio.sleep(_PAUSE)


async def _send(soak: Soak, websocket: Socket, numbers: Numbers, count: int) -> None:
    """Publish some, and take the answers, which come in the order of the publications."""
    messages = [
        {
            "type": "publish",
            "topic": numbers.topic,
            "data": value,
            "key": numbers.key(value[1]),
            "ref": value[1],
        }
        for value in numbers.values(count)
    ]
    await websocket.send(*messages)
    if soak.random.random() < _CUT:
        reset(websocket.stream)
        raise Cut("cut by the soak")
    answers = 0
    while answers < count:
        for message in await websocket.receive():
            match message["type"]:
                case "published" if message["ref"] == numbers.next:
                    numbers.acknowledged(soak, message["id"], 1)
                    answers += 1
                case "published":  # one before it was refused, and it has overtaken
                    soak.report.violate(numbers.name, f"{message} is not {numbers.next}")
                    answers += 1
                case "error" if message["code"] in ("unavailable", "rate_limited"):
                    soak.report.refused += 1
                    raise Cut("refused; what was sent after it may be stored")
                case "error":
                    soak.report.violate(numbers.name, str(message))
                    raise Cut("refused")
                case _:
                    pass


async def poison(soak: Soak, name: str) -> None:
    """What makes a pipeline fail, again and again; until cancelled."""
    numbers = Numbers(f"poison {name}", "feed")
    while True:
        await trio.sleep(soak.random.uniform(2, 6))
        with suppress(Cut, OSError):
            async with open_http(soak.address) as http:
                await _post(soak, http, numbers, 1)


async def visit_rooms(soak: Soak) -> None:
    """Topics of a template, each used for a moment and left to be evicted; until cancelled."""
    room = 0
    while True:
        room += 1
        with suppress(Cut, OSError):
            async with open_http(soak.address) as http:
                headers = {"content-type": "application/json"}
                for number in range(3):
                    target = f"/topics/room.{room}"
                    response = await http.ask("POST", target, headers, str(number).encode())
                    body = await http.body()
                    if response.status_code not in (201, 429):
                        soak.report.violate("rooms", f"{response.status_code} {body[:200]!r}")
        await trio.sleep(soak.random.uniform(0, 0.2))
