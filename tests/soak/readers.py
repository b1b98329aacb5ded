"""Readers that come and go: on every transport, fast and slow, leaving in every way there is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from penstock.wire import SSEDecoder

from ..e2e.clients import JSON_PROTOCOL, MSGPACK_PROTOCOL, LineDecoder, UnpackDecoder
from .connections import Address, Cut, Socket, open_http, open_websocket, reset
from .trail import Ledger, Order, Report, Trail

Message = dict[str, Any]

ORDERS: dict[str, Callable[[], Order]] = {
    "feed": lambda: Order(lambda data: (data[0], data[1])),
    "derived": lambda: Order(lambda data: (data[0], data[1])),
    "blocking": lambda: Order(lambda data: (data[0], data[1])),
    "numbers": lambda: Order(lambda data: ("", data)),
    "firehose": lambda: Order(lambda data: ("", data[0])),
    "keyed": lambda: Order(lambda data: (str(data[0]), data[1]), exact=False),
}
"""How the data of a topic goes on, where that is known."""

WITH_LEDGER = ("feed", "derived", "blocking", "numbers")
"""Topics that hold no data twice."""

TOPICS = ("feed", "derived", "numbers", "firehose", "crashing", "keyed", "wanted", "blocking")


@dataclass
class Soak:
    """What all clients of one soak share."""

    address: Address
    report: Report = field(default_factory=Report)
    ledgers: dict[str, Ledger] = field(default_factory=dict[str, Ledger])
    random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.ledgers = {topic: Ledger(topic, self.report) for topic in WITH_LEDGER}

    def trail(self, topic: str, who: str, *, conflated: bool = False) -> Trail:
        """A way through a topic from its latest event on."""
        order = ORDERS[topic]() if topic in ORDERS else None
        ledger = self.ledgers.get(topic)
        return Trail(topic, who, self.report, ledger, conflated=conflated, order=order)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a reader behaves in one session.

    Attributes:
        seconds: how long it stays.
        pause: seconds between one piece and the next.
        receive_buffer: bytes that its socket takes without it; None for many.
        resets: whether it leaves with a reset.
    """

    seconds: float
    pause: float = 0.0
    receive_buffer: int | None = None
    resets: bool = False

    @staticmethod
    def any(random: random.Random) -> Manner:
        """Mostly fast; some are slow, some read nothing at all."""
        seconds, resets = random.uniform(0.2, 6.0), random.random() < 0.3
        match random.choice(["fast", "fast", "fast", "slow", "stalled"]):
            case "slow":
                return Manner(seconds, random.uniform(0.05, 0.5), 4096, resets)
            case "stalled":
                return Manner(seconds, 60.0, 4096, resets)
            case _:
                return Manner(seconds, resets=resets)


# Over HTTP


class Decoder(Protocol):
    """What makes messages of the pieces of a response."""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that a piece completes."""
        ...


class SseMessages:
    """An event stream as the messages that the other formats have."""

    def __init__(self) -> None:
        self._decoder = SSEDecoder()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that a piece completes."""
        messages: list[Message] = []
        for event in self._decoder.feed(data):
            content = json.loads(event.data)
            if event.event in ("gap", "end"):
                messages.append(content)
            else:
                messages.append({"type": "event", "id": event.id, "data": content})
        return messages


HTTP: dict[str, tuple[str, Callable[[], Decoder]]] = {
    "sse": ("text/event-stream", SseMessages),
    "ndjson": ("application/x-ndjson", LineDecoder),
    "msgpack": ("application/msgpack", UnpackDecoder),
}


async def read_http(soak: Soak, trail: Trail, transport: str, manner: Manner) -> None:
    """Read a topic from where the trail ends. Raises `Cut` where the server ends it."""
    accept, make_decoder = HTTP[transport]
    decoder = make_decoder()
    async with open_http(soak.address, manner.receive_buffer) as http:
        with trio.move_on_after(manner.seconds):
            target = f"/topics/{trail.topic}?after={trail.after}"
            response = await http.ask("GET", target, {"accept": accept})
            if response.status_code != 200:
                soak.report.violate(trail.topic, f"{transport}: status {response.status_code}")
                return
            while (piece := await http.piece()) is not None:
                for message in decoder.feed(piece):
                    take(trail, message)
                await trio.sleep(manner.pause)
        if manner.resets:
            reset(http.stream)


