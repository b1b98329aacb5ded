"""Idempotency keys: a publication that is sent again, because its answer was lost, is stored once.

What is remembered is the answer, for a window of time, and only where the publication was stored.
A repetition that comes while the first one is still under way waits for its outcome and shares it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

import msgspec
import trio

from .log import EncodedEvent
from .refusals import BadIdempotencyKey, KeyReused, Refusal

MAX_KEY_BYTES = 128


# There may be a great many of these two: the garbage collector need not look at them.


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What was stored: the offsets of its first event and of its last."""

    first: int
    last: int


class _Remembered(msgspec.Struct, frozen=True, gc=False):
    fingerprint: bytes
    stored: Stored
    until: float


@dataclass(eq=False, slots=True)
class _UnderWay:
    fingerprint: bytes
    over: trio.Event = field(default_factory=trio.Event)
    outcome: Stored | Refusal | None = None


_Table: TypeAlias = "OrderedDict[bytes, _Remembered]"
"""The keys of one log, oldest first; the window is the same for all, so the oldest ends first."""


class IdempotencyKeys:
    """The idempotency keys of all logs of a server.

    Keys take memory, and a client can send ever more of them, so only so many are remembered. Past
    that, the log that is published to forgets its own oldest key: a flood of keys for one topic
    costs the others none.

    Args:
        window: seconds for which a key is remembered.
        most: the most keys, of all logs together; at least 1.
        clock: seconds from any fixed point, not going back.
    """

    def __init__(
        self, window: float, most: int, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._window = window
        self._most = most
        self._clock = clock
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._under_way: dict[bytes, _UnderWay] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    async def once(
        self,
        log: str,
        scope: str,
        key: str,
        fingerprint: bytes,
        store: Callable[[], Awaitable[Stored]],
    ) -> tuple[Stored, bool]:
        """Call `store`, unless the same was stored before; gives what it gave, and which it was.

        Args:
            log: the epoch of the log that it is stored in.
            scope: whose key it is; the same key of somebody else is another.
            key: the client's, which `check_key` has passed.
            fingerprint: of the publication; the same key with another raises `KeyReused`.
            store: stores all, or raises and has stored nothing. It must not be cancelled between
                storing and returning.

        Raises what `store` raises; a repetition that came meanwhile shares a `Refusal`. Cancelled
        within `store`, nothing is remembered, and a repetition that waits tries for itself.
        """
        name = sha256(f"{log} {len(scope)} {scope}{key}".encode()).digest()
        while True:
            stored = self._recall(log, name, fingerprint)
            if stored is not None:
                return stored, True
            first = self._under_way.get(name)
            if first is None:
                return await self._first(log, name, fingerprint, store), False
            _require_same(first.fingerprint, fingerprint)
            await first.over.wait()
            if isinstance(first.outcome, Stored):
                return first.outcome, True
            if first.outcome is not None:
                raise copy.copy(first.outcome)

    async def _first(
        self, log: str, name: bytes, fingerprint: bytes, store: Callable[[], Awaitable[Stored]]
    ) -> Stored:
        under_way = self._under_way[name] = _UnderWay(fingerprint)
        try:
            stored = await store()
            under_way.outcome = stored
            self._remember(log, name, fingerprint, stored)
        except Refusal as refusal:
            under_way.outcome = refusal
            raise
        finally:
            del self._under_way[name]
            under_way.over.set()
        return stored

    def _recall(self, log: str, name: bytes, fingerprint: bytes) -> Stored | None:
        table = self._tables.get(log)
        known = None if table is None else table.get(name)
        if known is None or known.until <= self._clock():
            return None
        _require_same(known.fingerprint, fingerprint)
        return known.stored

    # Remembering, within bounds

    def _remember(self, log: str, name: bytes, fingerprint: bytes, stored: Stored) -> None:
        now = self._clock()
        self._look_after_another(now)
        table = self._tables.setdefault(log, OrderedDict())
        self._expire(table, now)
        if self._count >= self._most:
            self._forget_oldest(table if table else next(filter(None, self._tables.values())))
        table[name] = _Remembered(fingerprint, stored, now + self._window)
        self._count += 1

    def _look_after_another(self, now: float) -> None:
        """Expire the keys of one more log, each in its turn: some aren't published to any more."""
        if not self._tables:
            return
        log, table = self._tables.popitem(last=False)
        self._expire(table, now)
        if table:
            self._tables[log] = table

    def _expire(self, table: _Table, now: float) -> None:
        while table and next(iter(table.values())).until <= now:
            self._forget_oldest(table)

    def _forget_oldest(self, table: _Table) -> None:
        table.popitem(last=False)
        self._count -= 1


def fingerprint_of(events: Sequence[EncodedEvent]) -> bytes:
    """What tells one publication from another: its values and their name, in whatever codec."""
    name = (events[0].name or "").encode() if events else b""
    digest = sha256(b"%d %b" % (len(name), name))
    # MessagePack says where each value ends, so no other values give the same bytes.
    digest.update(b"".join(event.packed for event in events))
    return digest.digest()


def check_key(key: str) -> None:
    """Raise `BadIdempotencyKey` where the client's key can't be one."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as fault:
        raise BadIdempotencyKey(
            f"an idempotency key is text that UTF-8 can say: {fault.reason}"
        ) from fault
    if not 1 <= size <= MAX_KEY_BYTES:
        raise BadIdempotencyKey(f"an idempotency key has 1 to {MAX_KEY_BYTES} bytes, not {size}")


def _require_same(known: bytes, fingerprint: bytes) -> None:
    if known != fingerprint:
        raise KeyReused("this idempotency key was used for another publication; draw a new one")
