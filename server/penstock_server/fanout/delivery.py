"""All readers of one topic, and the task that serves them when something was appended."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import trio

from penstock.wire import Keepalive

from ..log import Log, Start, Trimmed
from ..wake import Wake
from .feed import PIECE_EVENTS, Feed, Framing
from .lane import LANE_READERS, Lane, Sink
from .piece import Form, Piece
from .policy import Slow
from .reader import Reader

_MARKS = 1024
_REST_SHARE = 0.5
_LEAST_REST, _MOST_REST = 0.001, 0.005


def _nobody() -> None:
    """What is called where nobody waits."""


class Delivery:
    """The readers of one topic's log: those that ride lanes, and those that their tasks serve.

    Args:
        topic: its name.
        log: what they read.
        batch: the most events in one write.
        max_lag: how many events a reader with ``slow="disconnect"`` may be behind.
        patience: how many events a lane may be behind before it is written to right where they are
            appended. A producer may append more than is retained before any other task has its
            turn; with at most half of what is retained, lanes miss nothing for it.
        patience_bytes: half of the bytes that are retained, for the same.

    Attributes:
        on_due: called when something was appended, or the log has ended.
        on_moved: called when readers have got on, which may let a producer go on.
        on_delivered: called with what a lane has written: the piece, the bytes for each reader, how
            many readers, in which framing, and how old the oldest event was, in seconds.
    """

    def __init__(
        self,
        topic: str,
        log: Log,
        *,
        batch: int = PIECE_EVENTS,
        max_lag: int = 1000,
        patience: int = 512,
        patience_bytes: int = 8 << 20,
    ) -> None:
        self.log = log
        self.on_due: Callable[[Delivery], None] | None = None
        self.on_moved: Callable[[], None] | None = None
        self.on_delivered: Callable[[Framing, Piece, int, int, float | None], None] | None = None
        self._topic = topic
        self._batch = batch
        self._max_lag = max_lag
        self._patience = max(1, patience)
        self._patience_bytes = patience_bytes
        self._last = log.bounds().last
        # The newest, or the oldest, offset from which on lanes may be too far behind.
        self._look_at = 0
        self._look_from = 0
        self._feeds: dict[tuple[Framing, bool], Feed] = {}
        self._lanes: dict[tuple[Feed, str], list[Lane]] = {}
        self._waiting: dict[Reader, None] = {}
        self._due = False
        # From which offset on events were appended at which time or later.
        self._mark_offsets: list[int] = []
        self._mark_times: list[float] = []
        log.watch(self._appended)

    # Readers

    def join(
        self,
        framing: Framing,
        start: Start,
        *,
        slow: Slow = "skip",
        wake: Callable[[], None] = _nobody,
        give_up: Callable[[], None] = _nobody,
    ) -> Reader:
        """A reader, woken from now on. All readers in the same framing share its feed."""
        conflate = slow == "conflate"
        feed = self._feeds.get((framing, conflate))
        if feed is None:
            feed = Feed(self._topic, self.log, framing, batch=self._batch, conflate=conflate)
            self._feeds[framing, conflate] = feed
        feed.readers += 1
        reader = Reader(
            self, feed, start, slow=slow, wake=wake, give_up=give_up, max_lag=self._max_lag
        )
        if slow == "block":
            reader.moved = self._moved
        self._waiting[reader] = None
        return reader

    def leave(self, reader: Reader) -> None:
        """Take a reader out, wherever it is. Doing it twice is doing it once."""
        self.alight(reader)
        if self._waiting.pop(reader, reader) is reader:
            return
        feed = reader.feed
        feed.readers -= 1
        if not feed.readers:  # what it keeps is for readers; a server may have thousands of topics
            del self._feeds[feed.framing, feed.conflate]
            feed.forget()
        self._moved()

    def board(self, reader: Reader, form: Form, sink: Sink) -> bool:
        """Let a reader ride; false where no lane is at its position, and none can be opened there.

        The sink must owe nothing.
        """
        if reader.has_news or reader.lane is not None:
            return reader.lane is not None
        lanes = self._lanes.get((reader.feed, form.name), ())
        at = (each for each in lanes if each.position == reader.position)
        lane = next((each for each in at if len(each) < LANE_READERS), None)
        if lane is None:
            if reader.lag:
                return False
            lane = Lane(reader.feed, form, reader.position, trio.current_time())
            self._lanes.setdefault((reader.feed, form.name), []).append(lane)
        del self._waiting[reader]
        lane.add(reader, sink)
        return True

    def alight(self, reader: Reader) -> None:
        """Let a reader go on by itself."""
        lane = reader.lane
        if lane is None:
            return
        reader.alight()
        self._waiting[reader] = None
        if not len(lane):
            self._close(lane)

    def set_bounds(self, max_lag: int, patience: int, patience_bytes: int) -> None:
        """Have other bounds; for readers that are there, `max_lag` stays."""
        self._max_lag = max_lag
        self._patience = max(1, patience)
        self._patience_bytes = patience_bytes
        self._look_at = 0

    @property
    def behind(self) -> list[Reader]:
        """The readers that their own tasks serve."""
        return list(self._waiting)

    @property
    def lanes(self) -> list[Lane]:
        """The lanes that are open."""
        return [lane for lanes in self._lanes.values() for lane in lanes]

    def slowest(self) -> int | None:
        """The position of the slowest reader that the producer waits for; None where none is."""
        positions = [reader.position for reader in self._waiting if reader.slow == "block"]
        positions += [lane.position for lane in self.lanes]
        return min(positions, default=None)

    # Events

    def _appended(self) -> None:
        bounds = self.log.bounds()
        before, self._last = self._last, bounds.last
        if not self._due and self.on_due is not None:
            self._due = True
            self._mark(before + 1)
            self.on_due(self)
        if bounds.first >= self._look_from and bounds.size >= self._patience_bytes:
            self._write_to_those_behind(1, bounds.first)
        elif self._last >= self._look_at:
            self._write_to_those_behind(self._patience, bounds.first)

    def _write_to_those_behind(self, lag: int, first: int) -> None:
        for lane in self.lanes:
            if self._last - lane.position >= lag:
                while self.step(lane):
                    pass
        # A lane that is opened meanwhile is up to date, so this holds for it, too.
        slowest = min((lane.position for lane in self.lanes), default=self._last)
        self._look_at = slowest + self._patience
        self._look_from = first + max(0, slowest + 1 - first) // 2

    def _mark(self, offset: int) -> None:
        """Note that the event with that offset, and what follows, comes now."""
        if len(self._mark_offsets) >= _MARKS:
            del self._mark_offsets[: _MARKS // 2], self._mark_times[: _MARKS // 2]
        self._mark_offsets.append(offset)
        self._mark_times.append(trio.current_time())

    def lag(self, reader: Reader, before: int) -> float | None:
        """How long ago the event after `before` came, in seconds; None where it is history."""
        if before < reader.live_from:
            return None
        return self._age(before + 1)

    def _age(self, offset: int) -> float | None:
        mark = bisect_right(self._mark_offsets, offset) - 1
        return None if mark < 0 else trio.current_time() - self._mark_times[mark]

    def begin(self) -> None:
        """Serve what was appended until now: the tasks of those that don't ride are woken."""
        self._due = False
        for reader in list(self._waiting):
            if reader.is_too_slow:
                reader.give_up()
            else:
                reader.wake()

    def step(self, lane: Lane) -> bool:
        """Write the next piece to a lane; whether there may be more for it."""
        before = lane.position
        piece = lane.feed.piece(before)
        if isinstance(piece, Piece):
            count = len(lane)
            size = lane.write(piece)
            lane.last_write = trio.current_time()
            if self.on_delivered is not None:
                self.on_delivered(lane.feed.framing, piece, size, count, self._age(before + 1))
            if self.on_moved is not None:
                self.on_moved()
            return bool(len(lane))
        if isinstance(piece, Trimmed) or self.log.bounds().ended:
            for reader, _ in lane.riders():
                self.alight(reader)
                reader.wake()
        return False

    def keep_alive(self, idle_since: float) -> None:
        """Give a sign of life to the HTTP lanes that weren't written to since then."""
        for lane in self.lanes:
            if lane.last_write <= idle_since and not lane.form.framed:
                lane.last_write = trio.current_time()
                lane.write(lane.feed.said(Keepalive(), lane.position))

    def merge(self) -> None:
        """Let the readers of small lanes ride with others that are at the same position."""
        for lanes in self._lanes.values():
            for lane in lanes[1:]:
                target = next((each for each in lanes if _fits(lane, each)), None)
                if target is not None:
                    for reader, sink in lane.riders():
                        reader.alight()
                        target.add(reader, sink)
                    lanes.remove(lane)

    def _moved(self) -> None:
        if self.on_moved is not None:
            self.on_moved()

    def _close(self, lane: Lane) -> None:
        key = (lane.feed, lane.form.name)
        lanes = self._lanes[key]
        lanes.remove(lane)
        if not lanes:
            del self._lanes[key]


