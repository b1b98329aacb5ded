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
from ._errors import StageError, flatten
from ._outlet import Outlet, Probe
from ._plan import Segment
from ._spec import Boundary, Node, PullSource, PushSource, TaskOp, TaskSink


class SegmentTask:
    """One segment of one run."""

    def __init__(
        self,
        segment: Segment,
        probes: dict[int, Probe],
        inlet: Channel | None,
        outlet: Channel | None,
        reader: Node | None,
    ) -> None:
        self.segment = segment
        self.inlet = inlet
        self.upstream: list[SegmentTask] = []
        self.result: Any = None
        self.has_result = False
        self.ended: float | None = None
        self._head = None if segment.relay else probes[id(segment.head)]
        self._receiver = None if inlet is None else ChannelReceiver(inlet)
        self._outlet_channel = outlet
        self._outlet = Outlet(
            self._head,
            [probes[id(node)] for node in segment.steps],
            None if segment.sink is None else probes[id(segment.sink)],
            outlet,
            None if reader is None else probes[id(reader)],
        )

    @property
    def held(self) -> int:
        """Items taken from the inlet that its stages have not looked at yet."""
        return 0 if self._receiver is None else self._receiver.held

    def relay_for(self, task: SegmentTask) -> None:
        """Be the relay of another task, which may do this one's work while this one waits."""
        if self.segment.relay and self._outlet_channel is None:
            task._outlet.relay_to(self._outlet)

    @property
    def is_source(self) -> bool:
        """Whether it makes items rather than receive them."""
        return self.inlet is None

    def stop(self) -> None:
        """Make a source end as if it had no more items; what it is sending still goes out."""
        self._outlet.stopping = True
        if not self._outlet.sending:
            self._outlet.head_scope.cancel("told to stop")

    def downstream_ended(self) -> None:
        """Nobody wants items any more: cancel whatever it does."""
        self._outlet.scope.cancel("the stages behind want no more items")

    async def run(self) -> None:
        """Do it all; raises what the user's code raised, as `StageError` or groups of them.

        Cancelled, it counts what it held as abandoned, and doesn't end the stream for the stages
        behind, which are cancelled, too: a part must not pass for the whole.
        """
        try:
            with self._outlet.scope:
                with self._outlet.head_scope:
                    await self._run_head()
                await self._outlet.flush()
                if self._outlet.result is not None:
                    self.result = self._outlet.result()
                    self.has_result = True
            if self._outlet_channel is not None:
                self._outlet_channel.close_sender()
        finally:
            self.ended = perf_counter()
            self._release_inlet()

    def _release_inlet(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
        for task in self.upstream:
            task.downstream_ended()

    async def _run_head(self) -> None:
        op = self.segment.head.op
        if self.segment.relay or isinstance(op, Boundary):
            await self._relay()
            return
        try:
            await self._work(op)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all raised again
            failures = self._named(flatten(error))
            if len(failures) == 1:
                raise failures[0] from failures[0].__cause__
            raise BaseExceptionGroup(self.segment.head.name, failures) from None

    def _named(self, errors: list[BaseException]) -> list[BaseException]:
        """The errors that came out of the head; those of its own are put in its name."""
        head = self._head
        assert head is not None, "a relay has no code of the user's"
        return [
            head.failure(error)
            if isinstance(error, Exception) and not isinstance(error, StageError)
            else error
            for error in errors
        ]

    async def _work(self, op: object) -> None:
        receiver = self._receiver
        match op:
            case PullSource():
                await self._pull(op)
            case PushSource():
                await op.work(self._outlet)
            case TaskOp():
                assert receiver is not None
                await op.work(receiver, self._outlet)
            case TaskSink():
                assert receiver is not None
                self.result = await op.work(receiver)
                self.has_result = True
            case _:  # pragma: no cover - the plan makes no other heads
                raise AssertionError(op)

    async def _relay(self) -> None:
        assert self.inlet is not None
        while True:
            try:
                items = await self.inlet.receive()
            except trio.EndOfChannel:
                return
            await self._outlet.chunk(items)

    async def _pull(self, op: PullSource) -> None:
        outlet = self._outlet
        if outlet.head_scope.cancel_called:
            return
        puller = op.open()
        try:
            while True:
                started = perf_counter()
                if op.blocking:
                    items = await trio.to_thread.run_sync(puller.pull, outlet.piece)
                    started = perf_counter()
                else:
                    items = puller.pull(outlet.piece)
                if not items:
                    return
                await outlet.chunk(items, started)
        finally:
            puller.close()
