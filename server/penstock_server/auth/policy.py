"""What every kind of auth can be told, whatever its tokens are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from penstock import PenstockError

from ..grants import Grant

Check: TypeAlias = Callable[[Grant], Awaitable[bool]]
"""Says whether a client with this grant may still be served."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """How clients are let in. Raises `PenstockError` for a value that makes no sense.

    Attributes:
        anonymous: the rights of a client that shows no token; None turns it away with 401.
        query_token: whether ``?token=`` counts: for browsers' WebSockets and EventSources on other
            sites. Addresses end up in the logs of proxies: keep such tokens short-lived.
        check: asked at each connect, after the token was found good; False turns the client away.
        recheck: seconds after which `check` is asked again for the connections that run; None for
            never.
    """

    anonymous: Grant | None = None
    query_token: bool = False
    check: Check | None = None
    recheck: float | None = 60.0

    def __post_init__(self) -> None:
        anonymous: Any = self.anonymous
        if anonymous is not None and not isinstance(anonymous, Grant):
            raise PenstockError(f"auth: anonymous must be a Grant or None, got {anonymous!r}")
        if self.check is not None and not callable(self.check):
            raise PenstockError(f"auth: check must be an async function, got {self.check!r}")
        recheck: Any = self.recheck
        number = isinstance(recheck, int | float) and not isinstance(recheck, bool)
        if recheck is not None and not (number and recheck > 0):
            raise PenstockError(f"auth: recheck must be seconds above 0, or None, got {recheck!r}")
