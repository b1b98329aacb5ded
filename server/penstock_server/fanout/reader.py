"""One connection's position in one log, and what happens when it falls behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.wire import Cursor, End, Gap, cursor_text

from ..log import Start, Trimmed, gap_to_oldest
from .feed import Feed
from .piece import Piece
from .policy import Slow

if TYPE_CHECKING:
    from .delivery import Delivery
    from .lane import Lane


def _nobody() -> None:
    """What is called where nobody waits."""


class Reader:
    """A cursor: a connection that falls behind costs no memory, it reads on from where it is.

    Up to date, it may ride a `Lane`, which has its position then.

    Args:
        delivery: of the topic that it reads.
        feed: what it reads; all readers in the same framing share it.
        start: where it starts, and what it is told first.
        slow: what happens when it falls behind.
        wake: called when there is something to read; must not block.
        give_up: called when it is to be disconnected for being too slow; must not block.
        max_lag: with ``slow="disconnect"``, how many events it may be behind.

    Attributes:
        live_from: the log's newest offset when it began; what follows is news.
        end_told: it has been given the end of the log.
        lane: what it rides; None while its own task writes to it.
    """

    __slots__ = (
        "_allowance",
        "_gap",
        "_max_lag",
        "_position",
        "delivery",
        "end_told",
        "feed",
        "give_up",
        "lane",
        "live_from",
        "moved",
        "slow",
        "wake",
    )

    def __init__(
        self,
        delivery: Delivery,
        feed: Feed,
        start: Start,
        *,
        slow: Slow,
        wake: Callable[[], None],
        give_up: Callable[[], None],
        max_lag: int,
    ) -> None:
        self.delivery = delivery
        self.feed = feed
        self.slow: Slow = slow
        self.wake = wake
        self.give_up = give_up
        self.live_from = feed.log.bounds().last
        self.moved: Callable[[], None] = _nobody
        self.lane: Lane | None = None
        self.end_told = False
        self._position = start.after
        self._gap: Gap | None = start.gap
        self._max_lag = max_lag
        self._allowance = max(max_lag, self.lag)

    @property
    def position(self) -> int:
        """The offset that it has read up to."""
        return self._position if self.lane is None else self.lane.position

    @property
    def cursor(self) -> str:
        """The position as a client knows it."""
        return cursor_text(self.feed.log.epoch, self.position)

    @property
    def resumes_at(self) -> str:
        """The cursor that a client should come back with if it is cut off now: while there is a gap
        to tell, the one that it asked for, so that it is told again.
        """
        return self.cursor if self._gap is None else self._gap.requested

    @property
    def lag(self) -> int:
        """How many events it is behind."""
        return max(0, self.feed.log.bounds().last - self.position)

    @property
    def has_news(self) -> bool:
        """Whether `next` has something to give that is no event: a gap, or the end."""
        return self._gap is not None or (self.feed.log.bounds().ended and not self.end_told)

    @property
    def is_too_slow(self) -> bool:
        """Whether it must be disconnected, being more than `max_lag` events behind.

        One that has come with an old cursor may be as far behind as it began, and no farther.
        """
        return self.slow == "disconnect" and self.lag > self._allowance

    def _move_to(self, position: int) -> None:
        self._position = position
        if self.slow == "disconnect":
            self._allowance = max(self._max_lag, min(self._allowance, self.lag))
        self.moved()

    def next(self) -> Piece | None:
        """What the connection should be sent now; None where it is up to date.

        Moves the position: what is given counts as read. A gap and the end come as pieces, too;
        after the end, `end_told` is true.
        """
        assert self.lane is None, "the lane writes to this connection"
        if self._gap is not None:
            gap, self._gap = self._gap, None
            return self.feed.said(gap, self._position)
        piece = self.feed.piece(self._position)
        if isinstance(piece, Trimmed):
            return self.feed.said(self._skip_to(piece.first), self._position)
        if piece is not None:
            self._move_to(piece.upto)
            return piece
        if self.feed.log.bounds().ended and not self.end_told:
            self.end_told = True
            cursor = Cursor(self.feed.log.epoch, self._position)
            return self.feed.said(End(self.feed.topic, str(cursor)), self._position)
        return None

    def _skip_to(self, first: int) -> Gap:
        log, topic = self.feed.log, self.feed.topic
        if self.feed.conflate:
            # How many of the events in between were the newest of their key, nobody knows any more.
            requested = self.cursor
            self._move_to(first - 1)
            gap = Gap(topic, requested, self.cursor, None, "slow")
        else:
            start = gap_to_oldest(self._position, topic, log.epoch, log.bounds())
            self._move_to(start.after)
            assert start.gap is not None
            gap = start.gap
        return gap

    def alight(self) -> None:
        """Leave the lane, if it rides one, and go on from there by itself."""
        lane, self.lane = self.lane, None
        if lane is not None:
            self._position = lane.position
            lane.remove(self)