def _fits(lane: Lane, other: Lane) -> bool:
    """Whether the readers of a lane can ride with those of another."""
    together = lane is not other and lane.position == other.position
    return together and len(lane) + len(other) <= LANE_READERS


class Waker:
    """Serves the readers of topics that were appended to, all due events in one go."""

    def __init__(self) -> None:
        self._wake = Wake()
        self._due: dict[Delivery, None] = {}

    def due(self, delivery: Delivery) -> None:
        """Let the readers of a topic be served soon; cheap to call for every append."""
        self._due[delivery] = None
        self._wake.set()

    async def run(self) -> None:
        """Serve readers until cancelled. Other tasks have their turn between the lanes.

        After a round it rests for half as long as the round took, 5 ms at most. A loop that is busy
        with many readers so leaves time for everything else, and what has come meanwhile goes out
        in the same writes; one with few readers rests too little to be noticed. Where a producer
        waits for its readers there is no rest, since it would only make them all wait.
        """
        while True:
            await self._wake.wait()
            began = trio.current_time()
            may_rest = all(delivery.on_moved is None for delivery in self._due)
            await self._serve()
            rest = min(_MOST_REST, (trio.current_time() - began) * _REST_SHARE)
            if may_rest and rest >= _LEAST_REST:
                await trio.sleep(rest)

    async def _serve(self) -> None:
        lanes: dict[Lane, Delivery] = {}
        written = 0
        while self._due or lanes:
            for delivery in self._due:
                delivery.begin()
                lanes.update((lane, delivery) for lane in delivery.lanes)
            self._due.clear()
            if not lanes:
                return
            lane = next(iter(lanes))
            delivery = lanes.pop(lane)
            written += len(lane)
            if len(lane) and delivery.step(lane):
                lanes[lane] = delivery  # behind the others
            if written >= LANE_READERS:
                written = 0
                await trio.lowlevel.checkpoint()
