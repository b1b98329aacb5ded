"""`ApiKeys`: long random keys, each with its rights. For programs, and for few users."""

from __future__ import annotations

import hmac
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

from penstock import PenstockError

from ..grants import Grant
from .interface import security_schemes
from .policy import AccessPolicy, Check
from .refusals import Unauthorized
from .revocation import Revocations
from .rights import BadRights, parse_entry

_MIN_LENGTH = 16
_MAX_KEYS = 1_000
_HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")


class ApiKeys:
    """Lets in who shows one of the keys.

    Args:
        keys: rights by key: a `Grant`, or a map with the fields of one. A key is at least 16
            visible ASCII characters, best made with ``secrets.token_urlsafe(32)``, or the hash of
            such a one: ``"sha256:"`` and 64 hexadecimal digits.
        anonymous: the rights of who shows none; None turns them away.
        query_token: whether ``?token=`` counts as well as the header and the cookie.
        check: an async function that is asked with the grant at each connect.
        recheck: seconds after which it is asked again for running connections; None for never.
        clock: seconds since 1970.

    Only the hashes are kept. A key's `Grant.token_id`, where it is given none, is the first 12
    digits of its hash. Raises `PenstockError` for a key or rights that can't be used; the text
    tells the entry's place, and never the key.
    """

    def __init__(
        self,
        keys: Mapping[str, Grant | Mapping[str, Any]],
        *,
        anonymous: Grant | None = None,
        query_token: bool = False,
        check: Check | None = None,
        recheck: float | None = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = AccessPolicy(anonymous, query_token, check, recheck)
        self.revocations = Revocations(clock=clock)
        self._clock = clock
        self._grants = _hashed(keys)

    def __repr__(self) -> str:
        return f"<ApiKeys, {len(self._grants)} keys>"

    @classmethod
    def from_env(cls, name: str, **options: Any) -> ApiKeys:
        """The keys in an environment variable, as JSON: ``{"<key>": {"subscribe": ["*"]}, …}``.

        `options` are those of the class. Raises `PenstockError` where it isn't set or unreadable.
        """
        text = os.environ.get(name)
        if not text:
            raise PenstockError(f"ApiKeys: the environment variable {name} is not set")
        return cls(_parsed(text, f"the environment variable {name}"), **options)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> ApiKeys:
        """The keys in a file of JSON, as for `from_env`. Raises `PenstockError`."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise PenstockError(f"ApiKeys: can't read {path}: {said}") from None
        return cls(_parsed(text, str(path)), **options)

    async def verify(self, token: str) -> Grant:
        """The rights of a key. Raises `Unauthorized`. Never waits.

        Every entry is compared, whichever matches: the time tells nothing.
        """
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        found: Grant | None = None
        for known, grant in self._grants.items():
            if hmac.compare_digest(known, digest):
                found = grant
        if found is None:
            raise Unauthorized("The key is not known.")
        if found.expires <= self._clock():
            raise Unauthorized("The key has expired.")
        if self.revocations.refuses(found):
            raise Unauthorized("The key has been revoked.")
        return found

    def revoke(self, *, subject: str = "", token_id: str = "", until: float = inf) -> None:
        """Refuse a key, or all keys of a subject, and end what they have open, at once."""
        self.revocations.revoke(subject=subject, token_id=token_id, until=until)

    def security_schemes(self) -> dict[str, Any]:
        """AsyncAPI 3.0 ``securitySchemes``, by name."""
        return security_schemes(self.policy)


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        keys: Any = json.loads(text)
    except (ValueError, RecursionError):
        # The parser's own message would show a piece of it.
        raise PenstockError(f"ApiKeys: {where} is not JSON") from None
    if not isinstance(keys, dict):
        raise PenstockError(f"ApiKeys: {where} must be a map of keys to their rights")
    return keys  # pyright: ignore[reportUnknownVariableType] # it is JSON's


def _hashed(keys: Mapping[str, Grant | Mapping[str, Any]]) -> dict[bytes, Grant]:
    given: object = keys
    if not isinstance(given, Mapping):
        raise PenstockError(f"ApiKeys: wants a map of keys to their rights, got {type(keys)}")
    if len(keys) > _MAX_KEYS:
        raise PenstockError(f"ApiKeys: at most {_MAX_KEYS} keys; let a JWT say more users' rights")
    grants: dict[bytes, Grant] = {}
    for number, (key, rights) in enumerate(keys.items(), 1):
        where = f"ApiKeys: entry {number}"
        digest = _digest(key, where)
        if digest in grants:
            raise PenstockError(f"{where} is the same key as one before it")
        try:
            grant = parse_entry(rights, where)
        except BadRights as fault:
            raise PenstockError(str(fault)) from None
        grants[digest] = grant if grant.token_id else replace(grant, token_id=digest.hex()[:12])
    return grants


def _digest(key: Any, where: str) -> bytes:
    if not isinstance(key, str):
        raise PenstockError(f"{where}: a key is text, not {type(key).__name__}")
    if key.startswith("sha256:"):
        hashed = _HASHED.fullmatch(key)
        if hashed is None:
            raise PenstockError(f"{where}: after 'sha256:' come 64 hexadecimal digits")
        return bytes.fromhex(hashed[1])
    if len(key) < _MIN_LENGTH or not (key.isascii() and key.isprintable()) or " " in key:
        raise PenstockError(
            f"{where}: a key is at least {_MIN_LENGTH} visible ASCII characters;"
            " secrets.token_urlsafe(32) makes a good one"
        )
    return sha256(key.encode()).digest()
