"""Where a task's items go: the fused operators, then the fused sink, the next task's channel, or a
channel for each branch of a split.

The `Outlet` cuts what its task's head sends to about a millisecond of work, runs the fused steps
over each piece, and gives the event loop its turn between pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from gc import get_count, get_threshold
from time import perf_counter
from typing import Any

import trio
from trio.lowlevel import ParkingLot

from ._channel import Channel
from ._failing import DeadLetters
from ._pace import BUDGET, MOST, Pace
from ._probe import HELD_THE_LOOP, Probe
from ._spec import Chunk, Filling, Sink, SplitOp, Step, StepOp, StepSink

_SELDOM = 0.0001
"""Seconds between two items from which on they are few: more of them travel in chunks."""


@dataclass(frozen=True, slots=True)
class Target:
    """A channel that a task sends to, and the first stage behind it."""

    channel: Channel
    reader: Probe


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a task, in the order of the data; a relay has no ``head``."""

    head: Probe | None
    steps: list[Probe] = field(default_factory=list[Probe])
    split: Probe | None = None
    sink: Probe | None = None


class Outlet:
    """Where a segment's head sends: the fused steps, then the sink or the next channels.

    It is the `Sender` that task operators and producers get, and the `Tally` of task sinks.
    """

    __slots__ = (
        "_at_once",
        "_channel",
        "_clocks",
        "_consume",
        "_deal",
        "_dealing",
        "_filling",
        "_finished",
        "_gone",
        "_head",
        "_letters",
        "_most_young",
        "_only",
        "_pace",
        "_relay",
        "_sent",
        "_sides",
        "_sink",
        "_split",
        "_steps",
        "_targets",
        "_turn",
        "_unyielded",
        "_wakes_collector",
        "head_ended",
        "head_scope",
        "result",
        "scope",
        "sending",
        "stopping",
    )

    def __init__(
        self, stages: Stages, targets: list[Target], sides: dict[Sink[Any, Any], Target]
    ) -> None:
        self._head = stages.head
        self._split = stages.split
        self._sink = stages.sink
        self._targets = targets
        self._sides = sides
        self._channel = targets[0].channel if len(targets) == 1 else None
        self._gone: set[int] = set()
        self._letters: list[Any] = []
        self._finished: list[Probe] = []  # fused stages that want no more
        for probe in (stages.head, *stages.steps, stages.sink):
            if probe is not None:
                probe.letters = self._letters
                probe.all_finished = self._finished
        self._steps: list[tuple[Probe, Step]] = [
            (probe, probe.node.op.start(probe))
            for probe in stages.steps
            if isinstance(probe.node.op, StepOp)
        ]
        self._clocks = [clock for probe in stages.steps for clock in probe.clocks]
        self._consume: Callable[[Chunk], None] | None = None
        self.result: Callable[[], Any] | None = None
        if stages.sink is not None and isinstance(stages.sink.node.op, StepSink):
            self._consume, self.result = stages.sink.node.op.start(stages.sink)
        self._deal: Callable[[Chunk], list[Chunk]] | None = None
        if stages.split is not None and isinstance(stages.split.node.op, SplitOp):
            self._deal = stages.split.node.op.deal
        self._only = targets[0] if len(targets) == 1 and self._deal is None else None
        self._dealing = False
        self._turn = ParkingLot()
        waiting = [each.channel.capacity for each in targets if each.channel.overflow == "block"]
        self._at_once = min(waiting, default=MOST)
        self._pace = Pace()
        self._most_young = 0
        self._wakes_collector = get_threshold()[0] or MOST**2
        self._filling: Filling | None = None
        self._relay: Outlet | None = None
        self._sent = 0.0
        self._unyielded = 0.0
        self.scope = trio.CancelScope()
        self.head_scope = trio.CancelScope()
        self.head_ended = False
        self.sending = 0
        self.stopping = False
        self._check_finished()

    @property
    def piece(self) -> int:
        """How many items a synchronous source should give next."""
        return self._pace.size

    def fill(self, filling: Filling) -> None:
        """Let the items end in a sink that must be emptied now and then."""
        self._filling = filling
        self._consume = filling.consume

    @property
    def filled(self) -> Probe:
        """The stage of that sink."""
        assert self._sink is not None, "a segment with such a sink"
        return self._sink

    async def end_filling(self) -> Any:
        """The result of that sink, once all is done with."""
        assert self._filling is not None, "there is such a sink"
        with self._in_the_name_of_the_sink():
            return await self._filling.end()

    def relay_to(self, outlet: Outlet) -> None:
        """Items go through a channel to a task that has nothing to do but hand them to `outlet`."""
        self._relay = outlet

    def target_ended(self, channel: Channel) -> None:
        """Nobody reads from a channel any more; when that is so of all, the task is cancelled."""
        for number, target in enumerate(self._targets):
            if target.channel is channel:
                self._gone.add(number)
                if len(self._gone) == len(self._targets):
                    self.scope.cancel("the stages behind want no more items")

    def end_head(self, why: str) -> None:
        """Cancel the head. What it has sent still goes its way."""
        self.head_ended = True  # a scope asks the clock before it says so
        self.head_scope.cancel(why)

    def close_targets(self) -> None:
        """The task is done, and has not failed."""
        for target in (*self._targets, *self._sides.values()):
            target.channel.close_sender()

    # What operators call: `Sender` and `Tally`

    async def __call__(self, item: Any) -> None:
        """See `Sender.__call__`."""
        if self._relay is None:
            await self.chunk([item])
            return
        before, self._sent = self._sent, perf_counter()
        if self._sent - before > _SELDOM and self._is_relay_idle(self._relay):
            await self.chunk([item], relay=self._relay)
        else:
            await self.chunk([item])

    @property
    def given(self) -> int:
        """How many items it was given to send, those that it is still sending included."""
        return self._of_head.items_out

    async def until_wanted(self) -> None:
        """See `CountingSender.until_wanted`."""
        if self._channel is not None and self._deal is None:
            await self._channel.until_idle()

    def skipped(self, count: int) -> None:
        """See `Tally.skipped`."""
        self._of_head.skipped(count)

    def dropped(self, count: int) -> None:
        """See `Tally.dropped`."""
        self._of_head.dropped(count)

    def retried(self, count: int) -> None:
        """See `Tally.retried`."""
        self._of_head.retried(count)

    def evicted(self, count: int) -> None:
        """See `Tally.evicted`."""
        self._of_head.evicted(count)

    def holds(self, held: Callable[[], int]) -> None:
        """See `Tally.holds`."""
        self._of_head.holders.append(held)

    async def dead_letter(
        self, letters: DeadLetters, item: Any, error: Exception, attempts: int
    ) -> None:
        """See `Tally.dead_letter`."""
        head = self._of_head
        head.dead_letter(letters, item, error, attempts)
        head.telling += 1
        await self.send_letters()
        head.telling -= 1  # cancelled before, the operator had the item in its hands to the end

    async def aside(self, sink: Sink[Any, Any], items: Chunk) -> None:
        """See `Tally.aside`."""
        self._of_head.late += len(items)
        await self._send_aside(sink, items)

    async def chunk(
        self, items: Chunk, started: float | None = None, relay: Outlet | None = None
    ) -> None:
        """See `Sender.chunk`. ``started`` is when a synchronous source began to make them, `relay`
        is given where this task is to do its work.
        """
        if self._head is not None:
            self._head.items_out += len(items)
        self.sending += 1
        for clock in self._clocks:
            clock.stop()
        try:
            if relay is not None:
                await self._hand_over(items, relay)
            else:
                await self._pass(items, perf_counter() if started is None else started)
        finally:
            self.sending -= 1
            for clock in self._clocks:
                clock.go_on()
        if self.stopping and not self.sending:
            self.end_head("told to stop")
        if self.head_ended:
            await trio.lowlevel.checkpoint()

    # How items get on

    @property
    def _of_head(self) -> Probe:
        assert self._head is not None, "only a head leaves items out"
        return self._head

    def _is_relay_idle(self, relay: Outlet) -> bool:
        assert self._channel is not None, "a relay is behind a channel"
        return self._channel.is_idle and not relay.head_ended

    async def _hand_over(self, items: Chunk, relay: Outlet) -> None:
        """Do the relay's work in its place: waking its task costs more than most work does.

        What fails there is raised by its task, as it would be otherwise.
        """
        assert self._channel is not None, "a relay is behind a channel"
        self._channel.note_passed(len(items))
        try:
            await relay.chunk(items)
        except Exception as error:  # noqa: BLE001 - raised by the relay's task
            self._channel.fail(error)
            await trio.sleep_forever()

    async def _pass(self, items: Chunk, started: float) -> None:
        """Work through the items in pieces, and send on what has come of as many as make one."""
        pace = self._pace
        if len(items) <= pace.size or not (self._steps or self._consume):
            await self._give_on(self._work_through(items, [], started))
            return
        done: Chunk = []
        at = 0
        while at < len(items) and not (self.head_ended or self._finished):
            piece = items[at : at + pace.size]
            at += len(piece)
            done = self._work_through(piece, done, started)
            if len(done) >= pace.size or self._must_wait():
                await self._give_on(done)
                done = []
            started = perf_counter()
        await self._give_on(done)

    def _must_wait(self) -> bool:
        if self._unyielded >= BUDGET or self._letters:
            return True
        return self._filling is not None and self._filling.is_full()

    @contextmanager
    def _in_the_name_of_the_sink(self) -> Generator[None, None, None]:
        """Count the time as the sink's, and name it as the one that failed."""
        assert self._sink is not None, "a sink waits"
        started = perf_counter()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever the sink raises
            failure = self._sink.failure(error)
            raise failure from failure.cause
        finally:
            self._sink.busy += perf_counter() - started

    def _work_through(self, piece: Chunk, done: Chunk, started: float) -> Chunk:
        """What has come of a piece behind what came of those before, which fails with it."""
        before, old, oldest = get_count()
        self._most_young = before
        try:
            items = self._process(piece, 0)
        except BaseException:
            if self._channel is not None:
                self._channel.turned_away += len(done)
            raise
        seconds = perf_counter() - started
        self._unyielded += seconds
        _, old_now, oldest_now = get_count()
        if old_now == old and oldest_now == oldest:
            litter = (self._most_young - before) / self._wakes_collector
        else:
            litter = 1.0
        self._pace.record(len(piece), seconds, litter)
        if not done:
            return items
        done += items
        return done

    async def _give_on(self, items: Chunk) -> None:
        if items:
            if self._only is not None:
                await self._send_into(self._only, items)
            else:
                await self._deal_out(items)
        if self._letters:
            await self.send_letters()
        if self._filling is not None and self._filling.is_full():
            with self._in_the_name_of_the_sink():
                await self._filling.empty()
        self._check_finished()
        if self._unyielded >= BUDGET:
            self._unyielded = 0.0
            await trio.lowlevel.checkpoint()

    async def _deal_out(self, items: Chunk) -> None:
        """Send to each branch what the split deals to it.

        In pieces that go whole into every branch that makes its senders wait, or not at all, and
        one piece after the other even where the head sends from several tasks: branches that meet
        again can rely on it, see `_meeting`.
        """
        assert self._split is not None, "several channels are behind a split"
        while self._dealing:
            await self._turn.park()
        self._dealing = True
        try:
            for start in range(0, len(items), self._at_once):
                await self._deal_piece(items[start : start + self._at_once], self._split)
        finally:
            self._dealing = False
            self._turn.unpark()

    async def _deal_piece(self, items: Chunk, split: Probe) -> None:
        """Send the parts of one piece; items for branches that have all ended are abandoned.

        The split looks at an item when it is first sent on: what it hasn't looked at, it holds.
        """
        assert self._deal is not None, "a split deals"
        left = len(items)
        for number, part in enumerate(self._deal(items)):
            if part and number not in self._gone:
                first_sent = min(left, len(part))
                left -= first_sent
                split.items_in += first_sent
                split.items_out += len(part)
                target = self._targets[number]
                await self._send_into(target, part)
        split.items_in += left
        split.abandoned += left

    async def _send_into(self, target: Target, items: Chunk) -> None:
        try:
            if await target.channel.send(items):
                self._unyielded = 0.0
        except trio.BrokenResourceError:
            self.target_ended(target.channel)
            if self.scope.cancel_called:
                await trio.lowlevel.checkpoint()
        except Exception as error:  # noqa: BLE001 - the buffer's policy, or a key's own ==
            failure = target.reader.failure(error)
            raise failure from failure.cause

    def abandon_letters(self) -> None:
        """Count the letters that were not sent any more as lost on their way."""
        for sink, _ in self._letters:
            self._sides[sink].channel.turned_away += 1
        self._letters.clear()

    async def send_letters(self) -> None:
        """Send the dead letters that wait to be sent; cancelled, those left go on waiting."""
        while self._letters:
            sink, letter = self._letters.pop(0)
            unsent: Chunk = []
            try:
                await self._send_aside(sink, [letter], unsent)
            finally:
                self._letters[:0] = [(sink, letter) for letter in unsent]

    async def _send_aside(
        self, sink: Sink[Any, Any], items: Chunk, unsent: Chunk | None = None
    ) -> None:
        try:
            await self._sides[sink].channel.send(items, unsent)
        except trio.BrokenResourceError:
            return  # a sink that wants no more; the channel has counted them as abandoned

    def _process(self, items: Chunk, first: int) -> Chunk:
        """Run the fused stages from number ``first`` on over one piece."""
        steps = self._steps[first:] if first else self._steps
        probe = self._sink
        before = perf_counter()
        try:
            for probe, step in steps:
                if not items:
                    return items
                probe.items_in += len(items)
                items = step(items)
                probe.items_out += len(items)
                young = get_count()[0]
                if young > self._most_young:
                    self._most_young = young
                now = perf_counter()
                probe.busy += now - before
                if now - before >= HELD_THE_LOOP:
                    probe.held_up(now - before)
                before = now
            if self._consume is None or not items:
                return items
            probe = self._sink
            assert probe is not None
            probe.items_in += len(items)
            self._consume(items)
            spent = perf_counter() - before
            probe.busy += spent
            if spent >= HELD_THE_LOOP:
                probe.held_up(spent)
        except BaseException as error:
            assert probe is not None
            probe.lost(items)
            if not isinstance(error, Exception):  # Ctrl-C comes anywhere
                raise
            failure = probe.failure(error)
            raise failure from failure.cause
        return []

    def _check_finished(self) -> None:
        """End the head as soon as a fused stage wants no more; what it is sending is cut off."""
        if self._finished:
            self.end_head(f"{self._finished[0].node.name} wants no more items")

    async def flush(self) -> None:
        """Let what the fused stages still hold flow out, after the last item."""
        if self._sink is not None and self._sink.finished:
            return
        finished = [number for number, (probe, _) in enumerate(self._steps) if probe.finished]
        first = finished[-1] if finished else 0
        for number, (probe, _) in enumerate(self._steps):
            if number < first:
                continue
            probe.holders.clear()
            for flush in probe.flushes:
                items = flush()
                probe.items_out += len(items)
                await self._give_on(self._process(items, number + 1))
        if self._letters:
            await self.send_letters()