async def page(soak: Soak, trail: Trail) -> None:
    """Long polls, one after another on one connection."""
    async with open_http(soak.address) as http:
        for _ in range(soak.random.randint(1, 8)):
            target = f"/topics/{trail.topic}?format=json&wait=1&limit=200&after={trail.after}"
            response = await http.ask("GET", target)
            answer = json.loads(await http.body())
            if response.status_code != 200:
                trail.violate(f"status {response.status_code}: {answer}")
                return
            if "gap" in answer:
                trail.gap(answer["gap"])
            for event in answer["events"]:
                trail.event(event["id"], event["data"])
            trail.begin(answer["next"])


def take(trail: Trail, message: Message) -> None:
    """What one message says of the topic."""
    match message["type"]:
        case "subscribed":
            trail.begin(message["id"])
        case "event":
            trail.event(message["id"], message["data"])
        case "gap":
            trail.gap(message)
        case "keepalive" | "reconnect":
            pass
        case other:
            trail.violate(f"an unexpected {other}: {message}")


# Over a WebSocket


async def read_websocket(soak: Soak, trails: dict[str, Trail], manner: Manner) -> None:
    """Read several topics, leaving some and coming back. Raises `Cut` where the server ends it."""
    protocol = soak.random.choice([JSON_PROTOCOL, MSGPACK_PROTOCOL])
    async with open_websocket(
        soak.address, protocol, receive_buffer=manner.receive_buffer
    ) as websocket:
        with trio.move_on_after(manner.seconds):
            await websocket.send(*(_subscribe(trail) for trail in trails.values()))
            while True:
                for message in await websocket.receive():
                    if "topic" in message:
                        take(trails[message["topic"]], message)
                await trio.sleep(manner.pause)
                if soak.random.random() < 0.02:
                    await _leave_and_return(soak, websocket, trails)
        if manner.resets:
            reset(websocket.stream)


async def _leave_and_return(soak: Soak, websocket: Socket, trails: dict[str, Trail]) -> None:
    """Unsubscribe, take what was on its way, and go on from where that ends."""
    trail = soak.random.choice(list(trails.values()))
    await websocket.send({"type": "unsubscribe", "topic": trail.topic})
    while True:
        left = False
        for message in await websocket.receive():
            if message["type"] == "unsubscribed":
                left = True
            elif "topic" in message:
                take(trails[message["topic"]], message)
        if left:
            break
    await websocket.send(_subscribe(trail))


def _subscribe(trail: Trail) -> Message:
    subscribe = {"type": "subscribe", "topic": trail.topic, "after": trail.after}
    return subscribe | ({"slow": "conflate"} if trail.conflated else {})


# One reader's life


async def keep_reading(soak: Soak, name: str) -> None:
    """Read, leave, and read on, each session on any transport; until cancelled."""
    random = soak.random
    topics = random.sample(TOPICS, 3)
    trails = {topic: soak.trail(topic, name) for topic in topics}
    if "keyed" in trails and random.random() < 0.7:
        trails["keyed"] = soak.trail("keyed", name, conflated=True)
    while True:
        soak.report.sessions += 1
        with suppress(Cut, OSError):
            await _one_session(soak, trails)
        await trio.sleep(random.uniform(0, 0.3))


async def _one_session(soak: Soak, trails: dict[str, Trail]) -> None:
    random = soak.random
    manner = Manner.any(random)
    transport = random.choice(["sse", "ndjson", "msgpack", "json", "websocket", "websocket"])
    if transport == "websocket":
        await read_websocket(soak, trails, manner)
        return
    trail = random.choice([trail for trail in trails.values() if not trail.conflated])
    if transport == "json":
        await page(soak, trail)
    else:
        await read_http(soak, trail, transport, manner)
