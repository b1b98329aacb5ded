"""Taking publications: validated, encoded, and stored all or not at all. The same for HTTP and
WebSocket: `publish`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from penstock.wire import Unencodable, cursor_text, encode_json, encode_msgpack

from .aside import AT_ONCE_BYTES
from .encoding import Invalid, check_event_name, validate
from .grants import Grant
from .hub import Hub
from .idempotency import Stored, check_key, fingerprint_of
from .keys import BadKey
from .log import EncodedEvent
from .pressure import NoRoom as NotInTime
from .pressure import Pressure, TooMany
from .rate import TokenBucket, client_network
from .refusals import (
    BadIdempotencyKey,
    GoingAway,
    KeyReused,
    NoRoom,
    RateLimited,
    Refusal,
    Refused,
    TooLarge,
)
from .topics import Topic

__all__ = [
    "BadIdempotencyKey",
    "GoingAway",
    "KeyReused",
    "NoRoom",
    "Publication",
    "Publisher",
    "RateLimited",
    "Refusal",
    "Refused",
    "TooLarge",
    "prepare",
    "publish",
    "publisher_at",
    "publisher_on_connection",
    "require_rate",
]

_RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes.

    Attributes:
        scope: whose idempotency keys are theirs; "" for everybody on a server without ``auth``.
        bucket: gives what their publications are counted in, to be used at once.
    """

    scope: str
    bucket: Callable[[], TokenBucket]


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication that is stored.

    Attributes:
        first: the cursor of its first event.
        last: the cursor of its last.
        count: how many events it has.
        replayed: it was stored before, under the same idempotency key.
    """

    first: str
    last: str
    count: int
    replayed: bool


def publisher_at(hub: Hub, address: str, grant: Grant) -> Publisher:
    """Who publishes over HTTP: the grant's subject, else whoever is at the address."""
    name = f"subject {grant.subject}" if grant.subject else client_network(address)
    return Publisher(grant.subject, partial(hub.rates.of, name))


def publisher_on_connection(hub: Hub, grant: Grant) -> Publisher:
    """Who publishes over a WebSocket: a rate for each connection. Made once for each."""
    bucket = hub.rates.new()
    return Publisher(grant.subject, lambda: bucket)


async def publish(
    hub: Hub,
    topic: Topic[Any],
    values: Sequence[object],
    event: str | None,
    key: str | None,
    publisher: Publisher,
    *,
    size: int = 0,
) -> Publication:
    """Store client values as they are, all or none, once each of them is of the topic's type.

    Args:
        hub: the server.
        topic: a topic that is publishable, to which the caller has checked the client's right.
        values: plain values, decoded; at least one.
        event: the name of all of them.
        key: the client's idempotency key. A publication that was stored under it is not stored
            again; it gives the `Publication` of then, `replayed`.
        publisher: whose rate and whose keys count; an attempt takes a token for each value.
        size: the bytes that the values came in; much work is done in a thread, aside.

    Raises a `Refusal`, counted in ``hub.counters.refused``, and then nothing is stored; and what
    the topic's own type raises where it fails. Cancelled, all is stored or nothing is, and what is
    stored is remembered under its key.
    """
    try:
        _take_tokens(publisher, len(values))
        if key is not None:
            check_key(key)
        topic = topic.live
        with topic.held():
            events = await _prepare(topic, values, event, size)
            return await _store_once(hub, topic, events, key, publisher)
    except Refusal as refusal:
        hub.counters.refused[refusal.reason] += 1
        raise


def _take_tokens(publisher: Publisher, count: int) -> None:
    """Take a token for each of `count` values. Raises `RateLimited`, or `TooLarge`."""
    bucket = publisher.bucket()
    if count > bucket.burst:
        raise TooLarge(
            f"a publication has at most {bucket.burst} values (publish_burst), not {count};"
            " send them in several"
        )
    wait = bucket.take(count)
    if wait:
        raise _too_fast(bucket, wait)


def require_rate(hub: Hub, publisher: Publisher) -> None:
    """Raise `RateLimited`, counted, where not even one value would be taken; takes no token.

    For a look before there is any work on what was sent; `publish` takes the tokens.
    """
    bucket = publisher.bucket()
    wait = bucket.wait_for(1)
    if wait:
        hub.counters.refused[RateLimited.reason] += 1
        raise _too_fast(bucket, wait)


def _too_fast(bucket: TokenBucket, wait: float) -> RateLimited:
    return RateLimited(
        f"over the rate of {bucket.rate:g} publications a second, {bucket.burst} of them at once",
        wait,
    )


# Preparing


async def _prepare(
    topic: Topic[Any], values: Sequence[object], event: str | None, size: int
) -> list[EncodedEvent]:
    if size <= AT_ONCE_BYTES:
        return prepare(topic, values, event)
    work = partial(prepare, topic, values, event)
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


def prepare(topic: Topic[Any], values: Sequence[object], event: str | None) -> list[EncodedEvent]:
    """Client values as events of the topic; raises `Refused` for the first that can't be one."""
    if event is not None:
        try:
            check_event_name(event)
        except Unencodable as fault:
            raise Refused(str(fault)) from fault
    return [_event(topic, value, index, event) for index, value in enumerate(values)]


def _event(topic: Topic[Any], value: object, index: int, name: str | None) -> EncodedEvent:
    try:
        typed = validate(value, topic.accepts, topic.encoding)
        return EncodedEvent(encode_json(value), encode_msgpack(value), name, topic.key_of(typed))
    except Invalid as fault:
        raise Refused(fault.problem, index, fault.path) from fault
    except (Unencodable, BadKey) as fault:
        raise Refused(str(fault), index) from fault


# Storing


async def _store_once(
    hub: Hub,
    topic: Topic[Any],
    events: list[EncodedEvent],
    key: str | None,
    publisher: Publisher,
) -> Publication:
    store = partial(_store, hub, topic, events)
    epoch = topic.log.epoch
    if key is None:
        stored, replayed = await store(), False
    else:
        stored, replayed = await hub.idempotency.once(
            epoch, publisher.scope, key, fingerprint_of(events), store
        )
    first, last = (cursor_text(epoch, offset) for offset in (stored.first, stored.last))
    return Publication(first, last, len(events), replayed)


async def _store(hub: Hub, topic: Topic[Any], events: list[EncodedEvent]) -> Stored:
    """Append, once there is room. No checkpoint after it: what is stored is remembered."""
    if hub.draining:
        raise _going_away()
    if topic.pressure is None:
        last = topic.log.append(events)
    else:
        last = await _append_in_room(hub, topic.name, topic.pressure, events)
    hub.published += len(events)
    return Stored(last - len(events) + 1, last)


async def _append_in_room(
    hub: Hub, name: str, pressure: Pressure, events: list[EncodedEvent]
) -> int:
    try:
        with hub.until_drain():
            return await pressure.append(events, hub.limits.publish_wait)
    except NotInTime as fault:
        problem = f"topic {name} waits for its slowest reader; publish again in a moment"
        raise NoRoom(problem, _RETRY_AFTER) from fault
    except TooMany as fault:
        raise TooLarge(
            f"topic {name} waits for its readers and keeps fewer than {len(events)} events of this"
            " size (retain, retain_bytes); send them in several"
        ) from fault
    # The readers are told farewell once they have read all, so nothing may come after it.
    raise _going_away()


def _going_away() -> GoingAway:
    return GoingAway("the server is going away; publish again after reconnecting", _RETRY_AFTER)
