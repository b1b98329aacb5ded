"""The producer ``websocket``: topics of a penstock server over one WebSocket that comes back.

What to do is decided in `Session`; here connections are opened, read and watched.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import trio

from penstock import _options as options
from penstock._backoff import Backoff
from penstock._spec import Node, PushSource, Sender, caller
from penstock.stream import Stream
from penstock.wire import Hello, Ping, SlowPolicy, Undecodable

from ..losses import ConnectionLost, Loss, Refused, log_loss
from ..options import require_recovery
from ..received import Event, Gap
from ..waiting import CONNECT_SECONDS
from .connection import Connection, connected
from .frames import CODECS, ServerSays, messages_in
from .options import starts_of, target_of
from .session import Session
from .silence import Silence
from .stream import Target

MAX_MESSAGE_BYTES = 16 << 20

_POLICIES = ("skip", "conflate", "block", "disconnect")
_LONGEST_LOOK = 3600.0
_PROVEN = 60.0  # seconds after which a connection was a good one, though nothing happened


def websocket(
    url: str,
    topics: str | Iterable[str] | Mapping[str, str],
    *,
    after: str | Mapping[str, str] = "latest",
    slow: SlowPolicy | None = None,
    reconnect: Backoff = Backoff(),  # noqa: B008 - frozen
    headers: Mapping[str, str] | None = None,
    codec: Literal["msgpack", "json"] = "msgpack",
    ssl_context: ssl.SSLContext | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    conflated: bool = False,
    on_loss: Callable[[Loss], object] | None = None,
) -> Stream[Event | Gap]:
    """The events of one or more topics of a penstock server, over one WebSocket.

    Each topic's events come in order and once, through lost connections too; where some can't be
    given, a `Gap` says so in their place. Topics come as the server sends them. Ends when the logs
    of all topics are finished.

    Args:
        url: of the server's WebSocket, ``ws://host:port/ws`` or ``wss://…``; ``http(s)://host`` is
            taken as the same server's.
        topics: a name, several, or a mapping from name to where its reading starts.
        after: where to start: ``earliest``, ``latest``, or a cursor (an event's `id`), for all
            topics or by a mapping from name to start. A lost connection is taken up from the last
            event, whatever this is.
        slow: what the server does where this reader falls behind; the topic's own, or a milder one.
        reconnect: the waits after lost connections, with jitter. The server may ask for longer
            ones (``Retry-After``, the ``reconnect`` message); 1 hour is the most.
        headers: sent with every handshake, such as ``Authorization``.
        codec: what the frames are in.
        ssl_context: for ``wss:``, in place of the system's certificates.
        max_message_bytes: the largest frame that is taken; memory is bounded by about three.
        conflated: a topic conflates by itself, so the events between two newest ones are not
            missed. Goes without saying with ``slow="conflate"``.
        on_loss: told of each lost connection, and of each topic that is refused for the moment.
            Without it, the first one of several in a row is logged as a warning of
            ``penstock.net``, the others at level DEBUG.

    A reader that doesn't keep up is waited for: the connection is not read from any more, and the
    server's `slow` decides. One that takes nothing for longer than the server's heartbeats last is
    disconnected by it, and goes on from where it was.

    Raises `PipelineError` for wrong options, and while it runs `StageError` from `Refused` for what
    no further attempt can mend: status 4xx but 408, 425 and 429, a topic that is unknown or
    forbidden, a bad cursor, a close code that forbids to come back (1003, 1007, 1008, 1009, 4401),
    a certificate that isn't trusted. Cancelled, it says goodbye and is gone within a second.
    """
    options.one_of("websocket", "codec", codec, tuple(CODECS))
    if slow is not None:
        options.one_of("websocket", "slow", slow, _POLICIES)
    options.whole_number("websocket", "max_message_bytes", max_message_bytes, at_least=1024)
    require_recovery("websocket", reconnect, on_loss)
    reading = _Reading(
        target_of(url, headers, CODECS[codec], ssl_context, max_message_bytes),
        starts_of(topics, after),
        slow,
        reconnect,
        conflated,
        on_loss or partial(log_loss, url),
    )
    return Stream(
        Node("websocket", PushSource(partial(_read, reading), by_item=False), where=caller())
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    target: Target
    starts: Mapping[str, str]
    slow: SlowPolicy | None
    backoff: Backoff
    conflated: bool
    on_loss: Callable[[Loss], object]


async def _read(reading: _Reading, send: Sender[Any]) -> None:
    session = Session(reading.starts, reading.slow, reading.backoff, conflated=reading.conflated)
    while not session.done:
        began = trio.current_time()
        try:
            async with connected(reading.target) as connection:
                await _Reader(reading, session, connection, send).run()
                continue
        except ConnectionLost as lost:
            if trio.current_time() - began > _PROVEN:
                session.is_alive()
            loss = session.lost(lost, _chance())
        reading.on_loss(loss)
        await trio.sleep(loss.delay)


class _Reader:
    """Reads one connection; what it can't cope with ends the connection, not the session."""

    def __init__(
        self, reading: _Reading, session: Session, connection: Connection, send: Sender[Any]
    ) -> None:
        self._codec = reading.target.codec
        self._on_loss = reading.on_loss
        self._session = session
        self._connection = connection
        self._send = send
        self._changed = trio.Event()

    async def run(self) -> None:
        """Read until all topics have ended. Raises `ConnectionLost` and `Refused`."""
        hello, rest = await self._greeting()
        self._session.begin(hello)
        self._raise_fault()
        await self._subscribe()
        self._connection.run_beside(self._watch, Silence(hello.heartbeat))
        await self._take(rest)
        while not self._session.done:
            await self._take(await self._messages())

    async def _greeting(self) -> tuple[Hello, list[ServerSays]]:
        with trio.move_on_after(CONNECT_SECONDS):
            hello, *rest = await self._messages() or (None,)
            if not isinstance(hello, Hello):
                raise ConnectionLost("the server did not say hello first")
            return hello, rest
        raise ConnectionLost(f"the server did not say hello within {CONNECT_SECONDS:g} s")

    async def _messages(self) -> list[ServerSays]:
        frame = await self._connection.receive()
        try:
            return messages_in(frame, self._codec)
        except Undecodable as fault:
            raise ConnectionLost(f"the server sent a frame that can't be read: {fault}") from fault

    async def _take(self, messages: list[ServerSays]) -> None:
        items = self._session.take(messages, trio.current_time(), _chance())
        if items:
            # Not cancelled by a connection that fails meanwhile: what is taken is passed on whole.
            await self._send.chunk(items)
        self._raise_fault()
        for refusal in self._session.refusals():
            self._on_loss(refusal)
            self._changed.set()

    def _raise_fault(self) -> None:
        if self._session.fault is not None:
            raise self._session.fault

    async def _subscribe(self) -> None:
        due = self._session.subscriptions(trio.current_time())
        if due:
            await self._connection.send(due)

    # Beside the reading

    async def _watch(self, silence: Silence) -> None:
        """Ask a server that is silent, drop one that is dead, ask again for topics in time."""
        asked: float | None = None  # in which wait for bytes
        with suppress(ConnectionLost, Refused):  # reading is told the same
            while True:
                since = self._connection.stream.waiting_since
                now = trio.current_time()
                verdict, more = silence.verdict(0.0 if since is None else now - since)
                if verdict == "dead":
                    await self._connection.drop(
                        f"the server is silent for {now - (since or now):.1f} s"
                    )
                    return
                if verdict == "ask" and asked != since:
                    asked = since
                    await self._connection.send([Ping()])
                await self._subscribe()
                await self._rest(min(more, self._session.next_due() - trio.current_time()))

    async def _rest(self, seconds: float) -> None:
        with trio.move_on_after(min(max(seconds, 0.0), _LONGEST_LOOK)):
            await self._changed.wait()
        self._changed = trio.Event()


def _chance() -> float:
    return random.random()  # noqa: S311 - jitter
