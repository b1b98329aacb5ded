"""What a WebSocket client asks for, message by message, and the answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.wire import (
    BadCursor,
    BadMessage,
    Cursor,
    ErrorCode,
    ErrorMessage,
    Ping,
    Pong,
    Publish,
    Published,
    Ref,
    ServerMessage,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    parse_client_message,
)

from ..connections import Connection
from ..fanout import Framing, Reader
from ..hub import Hub
from ..publishing import Publisher, Refusal, Refused, publish, publisher_on_connection
from ..templates import TooManyTopics
from ..topics import Topic
from .asking import BadPolicy, policy_asked

logger = logging.getLogger("penstock.server")


class Requests:
    """Does what one connection's client asks for.

    Args:
        hub: the server.
        connection: the client's; it has the rights that count.
        framing: how events are said to it.
        say: sends an answer.
        wake_for: gives what wakes the connection for a topic's reader.
    """

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        framing: Framing,
        say: Callable[[ServerMessage], None],
        wake_for: Callable[[str], Callable[[], None]],
    ) -> None:
        self._hub = hub
        self._connection = connection
        self._framing = framing
        self._say = say
        self._wake_for = wake_for
        self._publisher: Publisher = publisher_on_connection(hub, connection.grant)

    async def take(self, value: object, size: int) -> None:
        """Do what a message of `size` bytes asks for.

        A publication may have to wait for room, or for its rate; cancelled, it is stored or not.
        """
        try:
            message = parse_client_message(value)
        except BadMessage as fault:
            self._refuse(ErrorCode.BAD_MESSAGE, fault.message, fault.ref)
            return
        match message:
            case Subscribe():
                self._subscribe(message)
            case Unsubscribe():
                self._unsubscribe(message)
            case Publish():
                await self._publish(message, size)
            case Ping():
                self._say(Pong(message.ref))

    def _refuse(
        self, code: ErrorCode, problem: str, ref: Ref | None, topic: str | None = None
    ) -> None:
        self._say(ErrorMessage(code, problem, ref, topic))

    def _topic(self, name: str, ref: Ref | None, *, allowed: bool) -> Topic[Any] | None:
        """The topic; None where there is none that the client may use so, which it is told."""
        refuse = partial(self._refuse, ref=ref, topic=name[:128])
        if not allowed:
            refuse(ErrorCode.FORBIDDEN, "this client has no right to that")
            return None
        try:
            topic = self._hub.find(name)
        except TooManyTopics as fault:
            refuse(ErrorCode.LIMIT, str(fault))
            return None
        if topic is None:
            refuse(ErrorCode.UNKNOWN_TOPIC, f"there is no topic {name[:128]!r}")
        return topic

    # Subscriptions

    def _subscribe(self, message: Subscribe) -> None:
        allowed = self._connection.grant.may_subscribe(message.topic)
        topic = self._topic(message.topic, message.ref, allowed=allowed)
        if topic is None:
            return
        readers, most = self._connection.readers, self._hub.limits.max_subscriptions
        refuse = partial(self._refuse, ref=message.ref, topic=topic.name)
        if topic.name in readers:
            problem = "this connection reads the topic already; unsubscribe first"
            refuse(ErrorCode.ALREADY_SUBSCRIBED, problem)
        elif len(readers) >= most:
            refuse(ErrorCode.LIMIT, f"a connection reads at most {most} topics")
        else:
            try:
                reader = self._start_reading(topic, message)
            except BadCursor as fault:
                refuse(ErrorCode.BAD_CURSOR, str(fault))
            except BadPolicy as fault:
                refuse(ErrorCode.INVALID, str(fault))
            else:
                self._say(Subscribed(topic.name, reader.cursor, message.ref))

    def _start_reading(self, topic: Topic[Any], message: Subscribe) -> Reader:
        asked: Any = message.after
        if asked not in ("earliest", "latest"):
            asked = Cursor.parse(asked)
        slow = policy_asked(topic, message.slow)
        start = self._hub.start_of(topic, asked)
        wake = self._wake_for(topic.name)
        reader = self._hub.connections.join(
            self._connection, topic, self._framing, start, slow, wake
        )
        wake()  # it may have something to give right away
        return reader

    def _unsubscribe(self, message: Unsubscribe) -> None:
        leave = self._connection.leave.pop(message.topic, None)
        if leave is not None:
            leave()
        elif self._topic(message.topic, message.ref, allowed=True) is None:
            return
        self._say(Unsubscribed(message.topic, message.ref))

    # Publications

    async def _publish(self, message: Publish, size: int) -> None:
        allowed = self._connection.grant.may_publish(message.topic)
        topic = self._topic(message.topic, message.ref, allowed=allowed)
        if topic is None:
            return
        refuse = partial(self._refuse, ref=message.ref, topic=topic.name)
        if not topic.publishable:
            refuse(ErrorCode.NOT_PUBLISHABLE, "the topic takes no publications")
            return
        values, key = [message.data], message.key
        try:
            stored = await publish(
                self._hub, topic, values, message.event, key, self._publisher, size=size
            )
        except Refused as refusal:
            refuse(refusal.code, f"{refusal.problem} (at {refusal.path})")
        except Refusal as refusal:
            refuse(refusal.code, refusal.problem)
        else:
            self._say(Published(topic.name, stored.last, stored.count, message.ref))
