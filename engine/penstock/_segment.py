"""What one task of a run does: drive the head of its segment, which sends to its `Outlet`.

A segment can end in four ways: its input ends; a step wants no more (``take``), which cancels the
head and lets what is held flow out; the stages behind want no more, which cancels all of it; or it
fails.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import trio

from ._channel import Channel, ChannelReceiver
from ._errors import SEVERAL, StageError, ungroup
from ._outlet import Outlet, Stages, Target
from ._plan import Segment
from ._probe import HELD_THE_LOOP, Probe
from ._pulling import opened
from ._spec import (
    Boundary,
    Branch,
    Chunk,
    FillingSink,
    JoinOp,
    Puller,
    PullSource,
    PushSource,
    Sink,
    TaskOp,
    TaskSink,
    Unpublished,
)
from ._watchdog import Watched


class SegmentTask:
    """One segment of one run."""

    def __init__(
        self,
        segment: Segment,
        probes: dict[int, Probe],
        inlets: list[Channel],
        targets: list[Target],
        sides: dict[Sink[Any, Any], Target],
    ) -> None:
        self.segment = segment
        self.inlets = inlets
        self.targets = targets
        self.feeders: list[tuple[SegmentTask, Channel]] = []
        self.may_start: trio.Event | None = None
        self.result: Any = None
        self.has_result = False
        self.unpublished: Unpublished | None = None
        self.ended: float | None = None
        self.ended_well = False
        self._head = None if segment.relay else probes[id(segment.head)]
        self._receivers = [ChannelReceiver(inlet) for inlet in inlets]
        stages = [probes[id(node)] for node in segment.stages]
        self.watched = Watched(
            next((probe for probe in stages if not probe.is_plain), None),
            [probe for probe in stages if probe.is_plain],
        )
        self._outlet = Outlet(
            Stages(
                self._head,
                [probes[id(node)] for node in segment.steps],
                None if segment.split is None else probes[id(segment.split)],
                None if segment.sink is None else probes[id(segment.sink)],
            ),
            targets,
            sides,
        )

    @property
    def held(self) -> int:
        """Items taken from the inlets that its stages have not looked at yet."""
        return sum(receiver.held for receiver in self._receivers)

    @property
    def lent(self) -> int:
        """Items that were handed to the head last, and that it may still be busy with."""
        return sum(receiver.lent for receiver in self._receivers)

    def relay_for(self, task: SegmentTask) -> None:
        """Be the relay of another task, which may do this one's work while this one waits."""
        if self.segment.relay and not self.targets:
            task._outlet.relay_to(self._outlet)
            task.watched.plain += self.watched.plain

    def start_on_demand(self, inlet: Channel) -> trio.Event:
        """The event that is set when the head first asks ``inlet`` for items."""
        return self._receivers[self.inlets.index(inlet)].asked_event()

    @property
    def is_source(self) -> bool:
        """Whether it makes items rather than receive them."""
        return not self.inlets

    def stop(self) -> None:
        """Make a source end as if it had no more items; what it is sending still goes out."""
        self._outlet.stopping = True
        if not self._outlet.sending:
            self._outlet.end_head("told to stop")

    def target_ended(self, channel: Channel) -> None:
        """Nobody reads from a channel any more: with the last one, cancel whatever it does."""
        self._outlet.target_ended(channel)

    async def run(self) -> None:
        """Do it all; raises what the user's code raised, as `StageError` or groups of them.

        Cancelled, it counts what it held as abandoned, and doesn't end the stream for the stages
        behind, which are cancelled, too: a part must not pass for the whole.
        """
        self.watched.make_current()
        try:
            sink = self.segment.sink
            if sink is not None and isinstance(sink.op, FillingSink):
                await self._run_around(sink.op)
            else:
                await self._run_stages()
            await self._outlet.send_letters()  # those of a task whose items nobody wants, too
            self._outlet.close_targets()
        finally:
            self.ended = perf_counter()
            self._outlet.abandon_letters()
            self._release_inlets()

    async def _run_stages(self) -> None:
        with self._outlet.scope:
            with self._outlet.head_scope:
                if self.may_start is not None:
                    await self.may_start.wait()
                await self._run_head()
                self.ended_well = True
            await self._outlet.flush()
            if self._outlet.result is not None:
                self.result = self._outlet.result()
                self.has_result = True

    async def _run_around(self, op: FillingSink) -> None:
        """What goes wrong on the way in and out, and in tasks of the sink's own, is the sink's."""
        sink = self._outlet.filled
        try:
            async with op.open(sink) as filling:
                self._outlet.fill(filling)
                await self._run_stages()
                self._take_result(await self._outlet.end_filling())
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all raised again
            failures = _named(ungroup(error), sink)
            if len(failures) == 1:
                raise failures[0] from failures[0].__cause__
            raise BaseExceptionGroup(SEVERAL, failures) from None

    def _release_inlets(self) -> None:
        for receiver in self._receivers:
            receiver.close()
        for task, channel in self.feeders:
            task.target_ended(channel)

    async def _run_head(self) -> None:
        op = self.segment.head.op
        if self.segment.relay or isinstance(op, Boundary | Branch):
            await self._relay()
            return
        try:
            await self._work(op)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all raised again
            assert self._head is not None, "a relay has no code of the user's"
            failures = _named(ungroup(error), self._head)
            if len(failures) == 1:
                raise failures[0] from failures[0].__cause__
            raise BaseExceptionGroup(SEVERAL, failures) from None

    async def _work(self, op: object) -> None:
        match op:
            case PullSource():
                await self._pull(op)
            case PushSource():
                await op.work(self._outlet)
            case TaskOp():
                await op.work(self._receivers[0], self._outlet)
            case JoinOp():
                await op.work(tuple(self._receivers), self._outlet)
            case TaskSink():
                self._take_result(await op.work(self._receivers[0], self._outlet))
            case _:  # pragma: no cover - the plan makes no other heads
                raise AssertionError(op)

    def _take_result(self, result: Any) -> None:
        if isinstance(result, Unpublished):
            self.unpublished = result
            result = result.result
        self.result = result
        self.has_result = True

    def failure(self, error: BaseException) -> StageError:
        """The error that the user sees for what its sink couldn't publish."""
        sink = self._head if self.segment.sink is None else self._outlet.filled
        assert sink is not None, "a relay without a sink publishes nothing"
        return sink.failure(error)

    async def _relay(self) -> None:
        (inlet,) = self.inlets
        while True:
            try:
                items = await inlet.receive()
            except trio.EndOfChannel:
                return
            await self._outlet.chunk(items)

    async def _pull(self, op: PullSource) -> None:
        outlet = self._outlet
        if outlet.head_ended:
            return
        async with opened(op) as puller:
            while True:
                started = perf_counter()
                if op.blocking:
                    items = await self._pull_in_thread(puller)
                    started = perf_counter()
                else:
                    items = self._pull_here(puller, started)
                if not items:
                    return
                await outlet.chunk(items, started)

    async def _pull_in_thread(self, puller: Puller) -> Chunk:
        """The thread can't be stopped: what it brings is taken, and is to come out after `stop`."""
        outlet = self._outlet
        outlet.sending += 1
        try:
            return await trio.to_thread.run_sync(puller.pull, outlet.piece)
        finally:
            outlet.sending -= 1

    def _pull_here(self, puller: Puller, started: float) -> Chunk:
        items = puller.pull(self._outlet.piece)
        spent = perf_counter() - started
        if self._head is not None:
            self._head.busy += spent
            if spent >= HELD_THE_LOOP:
                self._head.held_up(spent)
        return items


def _named(errors: list[BaseException], stage: Probe) -> list[BaseException]:
    """The errors that came out of a stage; those of its own are put in its name."""
    return [
        stage.failure(error)
        if isinstance(error, Exception) and not isinstance(error, StageError)
        else error
        for error in errors
    ]
