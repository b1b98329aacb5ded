"""Key sets that tokens are verified with: a fixed one, or one that is fetched and kept.

A hostile token can name any key, so a name that isn't known leads to a fetch at most once a minute,
for all clients together; who shows a known key waits for no fetch.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import trio

from penstock import PenstockError

from .refusals import CannotVerify

if TYPE_CHECKING:
    from .keys import VerifyingKey

logger = logging.getLogger("penstock.server")

INSTALL_EXTRA = "pip install '.[auth]' in penstock's checkout"
"""What installs the packages that this needs."""

_MAX_BYTES = 262_144
_TIMEOUT = 5.0
# Compressed, a small answer could become a large one before its size is known.
_HEADERS = {"accept": "application/json", "accept-encoding": "identity"}
_MAX_AGE = 3600.0
_PAUSE = 60.0
_PAUSE_WITHOUT_KEYS = 5.0

Parse: TypeAlias = Callable[[object], "tuple[VerifyingKey, ...]"]


class KeySet(Protocol):
    """Finds the key for a token."""

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The key of that name which is good for that algorithm; None where there is none.

        A token without a name gets the only key that fits. Raises `CannotVerify`.
        """
        ...


class FixedKeys:
    """A key set that never changes."""

    def __init__(self, keys: tuple[VerifyingKey, ...]) -> None:
        self._keys = keys

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The key of that name which is good for that algorithm. Never waits."""
        return pick(self._keys, kid, algorithm)


class FetchedKeys:
    """A key set at an address: fetched at its first use, and again after an hour.

    A fetch that fails leaves the keys as they are, and is not tried again for a minute; for five
    seconds where there are no keys yet.

    Args:
        fetch: gives the document's bytes; raises OSError where it can't.
        parse: document to keys; raises `PenstockError`.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], parse: Parse) -> None:
        self._fetch = fetch
        self._parse = parse
        self._keys: tuple[VerifyingKey, ...] = ()
        self._fetched: float | None = None
        self._tried: float | None = None
        self._fetching = trio.Lock()

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The key of that name which is good for that algorithm; may fetch. Raises `CannotVerify`.

        Cancelled, the keys stay as they were.
        """
        key = pick(self._keys, kid, algorithm)
        if key is None or (self._is_old() and not self._fetching.locked()):
            await self._refresh()
            key = pick(self._keys, kid, algorithm)
        if self._fetched is None:
            raise CannotVerify("The keys that tokens are verified with can't be had right now.")
        return key

    def _is_old(self) -> bool:
        return self._fetched is None or trio.current_time() >= self._fetched + _MAX_AGE

    async def _refresh(self) -> None:
        """Fetch the keys unless somebody has tried a moment ago."""
        async with self._fetching:
            pause = _PAUSE_WITHOUT_KEYS if self._fetched is None else _PAUSE
            if self._tried is not None and trio.current_time() < self._tried + pause:
                return
            try:
                with trio.fail_after(_TIMEOUT):
                    document = json.loads(await self._fetch())
                self._keys = self._parse(document)
            except (OSError, PenstockError, ValueError, RecursionError, trio.TooSlowError) as fault:
                logger.warning("the key set can't be fetched: %s", _said(fault))
            else:
                self._fetched = trio.current_time()
            self._tried = trio.current_time()


def pick(keys: tuple[VerifyingKey, ...], kid: str | None, algorithm: str) -> VerifyingKey | None:
    """The key that a token with this header is to be verified with; None where it isn't certain."""
    fitting = [key for key in keys if algorithm in key.algorithms]
    if kid is not None:
        named = [key for key in fitting if key.kid == kid]
        fitting = named or [key for key in fitting if key.kid is None]
    return fitting[0] if len(fitting) == 1 else None


def check_address(url: str) -> str:
    """The address of a key set. Raises `PenstockError` for one whose answer anybody could forge."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme == "https" and host:
        return url
    if parts.scheme == "http" and host and _is_loopback(host):
        return url
    raise PenstockError(
        f"JWT: jwks must be an https address (or http on loopback), got {_shown(url)}"
    )


def http_fetch(url: str) -> Callable[[], Awaitable[bytes]]:
    """A function that gets `url`: no redirects, no more than 256 KB. Raises OSError."""
    try:
        import httpx
    except ImportError:
        raise PenstockError(f"JWT: jwks= with an address needs httpx: {INSTALL_EXTRA}") from None

    async def fetch() -> bytes:
        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as client,
                client.stream("GET", url, headers=_HEADERS) as response,
            ):
                if response.status_code != 200:
                    raise OSError(f"{_shown(url)} answered {response.status_code}")
                return await _limited(response.aiter_raw(), url)
        except httpx.HTTPError as error:
            raise OSError(f"{_shown(url)}: {type(error).__name__}") from error

    return fetch


async def _limited(pieces: Any, url: str) -> bytes:
    body = b""
    async for piece in pieces:
        body += piece
        if len(body) > _MAX_BYTES:
            raise OSError(f"{_shown(url)} is more than {_MAX_BYTES} bytes")
    return body


def _shown(url: str) -> str:
    """The address without what may be secret in it: user, password and query."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "something else"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _said(fault: Exception) -> str:
    if isinstance(fault, trio.TooSlowError):
        return f"no answer within {_TIMEOUT:g} seconds"
    if isinstance(fault, ValueError | RecursionError):
        return "it is not JSON"
    return str(fault)
