"""What a WebSocket reader does about each message and each loss: decisions only, no I/O.

A session lives through many connections. It knows where each topic is, asks for it from there on
every new connection, and passes on each topic's events in order and once, or a `Gap`:

- an event at or before the position was seen already, and is dropped;
- a new epoch, or a hole where no conflating was agreed, without a `gap` of the server's becomes a
  `Gap` here, so that nothing is ever skipped in silence;
- an error that more trying may mend (``limit``, ``unavailable``, ``rate_limited``) is asked for
  again after a wait of that topic's own, while the others are read on; any other one is final.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from penstock._backoff import Backoff
from penstock.wire import (
    BadCursor,
    Cursor,
    End,
    Gap,
    Hello,
    Reconnect,
    SlowPolicy,
    Subscribe,
    Subscribed,
    Unsubscribed,
    cursor_text,
)

from ..failures import TEMPORARY_CODES, with_code
from ..losses import ConnectionLost, Loss, Refused
from ..received import Event
from ..waiting import wait_for
from .frames import ErrorSaid, ServerSays

_MAX_DIGITS = 12  # of an offset in base 36 that is surely below the largest one


class SubscriptionRefused(Refused):
    """The server refuses one topic for good.

    Attributes:
        topic: its name.
        code: why, of the protocol's error codes: ``unknown_topic``, ``forbidden``, ``bad_cursor``…
        problem: the same in words, with what the server says.
    """

    def __init__(self, topic: str, code: str, message: str) -> None:
        self.topic = topic
        self.code = code
        super().__init__(f"topic {topic}: {with_code(message, code)}")
        self.args = (topic, code, message)


class _State(Enum):
    DUE = auto()  # to be subscribed to
    ASKED = auto()
    READING = auto()
    ENDED = auto()


class _Topic:
    """One topic: where it is, and whether the connection reads it."""

    __slots__ = ("epoch", "failures", "name", "offset", "retry_at", "start", "state")

    def __init__(self, name: str, after: str) -> None:
        self.name = name
        self.start = after
        self.epoch = ""  # not known yet
        self.offset = 0
        self.state = _State.DUE
        self.retry_at = 0.0
        self.failures = 0
        if after not in ("earliest", "latest"):
            self.move(Cursor.parse(after))

    @property
    def is_placed(self) -> bool:
        """Whether its position is a cursor."""
        return bool(self.epoch)

    @property
    def after(self) -> str:
        """Where reading goes on: a cursor, or where it was to start."""
        return cursor_text(self.epoch, self.offset) if self.epoch else self.start

    def move(self, cursor: Cursor) -> None:
        self.epoch, self.offset = cursor.epoch, cursor.offset

    def gap_before(self, epoch: str, offset: int) -> Gap:
        """What tells that events before this one are missing, which the server didn't tell."""
        same = epoch == self.epoch
        return Gap(
            self.name,
            requested=self.after,
            resumed=cursor_text(epoch, offset - 1),
            missed=offset - self.offset - 1 if same else None,
            reason="expired" if same else "epoch",
        )


