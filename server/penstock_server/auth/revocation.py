"""What was revoked before its time: a bounded table, and who is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from penstock import PenstockError

from ..grants import Grant


@dataclass(frozen=True, slots=True)
class _Entry:
    at: float
    until: float


class Revocations:
    """Tokens and subjects that are refused although they were granted rights.

    An entry is kept until the tokens that it concerns have expired by themselves. The table is this
    process's own: what must survive a restart belongs into ``check=``.

    Args:
        limit: the most entries.
        clock: seconds since 1970.
    """

    def __init__(self, limit: int = 100_000, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._subjects: dict[str, _Entry] = {}
        self._tokens: dict[str, _Entry] = {}
        self._watchers: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._subjects) + len(self._tokens)

    def revoke(self, *, subject: str = "", token_id: str = "", until: float = inf) -> None:
        """Refuse one token, or a subject's tokens that have been issued until now, from now on.

        A subject's tokens that don't say when they were issued are all refused. `until` is when the
        last of the tokens concerned expires, in seconds since 1970. Raises `PenstockError` where
        neither or both are given, and where the table is full of entries that are still needed.
        """
        if bool(subject) == bool(token_id):
            raise PenstockError("revoke: give either a subject or a token_id")
        if len(self) >= self._limit:
            self._drop_expired()
        if len(self) >= self._limit:
            raise PenstockError(
                f"revoke: all {self._limit} entries are still needed; give until=, so that they"
                " can be dropped, or ask a store of your own in check="
            )
        table, name = (self._subjects, subject) if subject else (self._tokens, token_id)
        table[name] = _Entry(self._clock(), until)
        for watcher in list(self._watchers):
            watcher()

    def refuses(self, grant: Grant) -> bool:
        """Whether the token that gave these rights has been revoked."""
        token = self._tokens.get(grant.token_id) if grant.token_id else None
        if token is not None and self._clock() < token.until:
            return True
        entry = self._subjects.get(grant.subject) if grant.subject else None
        return entry is not None and grant.issued <= entry.at and self._clock() < entry.until

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Have `watcher` called after each revocation; gives the function that ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _drop_expired(self) -> None:
        now = self._clock()
        for table in (self._subjects, self._tokens):
            for name in [name for name, entry in table.items() if entry.until <= now]:
                del table[name]
