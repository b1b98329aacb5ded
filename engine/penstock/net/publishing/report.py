"""What a publisher tells of the items that were handed to it."""

from __future__ import annotations

from dataclasses import dataclass

from penstock._errors import short_repr

from ..losses import Refused


class ItemRefused(Refused):
    """The server refuses one item; those before it are stored, and none after it.

    Attributes:
        index: the item's number among all that were handed in, from 0.
        item: the item as it was sent, decoded.
        path: where in the item the fault is, as in ``$.points[3].x``; ``$`` is the item itself.
        problem: all of this in words, with what the server says.
    """

    def __init__(self, index: int, item: object, path: str, said: str, status: int) -> None:
        self.index = index
        self.item = item
        self.path = path
        super().__init__(f"item {index} ({short_repr(item)}) at {path}: {said}", status)
        self.args = (index, item, path, said, status)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A request's worth of items that are stored.

    Attributes:
        count: how many items.
        first: the cursor of the first.
        last: the cursor of the last.
        replayed: an earlier attempt had stored them already, whose answer was lost.
    """

    count: int
    first: str
    last: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What became of the items that were handed to a publisher.

    ``taken == acknowledged + dropped + skipped + waiting``, but for what a cancelled or refused
    publisher abandons.

    Attributes:
        taken: handed in.
        sent: sent at least once.
        acknowledged: stored, as the server said; once each but for the `uncertain` ones.
        replayed: of these, stored by an earlier attempt whose answer was lost.
        uncertain: of these, perhaps stored twice: their answer was lost, and the server could not
            be asked again before it forgot their key.
        dropped: the oldest, dropped while the server could not be reached and the queue was full.
        skipped: refused by the server, or not to be said on the wire, with ``errors="skip"``.
        waiting: in the queue, or under way.
        requests: sent, repetitions too.
        failures: requests without an answer, or with one that asks to wait.
        reachable: whether the server was there at the last attempt.
        last: the cursor of the last item that is acknowledged; None before there is one.
    """

    taken: int = 0
    sent: int = 0
    acknowledged: int = 0
    replayed: int = 0
    uncertain: int = 0
    dropped: int = 0
    skipped: int = 0
    waiting: int = 0
    requests: int = 0
    failures: int = 0
    reachable: bool = True
    last: str | None = None
