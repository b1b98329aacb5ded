"""What happens to a reader that falls behind. Pure."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

Slow: TypeAlias = Literal["skip", "conflate", "block", "disconnect"]

POLICIES: Final[tuple[Slow, ...]] = get_args(Slow)

# By what a reader asks of the server: to hold the producer for it; every event, or to be cut off;
# every event that is still there; the newest only.
_DEMAND: Final[dict[Slow, int]] = {"block": 3, "disconnect": 2, "skip": 1, "conflate": 0}


def milder_or_same(asked: Slow, own: Slow) -> bool:
    """Whether a subscriber may ask for a policy where the topic's own is another.

    It may ask for less than the topic gives, never for more: nobody but the topic's owner lets a
    reader hold the producer.
    """
    return _DEMAND[asked] <= _DEMAND[own]