class Session:
    """The topics that are read, through all connections.

    Args:
        starts: from each topic's name to where to start: a cursor, ``earliest`` or ``latest``.
        slow: what the server is to do where this client falls behind; None is the topic's own.
        conflated: whether the server may leave out events of an epoch, as is agreed.
        backoff: the waits between attempts.

    Attributes:
        fault: why the connection can't go on, once it can't; what `take` gave before is sound.

    Raises `BadCursor` for a start that is none.
    """

    def __init__(
        self,
        starts: Mapping[str, str],
        slow: SlowPolicy | None,
        backoff: Backoff,
        *,
        conflated: bool = False,
    ) -> None:
        self.fault: ConnectionLost | Refused | None = None
        self._topics = {name: _Topic(name, after) for name, after in starts.items()}
        self._order = list(self._topics.values())
        self._slow: SlowPolicy | None = slow
        self._backoff = backoff
        self._failures = 0
        self._refusals: list[Loss] = []
        self._may_skip = conflated or slow == "conflate"

    @property
    def done(self) -> bool:
        """Whether all topics have ended."""
        return all(each.state is _State.ENDED for each in self._order)

    # Connections

    def begin(self, hello: Hello) -> None:
        """A connection is there. Sets `fault` where it allows fewer topics than are to be read."""
        self.fault = None
        for topic in self._order:
            if topic.state is not _State.ENDED:
                topic.state, topic.retry_at = _State.DUE, 0.0
        left, most = self._unfinished(), hello.limits.max_subscriptions
        if left > most:
            self.fault = Refused(
                f"the server lets a connection read {most} topics (max_subscriptions), not {left};"
                " read them by several websocket() producers, merged"
            )

    def _unfinished(self) -> int:
        return sum(each.state is not _State.ENDED for each in self._order)

    def subscriptions(self, now: float) -> list[Subscribe]:
        """What to ask the server for at this moment."""
        due = [
            (ref, topic)
            for ref, topic in enumerate(self._order)
            if topic.state is _State.DUE and topic.retry_at <= now
        ]
        for _, topic in due:
            topic.state = _State.ASKED
        return [Subscribe(topic.name, topic.after, self._slow, ref) for ref, topic in due]

    def next_due(self) -> float:
        """When `subscriptions` has something next, on the clock of its `now`; may be never."""
        due = (each.retry_at for each in self._order if each.state is _State.DUE)
        return min(due, default=math.inf)

    def lost(self, loss: ConnectionLost, chance: float) -> Loss:
        """Count a lost connection; says how long to wait. `chance` is from 0 to 1."""
        delay = wait_for(loss.retry_after, self._backoff, self._failures, chance)
        self._failures += 1
        known = [topic.after for topic in self._order if topic.is_placed]
        cursor = known[0] if len(self._order) == 1 and known else None
        return Loss(loss.problem, self._failures, delay, cursor)

    def is_alive(self) -> None:
        """The connection has proved to be a good one: the next loss is a first one."""
        self._failures = 0

    def refusals(self) -> list[Loss]:
        """The topics that are to be asked for again, each told once: why, and when."""
        told, self._refusals = self._refusals, []
        return told

    # Messages

    def take(self, messages: Sequence[ServerSays], now: float, chance: float) -> list[Event | Gap]:
        """What the messages mean to the reader, in order. May set `fault`, and stops there."""
        items: list[Event | Gap] = []
        topics = self._topics
        for message in messages:
            try:
                if type(message) is Event:
                    topic = topics.get(message.topic)
                    if topic is not None:  # else nobody asked for it
                        self._take_event(topic, message, items)
                elif type(message) is Gap:
                    self._take_gap(message, items)
                else:
                    self._take_other(message, now, chance)
            except ValueError as fault:
                self.fault = ConnectionLost(f"the server sent a bad cursor: {fault}")
            if self.fault is not None:
                break
        if items:
            self._failures = 0
        return items

    def _take_event(self, topic: _Topic, event: Event, items: list[Event | Gap]) -> None:
        # This runs for every event, so the usual case, the next one of the epoch, is all inline.
        epoch, _, digits = event.id.partition("-")
        if epoch == topic.epoch and len(digits) <= _MAX_DIGITS and digits.isalnum():
            offset = int(digits, 36)
        else:
            cursor = Cursor.parse(event.id)
            epoch, offset = cursor.epoch, cursor.offset
        if epoch != topic.epoch:
            if offset == 0:
                raise BadCursor("an event's offset is 1 or more")
            if topic.is_placed:
                items.append(topic.gap_before(epoch, offset))
            topic.epoch = epoch
        elif offset <= topic.offset:
            return
        elif offset > topic.offset + 1 and not self._may_skip:
            items.append(topic.gap_before(epoch, offset))
        topic.offset = offset
        items.append(event)

    def _take_gap(self, gap: Gap, items: list[Event | Gap]) -> None:
        topic = self._topics.get(gap.topic)
        if topic is None:
            return
        resumed = Cursor.parse(gap.resumed)
        if resumed.epoch == topic.epoch and resumed.offset < topic.offset:
            self.fault = ConnectionLost("the server sent a gap that goes back")
            return
        topic.move(resumed)
        items.append(gap)

    def _take_other(self, message: ServerSays, now: float, chance: float) -> None:
        if isinstance(message, ErrorSaid):
            self._take_error(message, now, chance)
            return
        if isinstance(message, Reconnect):
            self.fault = ConnectionLost("the server asks to reconnect", message.after)
            return
        if not isinstance(message, Subscribed | End | Unsubscribed):
            return
        topic = self._topics.get(message.topic)
        if topic is None:
            return
        if isinstance(message, Unsubscribed):
            self.fault = ConnectionLost(f"the server took topic {topic.name} away")
        elif isinstance(message, End):
            topic.state = _State.ENDED
            del self._topics[topic.name]  # whatever else is said of it is not for the reader
        else:
            topic.state, topic.failures = _State.READING, 0
            cursor = Cursor.parse(message.id)
            if not topic.is_placed:  # else where it was asked from, or a gap tells
                topic.move(cursor)

    def _take_error(self, error: ErrorSaid, now: float, chance: float) -> None:
        topic = self._meant(error)
        if topic is None:
            self.fault = Refused(f"the server refuses: {with_code(error.message, error.code)}")
        elif error.code not in TEMPORARY_CODES:
            self.fault = SubscriptionRefused(topic.name, error.code, error.message)
        else:
            delay = self._backoff.delay(topic.failures, chance)
            topic.failures += 1
            topic.state, topic.retry_at = _State.DUE, now + delay
            cursor = topic.after if topic.is_placed else None
            problem = f"topic {topic.name}: {with_code(error.message, error.code)}"
            self._refusals.append(Loss(problem, topic.failures, delay, cursor))

    def _meant(self, error: ErrorSaid) -> _Topic | None:
        if isinstance(error.ref, int) and 0 <= error.ref < len(self._order):
            return self._order[error.ref]
        return self._topics.get(error.topic or "")
