"""How long to wait: for a connection, and before another attempt. Pure arithmetic, in seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from penstock._backoff import Backoff

CONNECT_SECONDS = 10.0
"""How long connecting may take; a WebSocket's handshake may take as long again."""

LONGEST_WAIT = 3600.0
"""The most that a server can make a client wait, so that a mistake doesn't last."""


def wait_for(asked: float, backoff: Backoff, failures: int, chance: float) -> float:
    """The wait after so many failures before: at least what the server asks for, within reason.

    Jitter comes on top, so that the clients that it asked alike don't come back together; `chance`
    is from 0 to 1.
    """
    least = min(asked, LONGEST_WAIT) if asked > 0 else 0.0  # which NaN isn't
    own = backoff.delay(failures, chance)
    return least + own if backoff.jitter else max(least, own)


def retry_after_seconds(value: str | None, now: datetime) -> float:
    """The seconds that a ``Retry-After`` asks for (RFC 9110, 10.2.3), 0 where it says nothing."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    # A date without a zone is in GMT, as every HTTP date is.
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
