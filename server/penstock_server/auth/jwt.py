"""`JWT`: signed tokens that say by themselves who somebody is and what they may do (RFC 7519)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import inf
from typing import Any

from penstock import PenstockError

from ..grants import Grant
from .credentials import MAX_TOKEN
from .interface import security_schemes
from .jwks import INSTALL_EXTRA, FetchedKeys, FixedKeys, KeySet, check_address, http_fetch
from .policy import AccessPolicy, Check
from .refusals import Unauthorized
from .revocation import Revocations
from .rights import BadRights, parse_rights

CLAIM = "penstock"
"""The claim that holds the rights."""


class JWT:
    """Lets in who shows a token that was signed with a known key.

    Args:
        key: a secret of at least 32 random bytes (HMAC), or a public key or certificate in PEM.
        jwks: instead of `key`, a JSON Web Key Set: the document itself, or its https address.
        audience: what ``aud`` must name; None refuses tokens that are for a certain audience.
        issuer: what ``iss`` must be, or several; None for any.
        algorithms: those that are allowed; the default is all that are safe with the key at hand.
        leeway: seconds by which clocks may differ.
        require_exp: whether a token must say when it expires.
        anonymous: the rights of who shows no token; None turns them away.
        query_token: whether ``?token=`` counts as well as the header and the cookie.
        check: an async function that is asked with the grant at each connect.
        recheck: seconds after which it is asked again for running connections; None for never.

    The rights are in the claim ``penstock``: ``{"subscribe": [patterns], "publish": [patterns],
    "jobs": [patterns], "operate": bool}``; a token without it gives none. ``sub`` and ``jti`` are
    for revocation. Raises `PenstockError` for options that make no sense, or are unsafe.
    """

    def __init__(
        self,
        key: str | bytes | None = None,
        *,
        jwks: Mapping[str, Any] | str | None = None,
        audience: str | Collection[str] | None = None,
        issuer: str | Collection[str] | None = None,
        algorithms: Collection[str] | None = None,
        leeway: float = 0.0,
        require_exp: bool = False,
        anonymous: Grant | None = None,
        query_token: bool = False,
        check: Check | None = None,
        recheck: float | None = 60.0,
    ) -> None:
        self.policy = AccessPolicy(anonymous, query_token, check, recheck)
        self.revocations = Revocations()
        given: Any = leeway
        if not isinstance(given, int | float) or isinstance(given, bool) or not 0 <= given <= 3600:
            raise PenstockError(f"JWT: leeway must be 0 to 3600 seconds, got {leeway!r}")
        self._leeway = leeway
        self._keys = _key_set(key, jwks, algorithms)
        from .signed import Expected

        required = ("exp",) if require_exp else ()
        self._expected = Expected(_several(audience), _several(issuer), leeway, required)

    def __repr__(self) -> str:
        return "<JWT>"

    async def verify(self, token: str) -> Grant:
        """The rights that a token gives.

        Raises `Unauthorized`, and `CannotVerify` where the key set can't be fetched. Cancelled, it
        leaves nothing behind.
        """
        if len(token) > MAX_TOKEN:
            raise Unauthorized(f"The token is longer than {MAX_TOKEN} characters.")
        from .signed import key_wanted, read_claims

        kid, algorithm = key_wanted(token)
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise Unauthorized("There is no key that the token could have been signed with.")
        grant = _grant_of(read_claims(token, key, self._expected), self._leeway)
        if self.revocations.refuses(grant):
            raise Unauthorized("The token has been revoked.")
        return grant

    def revoke(self, *, subject: str = "", token_id: str = "", until: float = inf) -> None:
        """Refuse a token (its ``jti``), or a subject's tokens that have been issued until now.

        What they have open ends at once. `until` is when the last of them expires, in seconds since
        1970: until then the revocation is remembered. Raises `PenstockError`.
        """
        self.revocations.revoke(subject=subject, token_id=token_id, until=until)

    def security_schemes(self) -> dict[str, Any]:
        """AsyncAPI 3.0 ``securitySchemes``, by name."""
        return security_schemes(self.policy, bearerFormat="JWT")


def _several(option: str | Collection[str] | None) -> tuple[str, ...] | None:
    return (option,) if isinstance(option, str) else None if option is None else tuple(option)


def _key_set(
    key: str | bytes | None,
    jwks: Mapping[str, Any] | str | None,
    algorithms: Collection[str] | None,
) -> KeySet:
    if (key is None) == (jwks is None):
        raise PenstockError("JWT: give either key= or jwks=")
    try:
        from .keys import check_algorithms, key_of_text, keys_of_document
    except ImportError:
        raise PenstockError(f"JWT: needs PyJWT: {INSTALL_EXTRA}") from None
    allowed = check_algorithms(algorithms)
    if key is not None:
        return FixedKeys((key_of_text(key, allowed),))
    if isinstance(jwks, str):
        fetch = http_fetch(check_address(jwks))
        return FetchedKeys(fetch, lambda found: keys_of_document(found, allowed, secrets=False))
    return FixedKeys(keys_of_document(jwks, allowed, secrets=True))


def _grant_of(claims: dict[str, Any], leeway: float) -> Grant:
    """The grant that verified claims say. Raises `Unauthorized` for rights that make no sense."""
    try:
        rights = parse_rights(claims.get(CLAIM), f"the claim {CLAIM}")
    except BadRights as fault:
        text = str(fault)
        raise Unauthorized(f"{text[0].upper()}{text[1:]}.") from None
    return replace(
        rights,
        subject=claims.get("sub") or "",
        token_id=claims.get("jti") or "",
        expires=_seconds(claims["exp"]) + leeway if "exp" in claims else inf,
        issued=_seconds(claims["iat"]) if "iat" in claims else -inf,
    )


def _seconds(claim: Any) -> float:
    """A time that PyJWT has found to be a whole number, or the text of one."""
    return float(min(int(claim), _FAR_FUTURE))


_FAR_FUTURE = 1 << 53
