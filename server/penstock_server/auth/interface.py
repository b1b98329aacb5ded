"""What the server asks of any kind of auth; those of this package, and a user's own."""

from __future__ import annotations

from typing import Any, Protocol

from ..grants import Grant
from .policy import AccessPolicy
from .revocation import Revocations


class Auth(Protocol):
    """Turns tokens into grants."""

    @property
    def policy(self) -> AccessPolicy:
        """How clients are let in."""
        ...

    @property
    def revocations(self) -> Revocations:
        """What was revoked; the server looks into it after `verify`, and is told through it."""
        ...

    async def verify(self, token: str) -> Grant:
        """The rights that a token gives.

        Raises `Unauthorized` where it gives none, and `CannotVerify` where that can't be found out
        right now. Must come back within seconds, and be safe to cancel.
        """
        ...

    def security_schemes(self) -> dict[str, Any]:
        """AsyncAPI 3.0 ``securitySchemes``, by name: every way in which a token may come."""
        ...


def security_schemes(policy: AccessPolicy, **bearer: str) -> dict[str, Any]:
    """The schemes of a policy: header, cookie, and the query where it counts.

    `bearer` are further fields of the ``Authorization`` header's scheme.
    """
    from .credentials import COOKIE, QUERY

    schemes: dict[str, Any] = {
        "bearer": {"type": "http", "scheme": "bearer", **bearer},
        "cookie": {"type": "httpApiKey", "name": COOKIE, "in": "cookie"},
    }
    if policy.query_token:
        schemes["query"] = {"type": "httpApiKey", "name": QUERY, "in": "query"}
    return schemes
