"""What one client may do. Pure; who grants it, and by which token, is known elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights of one client. Patterns are in shell style: ``room.*``.

    Attributes:
        subject: whose they are, for logs and revocation; "" for an unknown client.
        subscribe: patterns of the topics that may be read.
        publish: patterns of the topics that may be published to.
        jobs: patterns of the jobs that may be started and read.
        operate: whether the server itself may be looked into and operated.
        expires: when they end, in seconds since 1970; infinity for never.
        token_id: which token gave them (a JWT's ``jti``), for revocation; "" where it has none.
        issued: when the token was issued, in seconds since 1970; minus infinity where it doesn't
            say. A subject's revocation holds for the tokens that were issued before it.
    """

    subject: str = ""
    subscribe: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    operate: bool = False
    expires: float = inf
    token_id: str = ""
    issued: float = -inf

    def may_subscribe(self, topic: str) -> bool:
        """Whether the topic of this name may be read."""
        return _matches(topic, self.subscribe)

    def may_publish(self, topic: str) -> bool:
        """Whether the topic of this name may be published to."""
        return _matches(topic, self.publish)

    def may_run(self, job: str) -> bool:
        """Whether the job of this name may be started and read."""
        return _matches(job, self.jobs)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(_match(name, pattern) for pattern in patterns)


def _match(name: str, pattern: str) -> bool:
    # Most patterns are one user's own name or prefix: a compiled expression for each of them would
    # push those that are shared out of fnmatch's cache.
    stem = pattern[:-1] if pattern.endswith("*") else pattern
    if not _MAGIC.isdisjoint(stem):
        return fnmatchcase(name, pattern)
    return name == stem if stem is pattern else name.startswith(stem)


_MAGIC = frozenset("*?[")

UNRESTRICTED = Grant(subscribe=("*",), publish=("*",), jobs=("*",), operate=True)
"""What everybody may do on a server without ``auth``."""
