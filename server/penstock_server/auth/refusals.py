"""Why a client is not let in. What they say never holds anything of the token."""

from __future__ import annotations


class Unauthorized(Exception):
    """The token gives no rights; HTTP answers 401.

    Attributes:
        reason: a whole sentence for the client: what is wrong with the token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CannotVerify(Exception):
    """Whether the token is good can't be found out right now; HTTP answers 503.

    Attributes:
        reason: a whole sentence for the client.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
