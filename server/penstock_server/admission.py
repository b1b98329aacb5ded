"""Who is let in, with which rights: tokens, origins, and what becomes of those who are in.

The order matters: a page of a foreign origin is turned away before its token is looked at, and a
client without a right is told so before it could learn what there is.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial
from math import inf
from operator import eq

import trio

from .auth import (
    Auth,
    CannotVerify,
    Check,
    Credentials,
    MalformedCredentials,
    Unauthorized,
    find_credentials,
)
from .grants import UNRESTRICTED, Grant
from .hub import Hub
from .transports.http import Headers, Problem, Scope, header_of
from .transports.origin import (
    cors_headers,
    credentials_allowed,
    cross_site_without_origin,
    origin_allowed,
)

logger = logging.getLogger("penstock.server")

_SAFE = ("GET", "HEAD", "OPTIONS")
_CHECK_TIMEOUT = 10.0
_CHECKS_AT_ONCE = 10
_COMPLAINT_PAUSE = 60.0
_TOKEN_EXPECTED = (
    "This needs a token: send it as Authorization: Bearer, or as the cookie penstock_token."  # noqa: S105
)


class Admission:
    """Lets clients in. Without auth everybody may do everything, from pages that may connect.

    Args:
        hub: whose `Hub.auth` says what tokens are good for.
        origins: web origins whose pages may connect, besides same-origin ones; ``*`` for all.
    """

    def __init__(self, hub: Hub, origins: Collection[str]) -> None:
        self._hub = hub
        self._origins = origins
        self._complained = -inf

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a token."""
        return self._hub.auth is None

    def cors(self, scope: Scope) -> Headers:
        """The CORS headers of any answer to this request."""
        origin = header_of(scope["headers"], "origin")
        return cors_headers(origin, self._origins, preflight=scope.get("method") == "OPTIONS")

    async def admit(self, scope: Scope) -> Grant:
        """The rights of who sent this request, HTTP or WebSocket.

        Raises `Problem`: 403 for a page of a foreign origin, 401 without a valid token, 503 where
        that can't be found out right now.
        """
        auth = self._hub.auth
        headers: Headers = scope["headers"]
        credentials, fault = None, None
        if auth is not None:
            query = scope.get("query_string", b"")
            try:
                credentials = find_credentials(headers, query, query_token=auth.policy.query_token)
            except MalformedCredentials as error:
                fault = str(error)
        self._check_origin(scope, headers, credentials)
        if fault is not None:
            raise unauthorized(fault)
        return UNRESTRICTED if auth is None else await self._grant(auth, credentials)

    def require(self, grant: Grant, right: bool, what: str) -> None:
        """Raise `Problem` unless the client has the `right` to do `what` (a whole clause).

        It is 403; and 401 for who has shown no token, and might with one.
        """
        if right:
            return
        auth = self._hub.auth
        if auth is not None and grant is auth.policy.anonymous:
            raise unauthorized(_TOKEN_EXPECTED, token_shown=False)
        raise Problem(
            403,
            "Forbidden",
            f"This token gives no right to {what}.",
            [(b"www-authenticate", b'Bearer realm="penstock", error="insufficient_scope"')],
        )

    async def run(self) -> None:
        """Ask again, for the connections that run, whether their clients may still be served."""
        auth = self._hub.auth
        if auth is None or auth.policy.check is None or auth.policy.recheck is None:
            return
        while True:
            await trio.sleep(auth.policy.recheck)
            await self._recheck_all(auth, auth.policy.check)

    # The token

    async def _grant(self, auth: Auth, credentials: Credentials | None) -> Grant:
        policy = auth.policy
        if credentials is None:
            if policy.anonymous is None:
                raise unauthorized(_TOKEN_EXPECTED, token_shown=False)
            return policy.anonymous
        try:
            grant = await auth.verify(credentials.token)
            if auth.revocations.refuses(grant):
                raise Unauthorized("The token has been revoked.")
            if policy.check is not None and not await self._ask(policy.check, grant):
                raise Unauthorized("The token is not good any more.")
        except Unauthorized as refusal:
            raise unauthorized(refusal.reason) from None
        except CannotVerify as trouble:
            raise Problem(
                503, "Can't Verify Tokens", trouble.reason, [(b"retry-after", b"5")]
            ) from None
        return grant

    async def _ask(self, check: Check, grant: Grant) -> bool:
        """What the user's own check says. Raises `CannotVerify` where it fails, or is too slow."""
        try:
            with trio.fail_after(_CHECK_TIMEOUT):
                return bool(await check(grant))
        except Exception as error:
            self._complain(error)
            raise CannotVerify("Whether the token is still good can't be found out now.") from error

    def _complain(self, error: Exception) -> None:
        """Log a failed check; once a minute, for every client that comes would make another."""
        now = trio.current_time()
        if now >= self._complained + _COMPLAINT_PAUSE:
            self._complained = now
            logger.error("the auth's check= has failed: %s: %s", type(error).__name__, error)

    async def _recheck_all(self, auth: Auth, check: Check) -> None:
        grants = {connection.grant for connection in self._hub.connections}
        waiting = iter(grants - {auth.policy.anonymous})

        async def recheck() -> None:
            for grant in waiting:
                try:
                    good = await self._ask(check, grant)
                except CannotVerify:
                    continue  # who is in stays in: the store that is asked may be down for a moment
                if not good:
                    self._hub.end_connections(partial(eq, grant), "revoked")

        async with trio.open_nursery() as nursery:
            for _ in range(_CHECKS_AT_ONCE):
                nursery.start_soon(recheck)

    # The page

    def _check_origin(
        self, scope: Scope, headers: Headers, credentials: Credentials | None
    ) -> None:
        """Raise `Problem` 403 for a page that may not make this request."""
        origin = header_of(headers, "origin")
        by_cookie = credentials is not None and credentials.source == "cookie"
        if origin is None:
            site, mode = header_of(headers, "sec-fetch-site"), header_of(headers, "sec-fetch-mode")
            if by_cookie and cross_site_without_origin(site, mode):
                raise _foreign("another site")
            return
        host = header_of(headers, "host")
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        if by_cookie and not credentials_allowed(origin, host, scheme, self._origins):
            raise _foreign(origin)
        if origin_allowed(origin, host, scheme, self._origins):
            return
        # Any page may ask for what everybody gets; it can't read the answer (CORS).
        credentialed = credentials is not None or any(
            header_of(headers, name) is not None for name in ("cookie", "authorization")
        )
        if scope["type"] == "websocket" or scope["method"] not in _SAFE or credentialed:
            raise _foreign(origin)


def _foreign(origin: str) -> Problem:
    detail = f"Pages of {origin[:200]} may not do this here; the server's cors= lists who may."
    return Problem(403, "Forbidden Origin", detail)


def unauthorized(reason: str, *, token_shown: bool = True) -> Problem:
    """The problem 401. `reason` is a whole sentence, without anything of the token in it."""
    challenge = 'Bearer realm="penstock"'
    if token_shown:
        description = reason.replace("\\", "/").replace('"', "'")
        challenge += f', error="invalid_token", error_description="{description}"'
    headers = [
        (b"www-authenticate", challenge.encode("ascii", "replace")),
        (b"cache-control", b"no-store"),
    ]
    return Problem(401, "Unauthorized", reason, headers)
